"""Which image a step runs in: one reference per role, from ``images.lock``."""

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from components.common.canonical import digest
from components.common.errors import BadInput, storage_error
from components.common.step import code_digest, stages

LOCK = Path(__file__).with_name("images.lock")
#: ``cpu``: steps without a model on a GPU; ``train``: whatever runs a model with torch on one; ``serve``: the predictor.
Role = Literal["cpu", "train", "serve"]
ROLES: tuple[Role, ...] = get_args(Role)
#: What the pinned images were built from, in the lock.
CODE = "code"


@cache
def locked_images(lock: Path = LOCK) -> Mapping[Role, str]:
    """The reference of every role; raises BadInput when the file does not name exactly the roles."""
    references = _read(lock)
    return {role: references[role] for role in ROLES}


def built_from(lock: Path = LOCK) -> str | None:
    """The code version of the pinned images; None for images that are not pinned."""
    return _read(lock).get(CODE)


@cache
def code_version() -> str:
    """The sha256 over the code of all stages: steps refuse to run in an image whose code is not their pipeline's."""
    return digest({stage: code_digest(stage) for stage in stages()})


def is_pinned(reference: str) -> bool:
    """Whether a reference names an image by its digest, so that it means the same image for ever."""
    return "@sha256:" in reference


def stale_images(lock: Path = LOCK) -> str | None:
    """A sentence when the pinned images hold other code than this: every step would refuse to run in them."""
    built = built_from(lock)
    if built is None or built == code_version():
        return None
    return (
        f"The images in {lock.name} are of other code ({built[:12]}) than this ({code_version()[:12]}); push new ones."
    )


def pin_images(references: Mapping[Role, str], lock: Path = LOCK) -> None:
    """Write new references into the lock, with the version of the code here; the file is replaced as a whole."""
    fields = dict(locked_images.__wrapped__(lock)) | dict(references) | {CODE: code_version()}
    head = "".join(line for line in lock.read_text("utf-8").splitlines(keepends=True) if line.startswith("#"))
    new = lock.with_name(f".{lock.name}.new")
    try:
        new.write_text(head + yaml.safe_dump(fields, sort_keys=False, width=1000), "utf-8")
        new.replace(lock)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise storage_error(error, lock.parent) from error
    locked_images.cache_clear()


def _read(lock: Path) -> dict[str, Any]:
    try:
        fields = yaml.safe_load(lock.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{lock} is not readable as YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(fields, dict) or set(fields) - {CODE} != set(ROLES):
        raise BadInput(f"{lock} must map each of the roles {', '.join(ROLES)} to an image, and nothing else.")
    if CODE in fields and not re.fullmatch(r"[0-9a-f]{64}", str(fields[CODE])):
        raise BadInput(f"{lock}: {CODE} is {fields[CODE]!r}, no sha256; pin the images anew with `make images PUSH=1`.")
    return fields
