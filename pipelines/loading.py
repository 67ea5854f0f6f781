"""From YAML files and ``--set`` to one validated recipe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from components.common.errors import BadInput
from pipelines.recipe import Recipe

RECIPES = Path(__file__).parent / "recipes"
Document = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Refuses a key that is written twice in one mapping, where plain YAML keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                line = node.value[index][0].start_mark.line + 1
                raise BadInput(f"{node.start_mark.name}, line {line}: {key!r} is given twice; keep one.")
        return super().construct_mapping(node, deep)


def shipped_recipes() -> list[str]:
    """The names of the recipes that come with the product."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a shipped name or a YAML file's path, with ``extends`` and ``key.path=value`` overrides applied.

    Raises BadInput with one sentence that names the file, the field and the remedy.
    """
    path = find_recipe(name)
    document = _read(path, [])
    for override in overrides:
        _apply(document, override)
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise BadInput(f"{path}: {_explain(error)}") from error


def find_recipe(name: str) -> Path:
    """The file of a recipe given by name or path; raises BadInput naming what there is."""
    shipped = RECIPES / f"{name}.yaml"
    if "/" not in name and shipped.is_file():
        return shipped
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path
    raise BadInput(f"There is no recipe {name!r}; use {', '.join(shipped_recipes())}, or the path of a YAML file.")


def _read(path: Path, seen: list[Path]) -> Document:
    if path in seen:
        raise BadInput(f"{path}: it extends itself by way of {seen[-1]}; break the circle.")
    try:
        with path.open(encoding="utf-8") as file:
            document = yaml.load(file, _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{path} is not readable as YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(document, dict):
        raise BadInput(f"{path} holds no recipe: its top level must be a mapping of fields.")
    parent = document.pop("extends", None)
    if parent is None:
        return document
    beside = path.parent / f"{parent}.yaml" if "/" not in str(parent) else path.parent / str(parent)
    return merge(_read(beside if beside.is_file() else find_recipe(str(parent)), [*seen, path]), document)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Document:
    """``base`` with ``changes`` laid over it: mappings field by field, null takes a field away, all else is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.pop(key, None)
        if value is not None:
            merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _apply(document: Document, override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise BadInput(f"--set {override!r} is not of the form field.path=value, such as --set online.rounds=2.")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise BadInput(f"--set {override!r}: the value is not readable as YAML; quote it.") from error
    target = document
    for key in keys[:-1]:
        inner = target.get(key)
        target[key] = dict(inner) if isinstance(inner, Mapping) else {}
        target = target[key]
    target[keys[-1]] = value


def _explain(error: ValidationError) -> str:
    """The first problem as a sentence: the field, what is wrong, what was given; and how many more there are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "there is no such field; remove it or correct its spelling"
    elif first["type"] == "missing":
        message = "this field is required; add it"
    elif field:
        message = f"{message[0].lower()}{message[1:]} (given: {first['input']!r:.60})"
    more = f"; and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{field}: {message}{more}." if field else f"{message}{more}."
