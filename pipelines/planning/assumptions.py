"""What the planner assumes: the recipe's section ``planning``. Every value is shown with the plan."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Card(_Section):
    """One accelerator: dense bf16 peak in TFLOP/s, memory in GB (10^9 bytes), memory bandwidth in GB/s."""

    tflops: Positive
    memory: Positive
    bandwidth: Positive


#: Dense bf16 peaks, memory and bandwidth as their makers' data sheets give them (fp16 for T4, which has no bf16).
CARDS = {
    "T4": Card(tflops=65, memory=16, bandwidth=320),
    "L4": Card(tflops=121, memory=24, bandwidth=300),
    "A10": Card(tflops=125, memory=24, bandwidth=600),
    "L40S": Card(tflops=362, memory=48, bandwidth=864),
    "A100": Card(tflops=312, memory=80, bandwidth=2039),
    "H100": Card(tflops=989, memory=80, bandwidth=3350),
    "H200": Card(tflops=989, memory=141, bandwidth=4800),
    "B200": Card(tflops=2250, memory=180, bandwidth=8000),
    "MI300X": Card(tflops=1307, memory=192, bandwidth=5300),
}


class BenchmarkTokens(_Section):
    """Mean tokens of one benchmark's question, examples included, and of its written answer or of one option."""

    question: Positive
    answer: Positive


class Planning(_Section):
    """What ``expanse plan`` assumes where the recipe cannot know; the defaults are ours, replace them by what you measure."""

    gpu: str = Field(default="H100", description="card of a step whose node selector names none")
    cards: dict[str, Card] = Field(default={}, description="cards beside the known ones")
    parameters: dict[str, Positive] = Field(
        default={}, description="parameters of models that the planner does not know"
    )
    prompt_tokens: Positive = Field(default=150, description="mean tokens of a prompt")
    completion_tokens: Positive = Field(default=450, description="mean tokens of a completion")
    benchmark_tokens: dict[str, BenchmarkTokens] = Field(default={}, description="tokens of a benchmark's items")
    judgement_tokens: Positive = Field(default=150, description="mean tokens that the judge writes per comparison")
    longest_over_mean: float = Field(
        default=3, ge=1, description="longest completion of a batch over the mean; a batch is read until it ends"
    )
    training_utilisation: Share = Field(default=0.35, description="part of the card's peak that training reaches")
    reading_utilisation: Share = Field(default=0.35, description="part of the peak that scoring and prefill reach")
    bandwidth_utilisation: Share = Field(default=0.3, description="part of the memory bandwidth that sampling reaches")
    serving_utilisation: Share = Field(default=0.5, description="the same, of a model that is served for a step")
    endpoint_tokens_per_second: Positive = Field(default=30, description="tokens per second of one endpoint request")
    store_gigabytes_per_second: Positive = Field(default=0.5, description="between the store and a step, both ways")
    startup_minutes: float = Field(default=3, ge=0, description="of a step: its pod, its image, loading the model")
    kept_months: float = Field(default=1, ge=0, description="how long the artifacts stay in the store")

    def card(self, name: str) -> Card | None:
        """The card called ``name``, the recipe's own description first."""
        return self.cards.get(name) or CARDS.get(name)
