"""What of a configuration decides the work, and what only decides where and how fast it is done."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel


class Aside:
    """Marks a field, by ``Annotated[int, ASIDE]``, that changes speed, place or price and not what a step makes."""


ASIDE = Aside()


def identity(config: BaseModel) -> dict[str, Any]:
    """The configuration as JSON values without the fields that are aside; equal for equal work on any hardware."""
    kept: dict[str, Any] = _prune(config, config.model_dump(mode="json"))
    return kept


def _prune(value: Any, dumped: Any) -> Any:
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        names = [name for name in fields if not any(isinstance(each, Aside) for each in fields[name].metadata)]
        return {name: _prune(getattr(value, name), dumped[name]) for name in names}
    if isinstance(value, Mapping):
        return {key: _prune(inner, each) for (key, each), inner in zip(dumped.items(), value.values(), strict=True)}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_prune(inner, each) for inner, each in zip(value, dumped, strict=True)]
    return dumped
