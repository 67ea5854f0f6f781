"""Which image a step runs in: one reference per role, from ``images.lock``."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import yaml

from components.common.errors import BadInput

LOCK = Path(__file__).with_name("images.lock")
#: ``cpu``: steps without a model on a GPU; ``train``: whatever runs a model with torch on one; ``serve``: the predictor.
Role = Literal["cpu", "train", "serve"]
ROLES: tuple[Role, ...] = get_args(Role)


@cache
def locked_images(lock: Path = LOCK) -> Mapping[Role, str]:
    """The reference of every role; raises BadInput when the file does not name exactly the roles."""
    try:
        references = yaml.safe_load(lock.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{lock} is not readable as YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(references, dict) or set(references) != set(ROLES):
        raise BadInput(f"{lock} must map each of the roles {', '.join(ROLES)} to an image, and nothing else.")
    return references


def is_pinned(reference: str) -> bool:
    """Whether a reference names an image by its digest, so that it means the same image for ever."""
    return "@sha256:" in reference
