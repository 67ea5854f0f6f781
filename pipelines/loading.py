"""From YAML files and ``--set`` to one validated recipe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from components.common.addresses import without_password
from components.common.endpoints import HUB
from components.common.errors import BadInput
from pipelines.recipe import NAME, SOURCE, Recipe
from pipelines.resources import BYTES, CORES
from pipelines.settings import STORE_ADDRESS

RECIPES = Path(__file__).parent / "recipes"
Document = dict[str, Any]
#: What people write wrong most often, said without a regular expression.
WORDS = {
    NAME: "small letters, digits and hyphens between them, 40 at most",
    SOURCE: "hf://org/name@revision, file:///folder or miniature",
    HUB: "hf://org/name@revision",
    STORE_ADDRESS: "s3://bucket/prefix or file:///folder",
    BYTES: "a whole number with Ki, Mi, Gi or Ti, such as 64Gi",
    CORES: "a number of cores such as 4, 0.5 or 500m",
}


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

    In both null takes a field away. Raises BadInput with one sentence that names the file, the field and the remedy.
    """
    path = find_recipe(name)
    document = _read(path, [])
    for override in overrides:
        _apply(document, override)
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise BadInput(f"{_origin(problem, path, overrides)}: {_explain(problem, error.error_count() - 1)}") from error


def _origin(problem: ErrorDetails, path: Path, overrides: Sequence[str]) -> str:
    """The last ``--set`` that gave the field, or one around it, without what may be a secret; else the recipe's file."""
    field = [str(part) for part in problem["loc"]]
    for override in reversed(overrides):
        keys = override.partition("=")[0].split(".")
        if field[: len(keys)] == keys:
            return f"--set {override.partition('=')[0] if 'secrets' in field else _without_secrets(override)}"
    return str(path)


def _without_secrets(text: str) -> str:
    """A text without the passwords and the query of an address in it."""
    return without_password(text).partition("?")[0]


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
    if value is None:
        target.pop(keys[-1], None)
    else:
        target[keys[-1]] = value


def _explain(problem: ErrorDetails, others: int) -> str:
    """A problem as a sentence: the field, what is wrong, what was given; and how many others there are."""
    field = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "there is no such field; remove it or correct its spelling"
    elif problem["type"] == "missing":
        message = "this field is required; add it"
    elif "secrets" in problem["loc"]:
        message = f"{message[0].lower()}{message[1:]} (what was given is not repeated: name a Secret and its key)"
    elif field:
        pattern = str(problem.get("ctx", {}).get("pattern"))
        message = f"write {WORDS[pattern]}" if pattern in WORDS else f"{message[0].lower()}{message[1:]}"
        message += f" (given: {_without_secrets(repr(problem['input'])):.60})"
    more = f"; and {others} more" if others else ""
    return f"{field}: {message}{more}." if field else f"{message}{more}."
