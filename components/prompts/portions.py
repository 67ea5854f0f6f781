"""Disjoint portions of the prompts, each with the languages in the proportions of the whole."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from components.common.errors import BadInput
from components.common.hashing import stable_fraction
from components.common.records import Row


def deal(rows: Sequence[Row], portions: Mapping[str, int], seed: int) -> dict[str, list[Row]]:
    """``portions[name]`` rows for each name, chosen by a stable hash of seed and id: the order of ``rows`` does not matter.

    Raises BadInput when there are fewer rows than the portions ask for.
    """
    wanted = sum(portions.values())
    if len(rows) < wanted:
        raise BadInput(
            f"prompts.portions ask for {wanted} prompts and {len(rows)} are usable; add prompts or make the portions smaller."
        )
    line = _interleaved(rows, seed)
    dealt, start = {}, 0
    for name, count in portions.items():
        dealt[name] = sorted(line[start : start + count], key=lambda row: str(row["id"]))
        start += count
    return dealt


def _interleaved(rows: Sequence[Row], seed: int) -> list[Row]:
    """All rows in a line of which every stretch has the languages in their overall proportions."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["language"]].append(row)
    places = []
    for language, group in groups.items():
        group.sort(key=lambda row: (stable_fraction("portion", seed, row["id"]), row["id"]))
        places += [((index + 0.5) / len(group), language, row) for index, row in enumerate(group)]
    return [row for *_, row in sorted(places, key=lambda place: place[:2])]
