"""The questions of an evaluation: found in the given folders, checked before any model is loaded."""

from collections.abc import Sequence
from pathlib import Path

from components.common.errors import BadInput
from components.common.languages import LANGUAGES
from components.common.records import QUESTION, Row, read_records
from components.evaluation.settings import Benchmark


def read_questions(folders: Sequence[Path], benchmark: Benchmark, needs_reference: bool) -> list[Row]:
    """The rows of ``<benchmark>.parquet``; a missing group becomes the row's own id.

    Raises BadInput, naming file and row, when the file is missing or given twice, has no rows, repeats an id, or lacks
    what the benchmark's kind needs (options and answer, or a reference).
    """
    paths = [path for folder in folders if (path := folder / f"{benchmark.name}.parquet").is_file()]
    if len(paths) != 1:
        looked = ", ".join(map(str, folders)) or "no folder"
        raise BadInput(
            f"{benchmark.name}.parquet was found {len(paths)} times, looked in {looked}; it must be there once."
        )
    rows = [row | {"group": row["group"] or row["id"]} for row in read_records(paths[0], QUESTION)]
    if not rows:
        raise BadInput(f"{paths[0]} has no questions; remove {benchmark.name!r} from the benchmarks or fill the file.")
    _check_ids(paths[0], rows)
    for number, row in enumerate(rows):
        fault = _fault(row, benchmark, needs_reference)
        if fault:
            raise BadInput(f"{paths[0]}, row {number} (id {row['id']!r}): {fault}.")
    return rows


def _check_ids(path: Path, rows: list[Row]) -> None:
    seen = set()
    for row in rows:
        if not row["id"] or row["id"] in seen:
            raise BadInput(f"{path} has a missing or repeated id: {row['id']!r}; every question needs its own.")
        seen.add(row["id"])


def _fault(row: Row, benchmark: Benchmark, needs_reference: bool) -> str:
    if row["language"] not in LANGUAGES:
        return f"the language {row['language']!r} is none of {', '.join(LANGUAGES)}"
    if row["prompt"] is None or not (row["prompt"] or benchmark.cloze):
        return "the prompt is empty"
    if needs_reference and not (row["reference"] or "").strip():
        return "the reference is empty, and this benchmark is scored against it"
    if benchmark.kind == "multiple_choice":
        return _choice_fault(row)
    return ""


def _choice_fault(row: Row) -> str:
    options, answer = row["options"] or [], row["answer"]
    if len(options) < 2 or not all(options):
        return "a choice needs at least two options, none of them empty"
    if answer is None or not 0 <= answer < len(options):
        return f"the answer {answer} is not the index of one of the {len(options)} options"
    return ""
