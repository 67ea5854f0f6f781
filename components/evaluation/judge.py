"""Judges decide which of two answers is better. The truth judge is here, the endpoint judge in endpoint_judge.py."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

from components.evaluation.chrf import chrf_score, ngram_counts


@dataclass(frozen=True)
class Comparison:
    """Two answers to one prompt in one language; ``reference`` is the truth, where there is one."""

    id: str
    language: str
    prompt: str
    reference: str | None
    first: str
    second: str


@dataclass(frozen=True)
class Verdict:
    """The better answer. ``parsed`` is false when a judge's words held no verdict, which then counts as a tie."""

    winner: Literal["first", "second", "tie"]
    comment: str = ""
    parsed: bool = True


class Judge(Protocol):
    """Decides comparisons; what it cannot reach raises Transient, so that no evaluation is completed without it."""

    @property
    def name(self) -> str:
        """The judge, its version and its settings, as written into every result."""

    def decide(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """One verdict per comparison, in their order."""

    def sitting(self) -> "AbstractContextManager[Judge]":
        """The judge at work: what it needs is there while the block runs, and only then."""


@dataclass(frozen=True)
class TruthJudge:
    """The answer nearer to the reference by sentence chrF (0 to 100) wins; within ``tolerance`` it is a tie."""

    tolerance: float = 0.01

    def sitting(self) -> "AbstractContextManager[Judge]":
        """See Judge.sitting."""
        return nullcontext(self)

    @property
    def name(self) -> str:
        """For example "truth (sentence chrF, ties within 0.01)"."""
        return f"truth (sentence chrF, ties within {self.tolerance:g})"

    def decide(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """One verdict per comparison; every distinct pair of answer and reference is scored once."""
        sides = [(side, item.reference or "") for item in comparisons for side in (item.first, item.second)]
        distinct = list(dict.fromkeys(sides))
        scores = dict(zip(distinct, _nearness(distinct), strict=True))
        return [
            self._verdict(scores[item.first, item.reference or ""], scores[item.second, item.reference or ""])
            for item in comparisons
        ]

    def _verdict(self, first: float, second: float) -> Verdict:
        comment = f"chrF {first:.2f} against {second:.2f}"
        if abs(first - second) <= self.tolerance:
            return Verdict("tie", comment)
        return Verdict("first" if first > second else "second", comment)


def _nearness(pairs: Sequence[tuple[str, str]]) -> list[float]:
    if not pairs:
        return []
    counts = ngram_counts([answer for answer, _ in pairs], [reference for _, reference in pairs], word_order=0)
    scores: list[float] = chrf_score(counts).tolist()
    return scores
