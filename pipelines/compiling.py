"""From a recipe to the intermediate representation that Kubeflow Pipelines runs."""

from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp import dsl
from kfp.dsl.structures import ResourceSpec

from components.common.errors import storage_error
from pipelines.expanse import build
from pipelines.recipe import Recipe
from pipelines.resources import Machine


def compile_recipe(recipe: Recipe, output: Path) -> None:
    """Write the recipe's pipeline as YAML; raises Transient when the file cannot be written.

    The text is written with libyaml where it is installed: kfp's own writer takes most of a second.
    """
    pipeline = build(recipe, dress)
    documents = [json_format.MessageToDict(pipeline.pipeline_spec)]
    platforms = json_format.MessageToDict(pipeline.platform_spec)
    documents += [platforms] if platforms else []
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("w", encoding="utf-8") as file:
            yaml.dump_all(documents, file, Dumper=_dumper(), sort_keys=True, allow_unicode=True, width=1 << 20)
    except OSError as error:
        raise storage_error(error, output.parent) from error


def dress(task: dsl.PipelineTask, machine: Machine) -> None:
    """Give a task the machine that its recipe asks for; without requests of their own Kubernetes requests the limits.

    The resources are set as a whole: each of kfp's setters walks the whole stack, half a second over a graph.
    """
    accelerators = (
        {"accelerator_type": machine.accelerator, "accelerator_count": str(machine.gpus)} if machine.gpus else {}
    )
    task.container_spec.resources = ResourceSpec(cpu_limit=machine.cpu, memory_limit=machine.memory, **accelerators)
    task.set_retry(machine.retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration="600s")


def _dumper() -> Any:
    return getattr(yaml, "CSafeDumper", yaml.SafeDumper)
