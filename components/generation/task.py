"""Sample completions of prompts from one teacher or from the policy."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.common.artifacts import Scalar
from components.common.endpoints import Endpoint, Served
from components.common.errors import BadInput
from components.common.inputs import Inputs, one, optional
from components.common.journal import Usage
from components.common.records import COMPLETION, PROMPT, Row, read_records, write_records
from components.common.sampling import SamplingSettings
from components.generation.engines import Open, open_engines
from components.generation.shards import Shard, complete_all

__all__ = ["Config", "run"]


class ThroughEnglish(BaseModel):
    """How a completion is made in English and then translated, for contrast pairs (arXiv 2407.02552).

    ``{prompt}`` and ``{text}`` stand for the prompt and the English completion, ``{language}`` for the language's name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    answer: str = "{prompt}\n\nAnswer in English."
    translate: str = "Translate into {language}. Give the translation only.\n\n{text}"

    @model_validator(mode="after")
    def _placeholders(self) -> "ThroughEnglish":
        try:
            asked, wanted = self.answer.format(prompt="\0"), self.translate.format(language="", text="\0")
        except (LookupError, ValueError, AttributeError) as error:
            raise ValueError(f"{error} is no placeholder; write a literal brace twice") from error
        if "\0" not in asked or "\0" not in wanted:
            raise ValueError("answer must contain {prompt} and translate {text}")
        return self


class Config(BaseModel):
    """``model`` is the name that the completions carry; ``portion`` the prompts' file; ``batch_size`` counts completions.

    ``shard`` prompts are finished together: a killed run goes on after the last finished shard.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    portion: str
    samples: int = Field(default=1, ge=1, le=64)
    temperature: float = Field(default=0.7, ge=0, allow_inf_nan=False)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(default=512, ge=1)
    batch_size: int = Field(default=64, ge=1)
    shard: int = Field(default=512, ge=1)
    seed: int = Field(default=0, ge=0)
    engine: Literal["transformers", "openai"] = "transformers"
    endpoint: Endpoint | None = None
    served: Served | None = None
    through_english: ThroughEnglish | None = None

    @model_validator(mode="after")
    def _endpoint_belongs_to_openai(self) -> "Config":
        named = sum(each is not None for each in (self.endpoint, self.served))
        if named != (self.engine == "openai"):
            raise ValueError("engine 'openai' needs either an endpoint or served, and no other engine has one")
        return self

    def sampling(self) -> SamplingSettings:
        """The part that the sampling loop takes."""
        return SamplingSettings(**{name: getattr(self, name) for name in SamplingSettings.model_fields})


def by_reference(config: Config) -> frozenset[str]:
    """A model that is served elsewhere is not fetched to this machine."""
    return frozenset({"model"}) if config.served else frozenset()


def run(config: Config, inputs: Inputs, output: Path, open_engines: Open = open_engines) -> dict[str, Scalar]:
    """Write completions.parquet: ``samples`` rows per prompt of the portion, in the order of the prompts.

    Metrics: completions, tokens, cut; of an endpoint also prompt_tokens, completion_tokens and, where prices are given,
    cost. With a ``guard`` (an evaluation) that says its round regressed no completion is drawn:
    the loop of rounds has stopped. Raises BadInput for a missing portion or model, Transient when an endpoint stays away.
    """
    stopped = _stopped(optional(inputs, "guard"))
    made = Shard([], Usage())
    if not stopped:
        made = complete_all(config, inputs, _prompts(one(inputs, "prompts"), config.portion), output, open_engines)
    rows = made.rows
    write_records(output / "completions.parquet", rows, COMPLETION)
    metrics: dict[str, Scalar] = {
        "completions": len(rows),
        "tokens": sum(row["tokens"] for row in rows),
        "cut": sum(row["finish_reason"] != "stop" for row in rows),
    }
    return metrics | _spent(config, made.usage) | ({"stopped": stopped} if stopped else {})


def _spent(config: Config, usage: Usage) -> dict[str, Scalar]:
    """What an endpoint has counted, and the cost where the recipe gives prices; nothing for a model in process."""
    if config.engine != "openai":
        return {}
    prices = config.endpoint
    cost = usage.cost(prices.input_price, prices.output_price) if prices else None
    return {**asdict(usage), **({} if cost is None else {"cost": cost})}


def _prompts(folder: Path, portion: str) -> list[Row]:
    path = folder / f"{portion}.parquet"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in folder.glob("*.parquet")))
        raise BadInput(f"{path} is not there; the portions of prompts are {known}.")
    return read_records(path, PROMPT)


def _stopped(guard: Path | None) -> str:
    """Why the rounds have stopped, or an empty string."""
    if guard is None:
        return ""
    path = guard / "results.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        return "; ".join(results["reasons"]) or "the round before regressed" if results["regressed"] else ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is not the result of an evaluation ({error}); evaluate again.") from error
