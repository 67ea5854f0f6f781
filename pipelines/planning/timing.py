"""From work to seconds: the card, what bounds each part, and what a step costs before and after it computes."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.planning.assumptions import CARDS, Card, Planning
from pipelines.planning.formulas import forward_flops
from pipelines.planning.walking import PlannedStep
from pipelines.planning.work import Asked, Serving, Work

#: Stages whose work is spread over all GPUs of a step; the others use one.
SPREAD = frozenset({"sft", "dpo"})


@dataclass(frozen=True)
class Cards:
    """The card of the step's own machine, and those of the models which it serves."""

    own: Card
    served: tuple[Card, ...]


@dataclass(frozen=True)
class Duration:
    """Seconds of a step by what they go into, ``served`` for each model that it serves.

    ``timed`` is False where a model runs on a CPU, whose speed nobody stated.
    """

    startup: float
    moving: float
    computing: float
    waiting: float
    served: tuple[float, ...]
    timed: bool

    @property
    def seconds(self) -> float:
        """All of it, one after the other."""
        return self.startup + self.moving + self.computing + self.waiting + sum(self.served)

    def held(self, number: int) -> float:
        """Seconds for which the GPUs of a served model are the step's: all but those of other models and of endpoints."""
        return self.seconds - self.waiting - sum(self.served) + self.served[number]


def card_name(node_selector: Mapping[str, str], planning: Planning) -> str:
    """The card that a node selector names, longest known name first; else the one of ``planning.gpu``."""
    known = {*CARDS, *planning.cards}
    words = {word for value in node_selector.values() for word in value.upper().replace("_", "-").split("-")}
    named = [name for name in sorted(known, key=lambda name: (-len(name), name)) if name.upper() in words]
    return named[0] if named else planning.gpu


def gpus_used(step: PlannedStep) -> int:
    """How many of the step's GPUs compute."""
    return step.machine.total_gpus if step.stage in SPREAD else min(1, step.machine.total_gpus)


def duration(step: PlannedStep, work: Work, moved: float, cards: Cards, planning: Planning) -> Duration:
    """How long a step takes that moves ``moved`` bytes between the store and its disk, on these cards."""
    used = gpus_used(step)
    return Duration(
        startup=planning.startup_minutes * 60 * (1 + len(work.servings)),
        moving=moved / (planning.store_gigabytes_per_second * 1e9),
        computing=_computing(work, cards.own, planning) / used if used else 0,
        waiting=sum(_waiting(asked, planning) for asked in work.asked),
        served=tuple(
            _served(serving, card, planning) for serving, card in zip(work.servings, cards.served, strict=True)
        ),
        timed=bool(used) or not work.flops,
    )


def _computing(work: Work, card: Card, planning: Planning) -> float:
    """Seconds on one card. Sampling is bound by the arithmetic or by the memory, whichever is slower (roofline)."""
    peak, bandwidth = card.tflops * 1e12, card.bandwidth * 1e9
    training = work.training_flops / (peak * planning.training_utilisation)
    reading = work.reading_flops / (peak * planning.reading_utilisation)
    arithmetic = work.decoding_flops / (peak * planning.reading_utilisation)
    memory = work.decoding_bytes / (bandwidth * planning.bandwidth_utilisation)
    return training + reading + max(arithmetic, memory)


def _served(serving: Serving, card: Card, planning: Planning) -> float:
    """Seconds until the weights are there, and of sampling on the GPUs of all replicas; 0 where it has none."""
    if not serving.gpus:
        return 0.0
    peak = serving.gpus * card.tflops * 1e12 * planning.reading_utilisation
    bandwidth = serving.gpus * card.bandwidth * 1e9 * planning.serving_utilisation
    read = serving.scored + sum(each.rows * each.prompt for each in serving.decodings)
    reading = forward_flops(serving.shape, read) / peak
    arithmetic = sum(each.flops(serving.shape) for each in serving.decodings) / peak
    memory = sum(each.bytes(serving.shape, serving.width) for each in serving.decodings) / bandwidth
    return serving.bytes / (planning.store_gigabytes_per_second * 1e9) + reading + max(arithmetic, memory)


def _waiting(asked: Asked, planning: Planning) -> float:
    """The slowest of the endpoint's speed and its limits per minute."""
    tokens = asked.prompt_tokens + asked.completion_tokens
    return max(
        asked.completion_tokens / (asked.concurrency * planning.endpoint_tokens_per_second),
        60 * asked.requests / asked.requests_per_minute if asked.requests_per_minute else 0,
        60 * tokens / asked.tokens_per_minute if asked.tokens_per_minute else 0,
    )
