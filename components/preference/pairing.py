"""The rule that makes a pair, and the three places where pairs come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from components.common.errors import BadInput
from components.common.hashing import stable_fraction
from components.common.records import Row
from components.common.rewards import Prompt


@dataclass
class Paired:
    """``pairs`` are rows of PAIR, ``dropped`` rows of DROPPED; ``native`` the ids whose in-language side was chosen."""

    pairs: list[Row] = field(default_factory=list)
    dropped: list[Row] = field(default_factory=list)
    native: set[str] = field(default_factory=set)


def best_against_worst(prompts: Sequence[Prompt], source: str, margin: float) -> Paired:
    """The highest against the lowest valid reward of every prompt."""
    paired = Paired()
    for prompt in prompts:
        if len(prompt.valid) < 2:
            paired.dropped.append(prompt.drop(f"{source}: fewer than two valid completions"))
        else:
            _add(paired, prompt, _best(prompt), min(prompt.valid, key=_reward), source, margin)
    return paired


def contrast(native: Sequence[Prompt], translated: Sequence[Prompt], margin: float) -> Paired:
    """The best valid in-language completion of a prompt against its best valid translated one; the reward decides.

    Raises BadInput when both sides know an id but not with the same text.
    """
    paired, others = Paired(), {prompt.id: prompt for prompt in translated}
    for prompt in native:
        other = others.pop(prompt.id, None)
        if other is None or not prompt.valid or not other.valid:
            paired.dropped.append(prompt.drop("contrast: no valid completion on both sides"))
            continue
        if (prompt.text, prompt.language) != (other.text, other.language):
            raise BadInput(
                f"The two contrast inputs disagree on the prompt {prompt.id!r}; generate both from one prompt set."
            )
        ours, theirs = _best(prompt), _best(other)
        won = ours["reward"] > theirs["reward"]
        if _add(paired, prompt, *((ours, theirs) if won else (theirs, ours)), "contrast", margin) and won:
            paired.native.add(prompt.id)
    paired.dropped += [prompt.drop("contrast: no valid completion on both sides") for prompt in others.values()]
    return paired


def subset(pairs: list[Row], maximum: int | None, seed: int) -> list[Row]:
    """At most ``maximum`` pairs, drawn by a stable hash, sorted by id and source.

    The draw is blind to rewards on purpose: the widest margins lie in few languages and few kinds of gross error, and
    ``margin`` already says how wide a margin must be.
    """
    drawn = sorted(pairs, key=lambda row: stable_fraction("pair", seed, row["id"], row["source"]))[:maximum]
    return sorted(drawn, key=lambda row: (row["id"], row["source"]))


def _add(paired: Paired, prompt: Prompt, chosen: Row, rejected: Row, source: str, margin: float) -> bool:
    """Make the pair, or say why not; the first reason that holds."""
    gap = chosen["reward"] - rejected["reward"]
    if gap <= 0:
        reason = "equal rewards"
    elif gap < margin:
        reason = f"margin below {margin:g}"
    elif chosen["completion"].strip() == rejected["completion"].strip():
        reason = "equal texts"
    else:
        paired.pairs.append(
            {**prompt.fields(), **_side("chosen", chosen), **_side("rejected", rejected), "source": source}
        )
        return True
    paired.dropped.append(prompt.drop(f"{source}: {reason}"))
    return False


def _side(name: str, row: Row) -> Row:
    return {name: row["completion"], f"{name}_reward": row["reward"], f"{name}_model": row["model"]}


def _best(prompt: Prompt) -> Row:
    return max(prompt.valid, key=_reward)


def _reward(row: Row) -> float:
    return float(row["reward"])
