"""``python -m images.sync``: the references of images.lock in the chart's defaults and in the manifests' base.

Overlays and example values choose their own registries and are left alone.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from pipelines.images import LOCK, ROLES, Role, locked_images

ROOT = Path(__file__).resolve().parents[1]
#: A reference to an image of ours, wherever it lies: registry, repository, tag, digest.
OURS = re.compile(rf"[\w./:-]+/expanse-({'|'.join(ROLES)})(?::[\w][\w.-]*)?(?:@sha256:[0-9a-f]{{64}})?(?![\w@:/-])")


def places(root: Path = ROOT) -> list[Path]:
    """The files that name our images as images.lock does."""
    chart = [root / "helm" / "expanse" / name for name in ("values.yaml", "README.md")]
    return [path for path in [*chart, *sorted(root.glob("manifests/base/**/*.yaml"))] if path.is_file()]


def with_images(text: str, images: Mapping[Role, str]) -> str:
    """The text with every reference to an image of ours replaced by the one given for its role."""
    return OURS.sub(lambda match: next(images[role] for role in ROLES if role == match[1]), text)


def synchronize(lock: Path = LOCK, root: Path = ROOT) -> list[Path]:
    """Bring the files up to the lock; returns those that changed."""
    images, changed = locked_images(lock), []
    for path in places(root):
        text = path.read_text("utf-8")
        new = with_images(text, images)
        if new != text:
            path.write_text(new, "utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    for file in synchronize():
        print(file)
