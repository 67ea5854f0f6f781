"""Promotion: accept or refuse a round's model, judge the final one by the gate, register what passed."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.common.artifacts import Reference
from components.common.errors import BadInput
from components.common.inputs import Inputs, PassThrough, one, optional
from components.common.origins import ORIGINS, origins
from components.promotion.gate import Limits, Rule, judge, read_results, write_gate
from components.promotion.registry import register, still_registered

Result = dict[str, float | int | str] | PassThrough


class Config(BaseModel):
    """``action`` says which of the three is done; the other fields belong to "gate" or to "register"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Literal["accept", "gate", "register"]
    rules: tuple[Rule, ...] = ()
    required: tuple[str, ...] = ()
    maximum_language_regressions: int | None = Field(default=None, ge=0)
    language_consistency_at_least: float | None = Field(default=None, ge=0, le=1)
    registered_model: str = Field(default="expanse", pattern=r"^[\w][\w.-]{0,99}$")
    alias: str = Field(default="champion", pattern=r"^[a-z][a-z0-9-]{0,49}$")

    @model_validator(mode="after")
    def _gate_has_a_rule(self) -> "Config":
        if self.action == "gate" and not (self.rules or self.required):
            raise ValueError("a gate without rules lets everything pass; give rules or required benchmarks")
        return self


def holds(config: Config, made: Reference) -> bool:
    """Whether finished work is still true of the world: a registered version can be deleted."""
    return config.action != "register" or still_registered(made)


def by_reference(config: Config) -> frozenset[str]:
    """Of what the model comes from, only where it is from is wanted."""
    return frozenset({ORIGINS})


def effects(config: Config) -> bool:
    """Registering moves an alias that others load; the two decisions are read by this run alone."""
    return config.action == "register"


def run(config: Config, inputs: Inputs, output: Path) -> Result:
    """Do ``config.action``; the outputs are described in the README beside this file."""
    actions: dict[str, Callable[[Config, Inputs, Path], Result]] = {
        "accept": _accept,
        "gate": _gate,
        "register": _register,
    }
    return actions[config.action](config, inputs, output)


def _accept(config: Config, inputs: Inputs, output: Path) -> Result:
    if len(inputs.get("models", [])) != 2:
        raise BadInput("Accepting a round needs two inputs 'models', the one before it and the one after it.")
    results = read_results(one(inputs, "evaluation"))
    if not isinstance(results.get("regressed"), bool):
        raise BadInput(f"{one(inputs, 'evaluation')}/results.json does not say whether it regressed; evaluate again.")
    if results["regressed"]:
        reasons = "; ".join(map(str, results.get("reasons", []))) or "no reason was given"
        return PassThrough("models", f"{results.get('name', 'The round')} regressed: {reasons}", index=0)
    return PassThrough("models", f"{results.get('name', 'The round')} did not regress", index=1)


def _gate(config: Config, inputs: Inputs, output: Path) -> Result:
    results = read_results(one(inputs, "evaluation"))
    ladder = [read_results(folder) for folder in inputs.get("evaluations", [])]
    limits = Limits(config.maximum_language_regressions, config.language_consistency_at_least)
    verdicts = judge(results, ladder[0] if ladder else None, config.rules, config.required, limits)
    return write_gate(output, verdicts)


def _register(config: Config, inputs: Inputs, output: Path) -> Result:
    folders = one(inputs, "model"), one(inputs, "gate"), optional(inputs, "evaluation")
    return register(*folders, config.registered_model, config.alias, output, origins(inputs))
