"""Who won how much: the table that shows whether the pool was worth its cost."""

from collections import Counter, defaultdict

import pyarrow as pa

from components.common.records import Row

#: ``share`` is the part of a language's examples that ``model`` wrote, in [0, 1]; ``mean_reward`` is over those.
SHARE = pa.schema(
    [
        ("language", pa.string()),
        ("model", pa.string()),
        ("examples", pa.int64()),
        ("share", pa.float64()),
        ("mean_reward", pa.float64()),
    ]
)


def shares(examples: list[Row]) -> list[Row]:
    """One row per language and model that won anything, sorted by both."""
    rewards: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in examples:
        rewards[row["language"], row["model"]].append(row["reward"])
    totals = Counter(row["language"] for row in examples)
    return [
        {
            "language": language,
            "model": model,
            "examples": len(won),
            "share": len(won) / totals[language],
            "mean_reward": sum(won) / len(won),
        }
        for (language, model), won in sorted(rewards.items())
    ]
