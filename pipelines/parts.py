"""Finds every part of one kind in a recipe, wherever it stands, with the path that a person would write for it."""

from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel

T = TypeVar("T", bound=BaseModel)


def find_all(value: Any, kind: type[T], path: str = "") -> Iterator[tuple[str, T]]:
    """Path and part, such as ("teachers.gemma.endpoint", Endpoint(...)); members of lists go by their name, or number."""
    if isinstance(value, kind):
        yield path, value
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from find_all(getattr(value, name), kind, _joined(path, name))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from find_all(inner, kind, _joined(path, str(name)))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from find_all(inner, kind, _joined(path, str(getattr(inner, "name", number))))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
