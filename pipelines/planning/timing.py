"""From work to seconds: the card, what bounds each part, and what a step costs before and after it computes."""

from dataclasses import dataclass

from pipelines.endpoints import served_by
from pipelines.planning.assumptions import Card, Planning
from pipelines.planning.walking import PlannedStep
from pipelines.planning.work import Asked, Work
from pipelines.resources import Machine

#: Stages whose work is spread over all GPUs of a step; the others use one.
SPREAD = frozenset({"sft", "dpo"})


@dataclass(frozen=True)
class Duration:
    """Seconds of a step by what they go into. ``timed`` is False where a model runs on a CPU, whose speed nobody stated."""

    startup: float
    moving: float
    computing: float
    waiting: float
    timed: bool

    @property
    def seconds(self) -> float:
        """All of it, one after the other."""
        return self.startup + self.moving + self.computing + self.waiting


def card_name(machine: Machine, planning: Planning, known: frozenset[str]) -> str:
    """The card that a machine's node selector names, longest known name first; else the one of ``planning.gpu``."""
    words = {word for value in machine.node_selector.values() for word in value.upper().replace("_", "-").split("-")}
    named = [name for name in sorted(known, key=lambda name: (-len(name), name)) if name.upper() in words]
    return named[0] if named else planning.gpu


def gpus_used(step: PlannedStep) -> int:
    """How many of the step's GPUs compute."""
    spread = step.stage in SPREAD or served_by(step.config) is not None
    return step.machine.total_gpus if spread else min(1, step.machine.total_gpus)


def duration(step: PlannedStep, work: Work, moved: float, card: Card, planning: Planning) -> Duration:
    """How long a step takes that moves ``moved`` bytes between the store and its disk."""
    used = gpus_used(step)
    return Duration(
        startup=planning.startup_minutes * 60,
        moving=moved / (planning.store_gigabytes_per_second * 1e9),
        computing=_computing(work, card, planning) / used if used else 0,
        waiting=sum(_waiting(asked, planning) for asked in work.asked),
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


def _waiting(asked: Asked, planning: Planning) -> float:
    return asked.completion_tokens / (asked.concurrency * planning.endpoint_tokens_per_second)
