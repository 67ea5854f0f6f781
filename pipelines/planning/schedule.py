"""When each step could start and end, and how many GPUs that takes at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.planning.walking import PlannedStep


@dataclass(frozen=True)
class Schedule:
    """Hours from the start at which steps end; ``critical`` is the chain of steps that the last end waits for."""

    ends: Mapping[str, float]
    critical: Sequence[str]
    peak_gpus: int

    @property
    def hours(self) -> float:
        """The end of the last step."""
        return max(self.ends.values(), default=0.0)


def schedule(steps: Sequence[PlannedStep], hours: Mapping[str, float], gpus: Mapping[str, int]) -> Schedule:
    """The earliest schedule: no step waits for a machine, only for the steps before it."""
    starts: dict[str, float] = {}
    ends: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for step in _in_order(steps):
        last = max(sorted(step.after), key=lambda name: ends[name], default=None)
        before[step.name] = last
        starts[step.name] = ends[last] if last else 0.0
        ends[step.name] = starts[step.name] + hours[step.name]
    name: str | None = max(ends, key=lambda each: ends[each], default=None)
    chain: list[str] = []
    while name:
        chain.insert(0, name)
        name = before[name]
    return Schedule(ends, chain, _peak(gpus, starts, ends))


def _in_order(steps: Sequence[PlannedStep]) -> list[PlannedStep]:
    """Every step behind those that it waits for: ``after`` is transitive, so a longer one comes later."""
    return sorted(steps, key=lambda step: len(_closure(step, {each.name: each for each in steps})))


def _closure(step: PlannedStep, steps: Mapping[str, PlannedStep]) -> set[str]:
    found: set[str] = set()
    waiting = list(step.after)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += steps[name].after
    return found


def _peak(gpus: Mapping[str, int], starts: Mapping[str, float], ends: Mapping[str, float]) -> int:
    """The most GPUs that run at one time; it is reached when some step starts."""
    return max(
        (
            sum(gpus[name] for name, start in starts.items() if start <= moment < ends[name])
            for moment in set(starts.values())
        ),
        default=0,
    )
