"""From a recipe to the intermediate representation that Kubeflow Pipelines runs."""

from pathlib import Path

from kfp import compiler, dsl

from components.common.errors import storage_error
from pipelines.expanse import build
from pipelines.recipe import Recipe
from pipelines.resources import Machine


def compile_recipe(recipe: Recipe, output: Path) -> None:
    """Write the recipe's pipeline as YAML; raises Transient when the file cannot be written."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        compiler.Compiler().compile(build(recipe, dress), str(output))
    except OSError as error:
        raise storage_error(error, output.parent) from error


def dress(task: dsl.PipelineTask, machine: Machine) -> None:
    """Give a task the machine that its recipe asks for."""
    task.set_cpu_request(machine.cpu).set_cpu_limit(machine.cpu)
    task.set_memory_request(machine.memory).set_memory_limit(machine.memory)
    if machine.gpus:
        task.set_accelerator_type(machine.accelerator).set_accelerator_limit(machine.gpus)
    task.set_retry(machine.retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration="600s")
