"""The recipe's own graph as a list of steps: built like the one that runs, so that a plan cannot drift from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from google.protobuf import json_format
from kfp import dsl
from pydantic import BaseModel

from components.common.step import code_digest, load_stage, stages
from pipelines.expanse import HANDLER, build
from pipelines.recipe import Recipe
from pipelines.resources import Machine

Node = dict[str, Any]
Outputs = Mapping[str, str]


@dataclass(frozen=True)
class PlannedStep:
    """One task of the graph. ``inputs`` names the step that makes each input; ``after`` are all steps that must have ended.

    ``after`` is what Kubeflow Pipelines waits for: a chapter starts when the chapters that it reads from have ended.
    ``shell`` is the name of the KFP component, ``parameters`` what it is given beside its inputs; an ``exits`` step runs
    whatever has happened to the others.
    """

    name: str
    chapter: str
    stage: str
    config: BaseModel
    machine: Machine
    inputs: Mapping[str, str]
    after: frozenset[str]
    shell: str
    parameters: Mapping[str, str]
    exits: bool


def walk(recipe: Recipe, until: str = "release") -> list[PlannedStep]:
    """Every step of the recipe up to the chapter ``until``, in the order of the method."""
    given: dict[str, tuple[Machine, str]] = {}

    def note(task: dsl.PipelineTask, machine: Machine, shell: str) -> None:
        given[str(task.inputs["name"])] = machine, shell

    spec: Node = json_format.MessageToDict(build(recipe, note, until).pipeline_spec)
    walker = _Walker(spec["components"], given)
    walker.dag(spec["root"]["dag"], {}, frozenset(), "")
    return [walker.steps[name] for name in given]


class _Walker:
    """Follows artifacts through nested graphs of the intermediate representation, down to the steps that make them."""

    def __init__(self, components: Mapping[str, Node], given: Mapping[str, tuple[Machine, str]]) -> None:
        self.components, self.given = components, given
        self.stages = {code_digest(stage): stage for stage in stages()}
        self.steps: dict[str, PlannedStep] = {}

    def dag(self, dag: Node, given: Outputs, after: frozenset[str], chapter: str) -> tuple[Outputs, frozenset[str]]:
        """Walk one graph; returns the step behind each of its outputs, and all steps in it."""
        tasks: dict[str, Node] = dag["tasks"]
        made: dict[str, Outputs] = {}
        ended: dict[str, frozenset[str]] = {}
        for name in TopologicalSorter(
            {name: task.get("dependentTasks", ()) for name, task in tasks.items()}
        ).static_order():
            task = tasks[name]
            inputs = {key: _origin(source, given, made) for key, source in _artifacts(task).items()}
            waits = after.union(*(ended[before] for before in task.get("dependentTasks", ())))
            inner = self.components[task["componentRef"]["name"]]
            if "dag" in inner:
                within = chapter or ("" if name == HANDLER else name)
                made[name], ended[name] = self.dag(inner["dag"], inputs, waits, within)
            else:
                made[name], ended[name] = self._step(task, inner, inputs, waits, chapter or name)
        return _outputs(dag, made), frozenset().union(*ended.values())

    def _step(
        self, task: Node, component: Node, inputs: Outputs, after: frozenset[str], chapter: str
    ) -> tuple[Outputs, frozenset[str]]:
        constants = {
            key: value["runtimeValue"]["constant"]
            for key, value in task["inputs"]["parameters"].items()
            if "runtimeValue" in value
        }
        name, stage = constants["name"], self.stages[constants["code"]]
        config = load_stage(stage)[0].model_validate_json(constants["configuration"])
        machine, shell = self.given[name]
        exits = task.get("triggerPolicy", {}).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED"
        self.steps[name] = PlannedStep(name, chapter, stage, config, machine, inputs, after, shell, constants, exits)
        outputs = component.get("outputDefinitions", {}).get("artifacts", {})
        return dict.fromkeys(outputs, name), frozenset({name})


def _artifacts(task: Node) -> dict[str, Node]:
    return task.get("inputs", {}).get("artifacts", {})  # type: ignore[no-any-return]


def _origin(source: Node, given: Outputs, made: Mapping[str, Outputs]) -> str:
    if "componentInputArtifact" in source:
        return given[source["componentInputArtifact"]]
    output = source["taskOutputArtifact"]
    return made[output["producerTask"]][output["outputArtifactKey"]]


def _outputs(dag: Node, made: Mapping[str, Outputs]) -> Outputs:
    announced = dag.get("outputs", {}).get("artifacts", {})
    selected = {key: output["artifactSelectors"][0] for key, output in announced.items()}
    return {key: made[each["producerSubtask"]][each["outputArtifactKey"]] for key, each in selected.items()}
