"""Data sets on the hub, read from their files.

The files are read without the ``datasets`` library: it refuses repositories with a loading script from version 4 on, and
it does not say which commit the rows are from. Such a repository has its rows elsewhere: as raw files beside the
script, or as Parquet in a branch of their own that the hub itself has made (``refs/convert/parquet``).
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from components.benchmarks.folder import read_table
from components.benchmarks.parts import part_files
from components.common.errors import BadInput
from components.common.hub import Snapshot, fetch_file, look_up
from components.common.records import Row

CONVERTED = "refs/convert/parquet"


def find(name: str, parts: Sequence[tuple[str, str]], revision: str = "") -> Snapshot:
    """The commit whose files hold all ``parts``: of ``revision``, or of the main branch or the hub's own conversion.

    Raises BadInput naming the first part that is in neither.
    """
    first = look_up(name, revision, "dataset")
    missing = lacking(first, parts)
    if not missing:
        return first
    if not revision:
        try:
            converted = look_up(name, CONVERTED, "dataset")
        except BadInput:  # there is none
            converted = None
        if converted and not lacking(converted, parts):
            return converted
    configuration, split = missing[0]
    raise BadInput(
        f"{first.source} has no Parquet, JSONL or CSV files of {configuration}/{split}; give another revision in "
        f"benchmarks.revisions, or download the data set and name the folder in benchmarks.source."
    )


def lacking(snapshot: Snapshot, parts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of ``parts`` of which a snapshot has no files."""
    return [part for part in parts if not part_files(snapshot.files, snapshot.card, *part)]


def read(snapshot: Snapshot, configuration: str, split: str) -> list[Row]:
    """The rows of one part."""
    with TemporaryDirectory() as temporary:
        names = part_files(snapshot.files, snapshot.card, configuration, split)
        paths = [fetch_file(snapshot, name, Path(temporary)) for name in names]
        return [row for path in paths for row in read_table(path)]
