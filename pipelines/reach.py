"""Whether the files that a recipe names lie where the pods of its steps can see them."""

import os
from collections.abc import Iterator
from typing import Any

from components.common.errors import BadInput
from components.common.store import folder_of
from pipelines.recipe import Recipe
from pipelines.settings import SCRATCH_FOLDER


def check_reach(recipe: Recipe) -> None:
    """Refuse a file of this machine, or of an image, in a recipe for a cluster: pods see the claims that it mounts.

    Raises BadInput naming the field.
    """
    platform = recipe.platform
    mounted = [platform.data.folder] if platform.data else []
    mounted += [SCRATCH_FOLDER] if platform.scratch.kind == "pvc" else []
    named = [*_addresses(recipe.model_dump(mode="json", exclude={"platform"}), ""), *_prompts(recipe)]
    for field, path in named:
        if not any(os.path.normpath(path).startswith(f"{folder}/") for folder in mounted):
            seen = f"below {' or '.join(mounted)}" if mounted else "nowhere, as the recipe mounts no claim"
            raise BadInput(
                f"{field}: pods see files {seen}, and not {path}; put it on a claim and name that in platform.data."
            )


def _prompts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    yield from (("prompts.files", name) for name in recipe.prompts.files)


def _addresses(value: Any, field: str) -> Iterator[tuple[str, str]]:
    """Every file:// address of a recipe, with the field that names it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _addresses(inner, f"{field}.{name}" if field else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _addresses(inner, f"{field}.{number}")
    elif isinstance(value, str) and value.startswith("file:"):
        yield field, str(folder_of(value))
