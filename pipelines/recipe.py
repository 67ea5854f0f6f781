"""The recipe: one YAML file that says everything about a run, validated as a whole before anything starts."""

from collections.abc import Collection, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from components.arbitrage.task import Config as Arbitrage
from components.benchmarks.task import Config as Benchmarks
from components.common.canonical import digest
from components.common.endpoints import HUB, Endpoint, Served
from components.common.languages import LANGUAGES
from components.common.training import TrainingConfig
from components.deployment.task import Config as Deployment
from components.dpo.task import Config as DPO
from components.evaluation.task import Config as Evaluation
from components.generation.task import Config as Generation
from components.merging.task import Config as Merging
from components.miniature.task import Config as MiniatureBuild
from components.preference.task import Config as Preference
from components.promotion.task import Config as Promotion
from components.prompts.task import Config as Prompts
from components.scoring.task import Config as Scoring
from components.sft.task import Config as SFT
from pipelines.planning.assumptions import Planning
from pipelines.resources import Resources, in_bytes
from pipelines.settings import Platform

NAME = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"
Name = Annotated[str, StringConstraints(pattern=NAME)]
MINIATURE = "miniature"
SOURCE = r"^(hf://[\w.-]+/[\w.-]+(@[\w.-]+)?|file:///.+|miniature)$"


class Section(BaseModel):
    """A part of the recipe: unknown fields are errors, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSource(Section):
    """A model's weights and licence; ``source`` is "hf://org/name@revision", "file:///folder", or "miniature"."""

    source: str = Field(pattern=SOURCE)
    license: str


class Answering(Section):
    """A model that answers: weights of which the run makes an artifact, an endpoint, or a model that the run serves."""

    name: Name
    license: str
    source: str | None = Field(default=None, pattern=SOURCE)
    endpoint: Endpoint | None = None
    served: Served | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> "Answering":
        if sum(origin is not None for origin in (self.source, self.endpoint, self.served)) != 1:
            raise ValueError(f"{self.name!r} needs one of source, endpoint and served; set exactly one of them")
        if self.served and self.served.source is None:
            raise ValueError(f"{self.name!r}: served.source is missing; name the model as hf://org/name@revision")
        return self


class Teacher(Answering):
    """A member of the teacher pool."""


class Baseline(Answering):
    """A model that the result is compared with; the first one is the fixed opponent of every step.

    ``tokenizer`` ("hf://org/name@revision") is that of the model behind an ``endpoint``, which multiple choice needs.
    """

    tokenizer: str | None = Field(default=None, pattern=HUB)

    @model_validator(mode="after")
    def _tokenizer_of_an_endpoint(self) -> "Baseline":
        if self.tokenizer and not self.endpoint:
            raise ValueError(f"{self.name!r}: tokenizer is the model's own unless an endpoint answers; remove it")
        return self


class Supervised(Section):
    """Supervised fine-tuning: an optional common start on all languages, then one model per cluster."""

    common: SFT | None = None
    cluster: SFT


class Offline(Section):
    """Offline preference training on the arbitrage completions."""

    pairs: Preference
    contrast: Generation | None = None
    dpo: DPO
    per_cluster: bool = True


class Online(Section):
    """Online preference training: so many rounds of sample, score, pair, train, merge.

    ``prompts`` names the portion of round n by its prefix: "round" stands for round-1, round-2, ...
    """

    rounds: int = Field(default=3, ge=0, le=10)
    prompts: str = "round"
    samples: Generation
    pairs: Preference
    dpo: DPO
    per_cluster: bool = False
    check: Evaluation


class Miniature(Section):
    """The small world and its models, for recipes whose models have the source "miniature".

    ``refresh`` (optional) brings the reward model up to date with the policy before the online rounds.
    """

    world: MiniatureBuild
    base: MiniatureBuild
    reward: MiniatureBuild
    teachers: dict[Name, MiniatureBuild]
    refresh: MiniatureBuild | None = None


class Recipe(Section):
    """Everything about a run. See docs/recipe.md for what each part means and where its values come from.

    ``merging`` is how the models of clusters become one; ``interpolation`` how a policy and the one model that was trained
    from it do, in this order, where preference training is not per cluster.
    """

    name: Name
    description: str
    seed: int = 17
    languages: list[str] = Field(min_length=1)
    shared_languages: list[str]
    clusters: dict[Name, list[str]] = Field(min_length=1, max_length=8)
    base: ModelSource
    reward: ModelSource
    teachers: list[Teacher] = Field(min_length=1, max_length=8)
    prompts: Prompts
    generation: Generation
    scoring: Scoring
    arbitrage: Arbitrage
    controls: list[Literal["single", "random"]] = []
    sft: Supervised
    merging: Merging
    interpolation: Merging
    offline: Offline
    online: Online
    benchmarks: Benchmarks | None = None
    evaluation: Evaluation
    baselines: list[Baseline] = Field(default=[], max_length=5)
    gate: Promotion
    registry: Promotion
    deployment: Deployment
    experiment: str = "expanse"
    resources: Resources = Resources()
    platform: Platform = Platform()
    planning: Planning = Planning()
    miniature: Miniature | None = None

    @property
    def digest(self) -> str:
        """The sha256 of the canonical JSON of every value, defaults included."""
        return digest(self.model_dump(mode="json"))

    def cluster_languages(self, cluster: str) -> list[str]:
        """The languages a cluster's model is trained on: its own and the shared ones, sorted."""
        return sorted({*self.clusters[cluster], *self.shared_languages})

    @model_validator(mode="after")
    def _languages(self) -> "Recipe":
        _subset("languages", self.languages, LANGUAGES, "the 23 languages that the platform knows")
        _subset("shared_languages", self.shared_languages, self.languages, "the recipe's languages")
        for cluster, languages in self.clusters.items():
            _subset(f"clusters.{cluster}", languages, self.languages, "the recipe's languages")
        left = set(self.languages) - {language for group in self.clusters.values() for language in group}
        left -= set(self.shared_languages)
        if left:
            raise ValueError(
                f"clusters: {', '.join(sorted(left))} is in no cluster; add it to one or drop the language"
            )
        return self

    @model_validator(mode="after")
    def _weights(self) -> "Recipe":
        weights = self.merging.weights
        if not isinstance(weights, str) and len(weights) != len(self.clusters):
            raise ValueError(
                f"merging.weights: {len(weights)} weights for {len(self.clusters)} clusters; give one weight per cluster"
            )
        return self

    @model_validator(mode="after")
    def _teachers(self) -> "Recipe":
        names = [teacher.name for teacher in self.teachers]
        if len(set(names)) != len(names):
            raise ValueError("teachers: two have the same name; give each its own")
        _subset("arbitrage.experts", list((self.arbitrage.experts or {}).values()), names, "the teachers")
        if self.arbitrage.teacher is not None:
            _subset("arbitrage.teacher", [self.arbitrage.teacher], names, "the teachers")
        if self.arbitrage.routing == "fixed":
            missing = set(self.languages) - set(self.arbitrage.experts or {})
            if missing:
                raise ValueError(
                    f"arbitrage.experts: no teacher for {', '.join(sorted(missing))}; routing 'fixed' needs one"
                )
        return self

    @model_validator(mode="after")
    def _platform(self) -> "Recipe":
        for role in type(self.resources).model_fields:
            machine = getattr(self.resources, role)
            if machine.priority_class and not self.platform.queue:
                raise ValueError(f"resources.{role}.priority_class: Kueue reads it; name the platform.queue too")
            if machine.gpus and in_bytes(self.platform.shared_memory) >= in_bytes(machine.memory):
                raise ValueError(
                    f"platform.shared_memory: {self.platform.shared_memory} leaves nothing of resources.{role}.memory "
                    f"({machine.memory}); make it less"
                )
        return self

    @model_validator(mode="after")
    def _batches(self) -> "Recipe":
        """What a training step would refuse hours later, on its GPUs."""
        processes = max(1, self.resources.training.total_gpus)
        trained: dict[str, TrainingConfig | None] = {"sft.common": self.sft.common, "sft.cluster": self.sft.cluster}
        trained |= {"offline.dpo": self.offline.dpo, "online.dpo": self.online.dpo}
        for name, config in trained.items():
            if config and config.global_batch_size % (config.device_batch_size * processes):
                raise ValueError(
                    f"{name}: global_batch_size {config.global_batch_size} is not a multiple of device_batch_size "
                    f"{config.device_batch_size} x {processes} processes of resources.training; change one of the three"
                )
        return self

    @model_validator(mode="after")
    def _miniature(self) -> "Recipe":
        tiny = [teacher.name for teacher in self.teachers if teacher.source == MINIATURE]
        wanted = bool(tiny) or MINIATURE in (self.base.source, self.reward.source)
        if wanted and self.miniature is None:
            raise ValueError("miniature: a model has the source 'miniature'; add the section that builds it")
        if self.miniature is not None:
            _subset("teachers", tiny, self.miniature.teachers, "the teachers that miniature.teachers builds")
        return self

    @model_validator(mode="after")
    def _questions(self) -> "Recipe":
        if self.miniature is None and self.benchmarks is None:
            raise ValueError("benchmarks: name the data sets to evaluate on; only a miniature brings its own questions")
        return self

    @model_validator(mode="after")
    def _answers(self) -> "Recipe":
        """What an evaluation would refuse when the models are trained, or answer with the wrong model."""
        for field, config in {"evaluation": self.evaluation, "online.check": self.online.check}.items():
            answers = config.answers
            if answers.endpoint or answers.tokenizer or (answers.served and answers.served.source):
                raise ValueError(
                    f"{field}.answers: each step evaluates its own model; give served without a source, and no endpoint "
                    "or tokenizer"
                )
        for baseline in self.baselines:
            if baseline.endpoint and not baseline.tokenizer and self.evaluation.of_kind("multiple_choice"):
                raise ValueError(
                    f"baselines: {baseline.name!r} needs the tokenizer of its model for multiple choice; add tokenizer: "
                    "hf://org/name"
                )
        return self

    @model_validator(mode="after")
    def _portions(self) -> "Recipe":
        wanted = [self.generation.portion, *(f"{self.online.prompts}-{n}" for n in range(1, self.online.rounds + 1))]
        _subset("prompts.portions", wanted, self.prompts.portions, "the portions that prompts.portions deals out")
        return self


def _subset(field: str, given: Sequence[str], known: Collection[str], what: str) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"{field}: {unknown[0]!r} is not among {what} ({', '.join(sorted(known))})")
