"""From a recipe to the intermediate representation that Kubeflow Pipelines runs."""

from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from components.common.errors import storage_error
from pipelines.expanse import build
from pipelines.platform import Dresser
from pipelines.recipe import Recipe

#: libyaml's where it is installed: kfp's own writer takes most of a second.
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Plain(_Dumper):  # type: ignore[misc]
    """Writes a value that occurs twice in full: the settings of steps are shared objects."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def compile_recipe(recipe: Recipe, output: Path) -> None:
    """Write the recipe's pipeline as YAML; raises Transient when the file cannot be written.

    The first document is the graph, the second the settings that its steps have on Kubernetes.
    """
    dresser = Dresser(recipe)
    spec = json_format.MessageToDict(build(recipe, dresser).pipeline_spec)
    documents = [spec, dresser.document(spec)]
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("w", encoding="utf-8") as file:
            yaml.dump_all(documents, file, Dumper=_Plain, sort_keys=True, allow_unicode=True, width=1 << 20)
    except OSError as error:
        raise storage_error(error, output.parent) from error
