"""Two building blocks of the pipeline: a step that looks like itself in the UI, and a chapter of steps."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from kfp import dsl
from pydantic import BaseModel

from components.common.canonical import canonical_json
from components.common.step import code_digest
from pipelines.recipe import Recipe
from pipelines.resources import Machine

#: An output of a task, or an input of a chapter, while the graph is built.
Channel = Any
Dress = Callable[[dsl.PipelineTask, Machine], None]
Body = Callable[..., Mapping[str, Channel]]
TYPES = {
    kind.schema_title: kind for kind in (dsl.Artifact, dsl.Dataset, dsl.HTML, dsl.Metrics, dsl.Model)
}


@dataclass(frozen=True)
class Graph:
    """Builds the tasks of one recipe; ``dress`` adds what a platform needs to a task."""

    recipe: Recipe
    dress: Dress

    @property
    def label(self) -> str:
        return f"{self.recipe.name}@{self.recipe.digest[:12]}"

    def step(self, shell: Any, name: str, config: BaseModel, machine: Machine, **inputs: Channel | None) -> Channel:
        """One task called ``name``; returns its single output. Its seed is the recipe's plus its own."""
        if "seed" in type(config).model_fields:
            config = config.model_copy(update={"seed": self.recipe.seed + config.seed})  # type: ignore[attr-defined]
        stage = shell.python_func.__module__.split(".")[1]
        configuration = canonical_json(config.model_dump(mode="json"))
        given = {key: value for key, value in inputs.items() if value is not None}
        task = shell(name=name, code=code_digest(stage), configuration=configuration, **given)
        task.set_display_name(name)
        self.dress(task, machine)
        return task.output

    def chapter(
        self, name: str, inputs: Mapping[str, Channel], outputs: Mapping[str, type], body: Body
    ) -> Mapping[str, Channel]:
        """A nested pipeline: ``body`` gets the inputs as keyword arguments and returns what ``outputs`` announces.

        Each chapter takes the recipe's label as a parameter: a person reads it in the UI, and kfp.local 2.17 drops the
        artifacts of a nested pipeline that has no parameter.
        """
        kinds = {key: TYPES[channel.channel_type.split("@")[0]] for key, channel in inputs.items()}
        announced = NamedTuple(f"{name.title().replace('-', '')}Outputs", list(outputs.items()))  # type: ignore[misc]

        def nested(*arguments: Channel) -> Any:
            made = body(**dict(zip(kinds, arguments[1:], strict=True)))
            return announced(**{key: made[key] for key in outputs})

        parameters = {"recipe": str} | {key: dsl.Input[kind] for key, kind in kinds.items()}
        nested.__annotations__ = {**parameters, "return": announced}
        nested.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=kind) for key, kind in parameters.items()],
            return_annotation=announced,
        )
        task = dsl.pipeline(name=name, description=body.__doc__)(nested)(recipe=self.label, **inputs)
        task.set_display_name(name)
        return dict(task.outputs)


def slots(prefix: str, channels: list[Channel]) -> dict[str, Channel]:
    """KFP has no list of artifacts as an input: ``prefix_1``, ``prefix_2``, ... instead."""
    return {f"{prefix}_{number}": channel for number, channel in enumerate(channels, 1)}


def identifier(name: str) -> str:
    """A recipe name as a Python identifier."""
    return name.replace("-", "_")
