"""What a person sees of a step in the Kubeflow UI: metadata on its artifact, and pages that the UI can open."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.common.artifacts import Reference, Scalar
from components.common.errors import BadInput
from components.common.store import Store


def describe(step: str, reference: Reference) -> dict[str, Scalar]:
    """The metadata of a step's KFP artifact: which step made it, what the store calls it, and its headline figures.

    Figures that are not finite are left out: KFP's launcher refuses the whole output for one of them.
    """
    about: dict[str, Scalar] = {
        "step": step,
        "stage": reference.stage,
        "digest": reference.digest,
        "bytes": reference.size,
        "location": reference.uri,
    }
    figures = {key: value for key, value in reference.metadata.items() if _finite(value) and key not in about}
    return about | figures


def show_pages(store: Store, reference: Reference, pages: Mapping[str, Any], about: Mapping[str, Scalar]) -> None:
    """Copy files of an artifact to KFP outputs whose content the UI shows; ``pages`` maps a file's name to its output.

    Raises BadInput when the artifact has no such file.
    """
    folder = store.fetch(reference)
    for name, output in pages.items():
        path = folder / name
        if not path.is_file():
            raise BadInput(f"{path} is not in the artifact of the {reference.stage} stage; run the step again.")
        Path(output.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, output.path)
        output.metadata.update(about)


def _finite(value: Scalar) -> bool:
    return isinstance(value, str) or math.isfinite(value)
