"""Win-rate against an opponent's answers to the same questions, every pair judged in both orders."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from components.common.records import Row
from components.evaluation.judge import Comparison, Judge, Verdict

#: ``first_order`` and ``second_order`` are this model's results (1 win, .5 tie, 0 loss) when its answer is shown first,
#: and second; ``outcome`` is their mean. ``parsed`` is false when a judge gave no readable verdict in one of the two.
JUDGEMENT = pa.schema(
    [
        ("id", pa.string()),
        ("group", pa.string()),
        ("language", pa.string()),
        ("benchmark", pa.string()),
        ("opponent", pa.string()),
        ("outcome", pa.float32()),
        ("first_order", pa.float32()),
        ("second_order", pa.float32()),
        ("parsed", pa.bool_()),
        ("first_comment", pa.string()),
        ("second_comment", pa.string()),
    ]
)


def judge_answers(
    questions: Sequence[Row], answers: Mapping[str, str], opponent: str, theirs: Mapping[str, str], judge: Judge
) -> list[Row]:
    """JUDGEMENT rows (without ``benchmark``) for this model's ``answers`` against ``theirs``, both by question id."""
    shown_first = [_comparison(row, answers[row["id"]], theirs[row["id"]]) for row in questions]
    shown_second = [_comparison(row, theirs[row["id"]], answers[row["id"]]) for row in questions]
    verdicts = judge.decide([*shown_first, *shown_second])
    pairs = zip(questions, verdicts[: len(questions)], verdicts[len(questions) :], strict=True)
    return [_judgement(row, opponent, first, second) for row, first, second in pairs]


def _comparison(row: Row, first: str, second: str) -> Comparison:
    return Comparison(row["id"], row["language"], row["prompt"], row["reference"], first, second)


def _judgement(row: Row, opponent: str, first: Verdict, second: Verdict) -> Row:
    results = _result(first, "first"), _result(second, "second")
    return {
        "id": row["id"],
        "group": row["group"],
        "language": row["language"],
        "opponent": opponent,
        "outcome": sum(results) / 2,
        "first_order": results[0],
        "second_order": results[1],
        "parsed": first.parsed and second.parsed,
        "first_comment": first.comment,
        "second_comment": second.comment,
    }


def _result(verdict: Verdict, own_side: str) -> float:
    return 0.5 if verdict.winner == "tie" else float(verdict.winner == own_side)
