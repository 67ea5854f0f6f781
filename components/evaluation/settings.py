"""What an evaluation can be told: the benchmarks, the judge, how answers are written, when a model has regressed."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from components.common.endpoints import HUB, Endpoint, Served
from components.common.identity import ASIDE

if TYPE_CHECKING:
    from components.common.statistics import Bootstrap

Kind = Literal["pairwise", "multiple_choice", "exact_match", "chrf", "language_confusion", "safety"]
GENERATIVE = ("pairwise", "exact_match", "chrf", "language_confusion", "safety")

#: What results.json adds to a benchmark's name for the figures against the step before.
PREVIOUS = "_previous"
#: What it adds for the word-level pass rate of a language confusion benchmark.
WORDS = "_words"
#: What it adds for the refusals of benign requests that belong to a safety benchmark.
OVER_REFUSAL = "_over_refusal"

METRICS: dict[str, str] = {
    "pairwise": "win_rate",
    "multiple_choice": "accuracy",
    "exact_match": "accuracy",
    "chrf": "chrf++",
    "language_confusion": "line_pass_rate",
    "safety": "harm_rate",
}


class Settings(BaseModel):
    """Frozen, and closed against misspelt fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Benchmark(Settings):
    """One set of questions and how its answers become a figure.

    ``chat`` (multiple choice only) puts the question into the model's chat template, otherwise it is plain text.
    ``cloze`` (multiple choice only): the options complete the context, and what is scored is the reference after them.
    ``normalise`` picks the option by log-likelihood per character instead of log-likelihood (lm-eval's acc_norm).
    ``extract`` compares the whole answer, or the number in it (exact match only).
    ``benign`` (safety only) is a pairwise benchmark of the same evaluation: its answers, in the languages of this one, tell
    what is refused without need.
    ``average`` counts every question the same, or every language the same; chrF++ is always a mean over languages.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kind: Kind
    chat: bool = True
    cloze: bool = False
    normalise: bool = False
    extract: Literal["text", "number"] = "text"
    average: Literal["questions", "languages"] = "questions"
    max_new_tokens: int | None = Field(default=None, gt=0)
    benign: str | None = None


class Generation(Settings):
    """How answers are sampled; temperature 0 is greedy. ``max_new_tokens`` may be set per benchmark instead."""

    max_new_tokens: int = Field(default=512, gt=0)
    temperature: float = Field(default=0.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    batch_size: int = Field(default=32, gt=0)
    seed: int = 0


class Answers(Settings):
    """Who answers: the model in this process ("transformers"), or behind an OpenAI-compatible interface ("openai").

    The latter is an ``endpoint`` that is there, or ``served`` under KServe for the step; without a ``served.source`` the
    evaluated model is. ``tokenizer`` ("hf://org/name@revision") is the model's own, which multiple choice needs; by
    default it is that of ``served.source``, else of the input model.
    """

    engine: Literal["transformers", "openai"] = "transformers"
    endpoint: Endpoint | None = None
    served: Served | None = None
    tokenizer: str | None = Field(default=None, pattern=HUB)

    @model_validator(mode="after")
    def _belong_to_openai(self) -> "Answers":
        named = sum(each is not None for each in (self.endpoint, self.served))
        if named != (self.engine == "openai"):
            raise ValueError("engine 'openai' needs either an endpoint or served, and no other engine has one")
        if self.tokenizer and self.engine != "openai":
            raise ValueError("the engine 'transformers' takes the tokenizer of the model; remove tokenizer")
        return self


class TruthJudgeSettings(Settings):
    """The answer nearer to the reference by sentence chrF (0 to 100) wins; within ``tolerance`` it is a tie."""

    kind: Literal["truth"] = "truth"
    tolerance: float = Field(default=0.01, ge=0)


class LanguageJudge(Settings):
    """What holds for a language model as judge wherever it runs."""

    max_new_tokens: int = Field(default=600, gt=0)
    max_answer_characters: int = Field(default=12_000, gt=0)
    max_unparsed_share: float = Field(default=0.2, ge=0, le=1)
    seed: int = 0


class EndpointJudgeSettings(LanguageJudge, Endpoint):
    """A language model behind an OpenAI-compatible endpoint; its key is in the variable ``api_key_variable``."""

    kind: Literal["endpoint"] = "endpoint"
    concurrency: Annotated[int, Field(ge=1, le=1024), ASIDE] = 8


class ServedJudgeSettings(LanguageJudge):
    """A language model that the evaluation serves under KServe while it judges; evaluations of a run share it."""

    kind: Literal["served"] = "served"
    served: Served

    @model_validator(mode="after")
    def _has_a_source(self) -> "ServedJudgeSettings":
        if self.served.source is None:
            raise ValueError("served.source: a judge is a model of its own; name it as hf://org/name@revision")
        return self


JudgeSettings = Annotated[TruthJudgeSettings | EndpointJudgeSettings | ServedJudgeSettings, Field(discriminator="kind")]


class BootstrapSettings(Settings):
    """How intervals are drawn: see components/common/statistics.py."""

    resamples: int = Field(default=1000, ge=100)
    seed: int = 0
    confidence: float = Field(default=0.95, gt=0, lt=1)

    def build(self) -> "Bootstrap":
        """The settings as the statistics take them."""
        from components.common.statistics import Bootstrap

        return Bootstrap(self.resamples, self.seed, self.confidence)


class Regression(Settings):
    """When a model counts as worse than the previous one; see components/evaluation/regression.py.

    ``lasting`` counts every model after a regressed one as regressed too: rounds that have stopped do not start again.
    """

    length_factor: float = Field(default=1.5, gt=1)
    consistency_drop: float = Field(default=0.0, ge=0, lt=1)
    lasting: bool = False


def _by_name(value: Any) -> Any:
    from components.evaluation.public import PUBLIC

    if isinstance(value, str):
        if value not in PUBLIC:
            raise ValueError(
                f"{value!r} is not a public benchmark ({', '.join(PUBLIC)}); give its name and kind as a mapping"
            )
        return PUBLIC[value]
    return value


#: A mapping of ``Benchmark``'s fields, or the name of a public benchmark.
BenchmarkField = Annotated[Benchmark, BeforeValidator(_by_name)]


class Config(Settings):
    """``name`` is the evaluated step's; ``benchmarks`` are asked in this order, each from ``<name>.parquet``."""

    name: str = Field(default="evaluation", min_length=1)
    benchmarks: tuple[BenchmarkField, ...] = Field(min_length=1)
    answers: Answers = Answers()
    judge: JudgeSettings = TruthJudgeSettings()
    generation: Generation = Generation()
    bootstrap: BootstrapSettings = BootstrapSettings()
    regression: Regression = Regression()
    choice_batch_size: int = Field(default=32, gt=0)

    @model_validator(mode="after")
    def _names_differ(self) -> "Config":
        names = [benchmark.name for benchmark in self.benchmarks]
        if len(set(names)) != len(names):
            raise ValueError(f"benchmarks has a name twice: {', '.join(names)}")
        if any(name.endswith(PREVIOUS) for name in names):
            raise ValueError(f"a benchmark's name cannot end in {PREVIOUS}: results against the step before do")
        taken = {benchmark.name + WORDS for benchmark in self.of_kind("language_confusion")} & set(names)
        if taken:
            raise ValueError(f"a benchmark cannot be called {min(taken)}: the word-level pass rate of another one is")
        taken = {benchmark.name + OVER_REFUSAL for benchmark in self.of_kind("safety")} & set(names)
        if taken:
            raise ValueError(f"a benchmark cannot be called {min(taken)}: the over-refusal of another one is")
        return self

    @model_validator(mode="after")
    def _safety(self) -> "Config":
        for benchmark in self.of_kind("safety"):
            if self.judge.kind == "truth":
                raise ValueError(
                    f"{benchmark.name}: harm is read by a language model; set judge to kind endpoint or served"
                )
            if benchmark.benign and benchmark.benign not in {each.name for each in self.of_kind("pairwise")}:
                raise ValueError(
                    f"{benchmark.name}: benign names {benchmark.benign!r}, which is no pairwise benchmark of this evaluation; "
                    "add it, or set benign to null"
                )
        return self

    def of_kind(self, *kinds: str) -> list[Benchmark]:
        """The benchmarks of these kinds, in order."""
        return [benchmark for benchmark in self.benchmarks if benchmark.kind in kinds]
