"""From a recipe to the intermediate representation that Kubeflow Pipelines runs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from components.common.errors import storage_error
from pipelines.expanse import build
from pipelines.platform import Dresser
from pipelines.reach import check_reach
from pipelines.recipe import Recipe

#: libyaml's where it is installed: kfp's own writer takes most of a second.
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def compile_recipe(recipe: Recipe, output: Path, cache: bool | None = None) -> dict[str, str]:
    """Write the recipe's pipeline as YAML; raises an error when the file cannot be written. Returns each step's chapter.

    The first document is the graph, the second the settings that its steps have on Kubernetes: the same few over and over,
    written as JSON, which is YAML too and takes a tenth of the time. ``cache`` as in Dresser. Raises BadInput for a file
    that no pod can see.
    """
    check_reach(recipe)
    dresser = Dresser(recipe, cache)
    spec = json_format.MessageToDict(build(recipe, dresser).pipeline_spec)
    settings = json.dumps(dresser.document(spec), indent=1, sort_keys=True)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("w", encoding="utf-8") as file:
            yaml.dump(spec, file, Dumper=_DUMPER, sort_keys=True, allow_unicode=True, width=1 << 20)
            file.write(f"---\n{settings}\n")
    except OSError as error:
        raise storage_error(error, output.parent) from error
    return _chapters(spec)


def _chapters(spec: dict[str, Any]) -> dict[str, str]:
    """The innermost nested pipeline that each step is in; a step of the root graph is a chapter of its own."""

    def steps(dag: dict[str, Any], chapter: str) -> Iterator[tuple[str, str]]:
        for name, task in dag["tasks"].items():
            part = spec["components"][task["componentRef"]["name"]]
            if "dag" in part:
                yield from steps(part["dag"], name)
            else:
                yield name, chapter or name

    return dict(steps(spec["root"]["dag"], ""))
