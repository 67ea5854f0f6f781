"""A step is one stage with one configuration: find its finished work, or do it and commit it."""

import importlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel, ValidationError

from components.common.artifacts import Provenance, Reference, Scalar
from components.common.canonical import canonical_json, digest, file_digest
from components.common.errors import BadInput
from components.common.identity import identity
from components.common.inputs import REFERENCE, Inputs, PassThrough
from components.common.run import working_at
from components.common.store import Produce, Store, open_store

PACKAGE = Path(__file__).resolve().parents[1]
STORE = "EXPANSE_STORE"
PASSED = "passed_through"
References = Mapping[str, Sequence[Reference]]


@dataclass(frozen=True)
class Step:
    """``name`` is what a person sees ("sft-romance"); ``stage`` is the folder under components; ``configuration`` is JSON."""

    name: str
    stage: str
    configuration: str
    inputs: References

    def to_json(self) -> str:
        """The step as text, for another process."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Step":
        """The step that ``to_json`` wrote."""
        fields = json.loads(text)
        inputs = {name: [Reference(**reference) for reference in group] for name, group in fields["inputs"].items()}
        return cls(fields["name"], fields["stage"], fields["configuration"], inputs)


@dataclass(frozen=True)
class Outcome:
    """``cached`` says that the artifact had been finished before."""

    reference: Reference
    cached: bool
    started: float
    ended: float


def stages() -> list[str]:
    """The names of all stages: every folder under components that has a task."""
    return sorted(path.parent.name for path in PACKAGE.glob("*/task.py"))


def load_stage(stage: str) -> tuple[type[BaseModel], Callable[..., Any]]:
    """The configuration class and the function of a stage; raises BadInput for a name that is none."""
    if stage not in stages():
        raise BadInput(f"There is no stage {stage!r}; the stages are {', '.join(stages())}.")
    task = importlib.import_module(f"components.{stage}.task")
    return task.Config, task.run


@cache
def code_digest(stage: str) -> str:
    """The sha256 over the source of a stage and of everything that stages share."""
    files = sorted(path for folder in ("common", stage) for path in (PACKAGE / folder).rglob("*") if _is_source(path))
    return digest({str(path.relative_to(PACKAGE).as_posix()): file_digest(path) for path in files})


def run_step(step: Step, store: Store) -> Outcome:
    """Find the step's artifact in the store, or run the stage and commit what it makes."""
    started = time.time()
    config_class, run = load_stage(step.stage)
    config = parse_configuration(step, config_class)
    provenance, found = _sought(step, config, store)
    with working_at(step.name):
        reference = found or store.produce(provenance, _work(step, config, run, store))
    return Outcome(_follow(step, reference), found is not None, started, time.time())


def find_step(step: Step, store: Store) -> Reference | None:
    """The step's finished artifact, or None; imports nothing heavy unless the stage looks into the world."""
    config = parse_configuration(step, load_stage(step.stage)[0])
    _, found = _sought(step, config, store)
    return found and _follow(step, found)


def _sought(step: Step, config: BaseModel, store: Store) -> tuple[Provenance, Reference | None]:
    """The finished artifact, if there is one, and what it is or will be made of.

    A stage that does something in the world has a function ``holds`` that looks whether what it did is still so. Where it is
    not, the work is done again, as an artifact of its own: artifacts are never changed.
    """
    first = provenance = provenance_of(step, config)
    holds = getattr(importlib.import_module(f"components.{step.stage}.task"), "holds", None)
    found, again = store.find(step.stage, provenance.key), 0
    while holds and found and not holds(config, found):
        again += 1
        provenance = replace(first, inputs={**first.inputs, "again": [str(again)]})
        found = store.find(step.stage, provenance.key)
    return provenance, found


def has_effects(stage: str, config: BaseModel) -> bool:
    """Whether the step changes something outside the store, so that it must not run before its place in the graph.

    A stage of which this can be true has a function ``effects`` that says so of a configuration.
    """
    load_stage(stage)
    effects = getattr(importlib.import_module(f"components.{stage}.task"), "effects", None)
    return bool(effects and effects(config))


def parse_configuration(step: Step, config_class: type[BaseModel]) -> BaseModel:
    """The step's configuration as its stage's class; raises BadInput naming the first wrong field."""
    try:
        return config_class.model_validate_json(step.configuration)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the configuration"
        reason = "there is no such field" if first["type"] == "extra_forbidden" else first["msg"]
        raise BadInput(
            f"{step.name}: {field}: {reason}; correct it in the recipe, or in the file of --config."
        ) from error


def provenance_of(step: Step, config: BaseModel) -> Provenance:
    """What the artifact's key is made of: stage, code, configuration and the digests of the inputs.

    A stage whose configuration names files of its own has a function ``outside`` that gives their digests too.
    """
    inputs = {name: [reference.digest for reference in group] for name, group in step.inputs.items() if group}
    outside = getattr(importlib.import_module(f"components.{step.stage}.task"), "outside", None)
    inputs |= outside(config) if outside else {}
    return Provenance(step.stage, code_digest(step.stage), digest(identity(config)), inputs)


def _work(step: Step, config: BaseModel, run: Callable[..., Any], store: Store) -> Produce:
    def work(output: Path) -> Mapping[str, Scalar]:
        with _fetched(step, config, store) as inputs:
            result = run(config, inputs, output)
        if isinstance(result, PassThrough):
            return {PASSED: result.reason, "input": result.input, "index": result.index}
        return dict(result)

    return work


def inputs_by_reference(stage: str, config: BaseModel) -> frozenset[str]:
    """The inputs of which a stage wants to know only where they are, as its function ``by_reference`` says.

    That is the way of stages whose work is done elsewhere.
    """
    chosen = getattr(importlib.import_module(f"components.{stage}.task"), "by_reference", None)
    names: frozenset[str] = chosen(config) if chosen else frozenset()
    return names


@contextmanager
def _fetched(step: Step, config: BaseModel, store: Store) -> Iterator[Inputs]:
    """The folders of the inputs; those that are taken by reference hold reference.json and nothing else."""
    names = inputs_by_reference(step.stage, config)
    with TemporaryDirectory() as temporary:

        def folder(name: str, index: int, reference: Reference) -> Path:
            if name not in names:
                return store.fetch(reference)
            reference.save(Path(temporary) / f"{name}-{index}" / REFERENCE)
            return Path(temporary) / f"{name}-{index}"

        yield {
            name: [folder(name, index, each) for index, each in enumerate(group)]
            for name, group in step.inputs.items()
            if group
        }


def _follow(step: Step, reference: Reference) -> Reference:
    """An artifact that only says "my input, unchanged" stands for that input."""
    if PASSED not in reference.metadata:
        return reference
    source = step.inputs[str(reference.metadata["input"])][int(reference.metadata["index"])]
    return replace(source, metadata={**source.metadata, PASSED: reference.metadata[PASSED]})


def _is_source(path: Path) -> bool:
    return path.is_file() and path.suffix in {".py", ".j2", ".json", ".yaml"}


def default_store() -> Store:
    """The store that the environment variable EXPANSE_STORE names."""
    uri = os.environ.get(STORE)
    if not uri:
        raise BadInput(f"No store is set; set {STORE} to an address such as file:///data/expanse/store.")
    return open_store(uri)
