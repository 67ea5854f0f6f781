"""Two building blocks of the pipeline: a step that looks like itself in the UI, and a chapter of steps."""

import inspect
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from kfp import dsl
from pydantic import BaseModel

from components.common.canonical import canonical_json
from components.common.step import code_digest
from pipelines.recipe import Recipe
from pipelines.resources import Machine

#: An output of a task, or an input of a chapter, while the chapter is built.
Channel = Any
#: Gets the task, its machine, and the name of its shell.
Dress = Callable[[dsl.PipelineTask, Machine, str], None]
Body = Callable[..., Mapping[str, Channel]]


@dataclass(frozen=True)
class Output:
    """What a chapter hands on: the artifact ``name`` of the kind ``kind``."""

    chapter: str
    name: str
    kind: type


@dataclass(frozen=True)
class Chapter:
    """A nested pipeline and which earlier outputs its inputs are."""

    name: str
    pipeline: Any
    inputs: Mapping[str, Output]


@dataclass(frozen=True)
class Graph:
    """Builds the tasks of one recipe; ``dress`` adds what a platform needs to a task."""

    recipe: Recipe
    dress: Dress
    chapters: list[Chapter] = field(default_factory=list)

    def step(self, shell: Any, name: str, config: BaseModel, machine: Machine, **inputs: Channel | None) -> Channel:
        """One task called ``name``; returns its single output. Its seed is the recipe's plus its own."""
        return self.task(shell, name, config, machine, **inputs).output

    def task(
        self, shell: Any, name: str, config: BaseModel, machine: Machine, **inputs: Channel | None
    ) -> dsl.PipelineTask:
        """One task called ``name``, for a step with several outputs."""
        if "seed" in type(config).model_fields:
            config = config.model_copy(update={"seed": self.recipe.seed + config.seed})  # type: ignore[attr-defined]
        stage = shell.python_func.__module__.split(".")[1]
        configuration = canonical_json(config.model_dump(mode="json"))
        given = {key: value for key, value in inputs.items() if value is not None}
        task = _named(shell, name)(name=name, code=code_digest(stage), configuration=configuration, **given)
        task.set_display_name(name)
        self.dress(task, machine, shell.name)
        return task

    def chapter(
        self, name: str, inputs: Mapping[str, Output], outputs: Mapping[str, type], body: Body
    ) -> dict[str, Output]:
        """A nested pipeline: ``body`` gets the inputs as keyword arguments and returns what ``outputs`` announces.

        Each chapter takes the recipe's label as a parameter: a person reads it in the UI, and kfp.local 2.17 drops the
        artifacts of a nested pipeline that has no parameter.
        """
        announced = NamedTuple(f"{name.title().replace('-', '')}Outputs", list(outputs.items()))  # type: ignore[misc]

        def nested(*arguments: Channel) -> Any:
            made = body(**dict(zip(inputs, arguments[1:], strict=True)))
            return announced(**{key: made[key] for key in outputs})

        parameters = {"recipe": str} | {key: dsl.Input[output.kind] for key, output in inputs.items()}
        nested.__annotations__ = {**parameters, "return": announced}
        nested.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=kind)
                for key, kind in parameters.items()
            ],
            return_annotation=announced,
        )
        pipeline = dsl.pipeline(name=name, description=body.__doc__)(nested)
        self.chapters.append(Chapter(name, pipeline, inputs))
        return {key: Output(name, key, kind) for key, kind in outputs.items()}

    def tell(self) -> None:
        """Write the chapters as tasks of the pipeline that is being built."""
        tasks: dict[str, Any] = {}
        label = f"{self.recipe.name}@{self.recipe.digest[:12]}"
        for chapter in self.chapters:
            given = {key: tasks[output.chapter].outputs[output.name] for key, output in chapter.inputs.items()}
            tasks[chapter.name] = chapter.pipeline(recipe=label, **given).set_display_name(chapter.name)


def _named(shell: Any, name: str) -> Any:
    """The shell under a step's name. kfp 2.17 numbers components of one name, and where nested pipelines meet it can give
    two of them the same executor: one would get the other's machine."""
    component = copy(shell)
    component.component_spec = replace(shell.component_spec, name=name)
    return component


def slots(prefix: str, channels: list[Channel]) -> dict[str, Channel]:
    """KFP has no list of artifacts as an input: ``prefix_1``, ``prefix_2``, ... instead."""
    return {f"{prefix}_{number}": channel for number, channel in enumerate(channels, 1)}


def identifier(name: str) -> str:
    """A recipe name as a Python identifier."""
    return name.replace("-", "_")
