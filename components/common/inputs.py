"""The inputs of a stage: folders by name, each name holding one or several."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.common.errors import BadInput

Inputs = Mapping[str, list[Path]]
#: The only file of an input that a stage takes by reference: where the artifact is, in the place of its bytes.
REFERENCE = "reference.json"


def one(inputs: Inputs, name: str) -> Path:
    """The single folder called ``name``; raises BadInput when there is none, or more than one."""
    folders = inputs.get(name, [])
    if len(folders) != 1:
        raise BadInput(
            f"This step needs exactly one input {name!r}, it was given {len(folders)}; add --input {name}=REF."
        )
    return folders[0]


def optional(inputs: Inputs, name: str) -> Path | None:
    """The single folder called ``name``, or None when it was not given."""
    return one(inputs, name) if inputs.get(name) else None


@dataclass(frozen=True)
class PassThrough:
    """What a step returns instead of metrics when its output is an input, unchanged: ``input``, the ``index``-th of them."""

    input: str
    reason: str
    index: int = 0
