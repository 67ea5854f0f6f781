"""Which teacher answers which prompt."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from components.common.errors import BadInput
from components.common.hashing import stable_fraction
from components.common.records import Row
from components.common.rewards import Prompt


@dataclass
class Routed:
    """``examples`` are rows of EXAMPLE, ``dropped`` rows of DROPPED; together one per prompt, in the order of ids."""

    examples: list[Row] = field(default_factory=list)
    dropped: list[Row] = field(default_factory=list)


def by_reward(prompts: Sequence[Prompt]) -> Routed:
    """The valid completion with the highest reward wins its prompt, whoever wrote it."""
    return _collect(prompts, {prompt.id: _best(prompt.valid) for prompt in prompts if prompt.valid})


def by_language(prompts: Sequence[Prompt], experts: dict[str, str]) -> Routed:
    """The declared expert of the prompt's language answers; raises BadInput for a missing language or expert."""
    for language in sorted({prompt.language for prompt in prompts}):
        if language not in experts:
            raise BadInput(f"experts names no teacher for {language!r}; add one for every language of the prompts.")
        _known(experts[language], prompts)
    return _collect(prompts, {prompt.id: _first(prompt, experts[prompt.language]) for prompt in prompts})


def by_chance(prompts: Sequence[Prompt], seed: int) -> Routed:
    """A teacher drawn by a stable hash of seed and prompt id among those with a valid completion."""
    chosen: dict[str, Row | None] = {}
    for prompt in prompts:
        teachers = sorted({row["model"] for row in prompt.valid})
        if teachers:
            index = int(stable_fraction("random", seed, prompt.id) * len(teachers))
            chosen[prompt.id] = _first(prompt, teachers[index])
    return _collect(prompts, chosen)


def by_teacher(prompts: Sequence[Prompt], teacher: str | None, seed: int) -> Routed:
    """One teacher answers everything: the named one, or the one with the best mean reward of its valid answers."""
    if teacher is None:
        teacher = best_teacher(prompts, seed)
    else:
        _known(teacher, prompts)
    return _collect(prompts, {prompt.id: _first(prompt, teacher) for prompt in prompts})


def best_teacher(prompts: Sequence[Prompt], seed: int) -> str | None:
    """The model with the highest mean reward, None when no completion is valid."""
    rewards: dict[str, list[float]] = defaultdict(list)
    for prompt in prompts:
        for row in prompt.valid:
            rewards[row["model"]].append(row["reward"])
    means = {model: sum(sorted(values)) / len(values) for model, values in rewards.items()}
    return max(sorted(means), key=lambda model: (means[model], stable_fraction("tie", seed, model)), default=None)


def _collect(prompts: Sequence[Prompt], chosen: dict[str, Row | None]) -> Routed:
    routed = Routed()
    for prompt in prompts:
        winner = chosen.get(prompt.id)
        if winner is not None:
            routed.examples.append(_example(prompt, winner))
        elif prompt.valid:
            routed.dropped.append(prompt.drop("the chosen teacher has no valid completion"))
        else:
            routed.dropped.append(prompt.drop("no valid completion"))
    return routed


def _example(prompt: Prompt, winner: Row) -> Row:
    others = [row["reward"] for row in prompt.valid if row is not winner]
    return {
        **prompt.fields(),
        **{name: winner[name] for name in ("completion", "model", "reward")},
        "margin": winner["reward"] - max(others) if others else None,
    }


def _best(rows: list[Row]) -> Row:
    return max(rows, key=lambda row: float(row["reward"]))


def _first(prompt: Prompt, teacher: str | None) -> Row | None:
    """The teacher's first valid sample: a control that took its best would itself route by reward."""
    return min(
        (row for row in prompt.valid if row["model"] == teacher), key=lambda row: int(row["sample"]), default=None
    )


def _known(teacher: str, prompts: Sequence[Prompt]) -> None:
    teachers = sorted({row["model"] for prompt in prompts for row in prompt.completions})
    if teacher not in teachers:
        raise BadInput(
            f"There is no teacher {teacher!r} among the scored completions; they come from {', '.join(teachers)}."
        )
