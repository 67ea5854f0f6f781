"""The public benchmarks of the report, one file each: which data set, which shots, which prompt, scored how."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from components.common.errors import BadInput
from components.common.records import QUESTION, Row, write_records
from components.evaluation.benchmarks import (
    dolly,
    flores,
    global_mmlu,
    include,
    m_arena_hard,
    mgsm,
    xcopa,
    xstory_cloze,
    xwinograd,
)
from components.evaluation.benchmarks.public import PublicBenchmark, source_of

_ALL: tuple[PublicBenchmark, ...] = (
    m_arena_hard.M_ARENA_HARD,
    m_arena_hard.M_ARENA_HARD_V2,
    dolly.DOLLY_HUMAN_EDITED,
    dolly.DOLLY_MACHINE_TRANSLATED,
    xwinograd.XWINOGRAD,
    xcopa.XCOPA,
    xstory_cloze.XSTORY_CLOZE,
    global_mmlu.GLOBAL_MMLU,
    include.INCLUDE,
    mgsm.MGSM,
    flores.FROM_ENGLISH,
    flores.TO_ENGLISH,
)
PUBLIC = {public.benchmark.name: public for public in _ALL}


def load(name: str, source: str, languages: Iterable[str] | None = None, limit: int | None = None) -> list[Row]:
    """QUESTION rows of a public benchmark, at most ``limit`` per language.

    ``source`` is "hub", or a folder with ``<benchmark>/<configuration>/<split>*.parquet`` (or .jsonl), as a download of the
    data set from the hub leaves it. ``languages`` (codes such as "de") defaults to all that the benchmark has.
    """
    if name not in PUBLIC:
        raise BadInput(f"There is no public benchmark {name!r}; there are {', '.join(PUBLIC)}.")
    public = PUBLIC[name]
    chosen = list(public.languages) if languages is None else [code for code in languages if code in public.languages]
    if not chosen:
        raise BadInput(f"{name} has none of the languages asked for; it has {', '.join(public.languages)}.")
    fetch = source_of(public, source)
    rows = [row for code in chosen for row in public.build(code, fetch)[:limit]]
    return [{"reference": None, "options": None, "answer": None} | row for row in rows]


def write_questions(
    names: Sequence[str], source: str, output: Path, languages: Sequence[str] | None = None, limit: int | None = None
) -> dict[str, int]:
    """Write ``<name>.parquet`` for each public benchmark into ``output``; returns the number of questions by name."""
    return {
        name: write_records(output / f"{name}.parquet", load(name, source, languages, limit), QUESTION) for name in names
    }
