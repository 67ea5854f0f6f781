"""The tables that stages hand on, one Parquet schema each, in an order that never depends on timing."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.common.errors import BadInput

PROMPT = pa.schema([("id", pa.string()), ("language", pa.string()), ("prompt", pa.string())])

#: One evaluation item. ``group`` is shared by the same question in several languages (the bootstrap's cluster);
#: ``options`` and ``answer`` (an index) are set for multiple choice, ``reference`` for everything else that has a truth.
QUESTION = pa.schema(
    [
        *PROMPT,
        ("group", pa.string()),
        ("reference", pa.string()),
        ("options", pa.list_(pa.string())),
        ("answer", pa.int32()),
    ]
)

#: ``sample`` counts the completions of one model for one prompt; ``finish_reason`` is "stop" or "length".
COMPLETION = pa.schema(
    [
        *PROMPT,
        ("model", pa.string()),
        ("sample", pa.int32()),
        ("completion", pa.string()),
        ("finish_reason", pa.string()),
        ("tokens", pa.int32()),
    ]
)

#: ``reward`` is null where no reward may be compared, and ``rejected_because`` then says why (empty otherwise).
SCORED = pa.schema([*COMPLETION, ("reward", pa.float32()), ("rejected_because", pa.string())])

#: ``margin`` is the reward of the chosen completion minus that of the best completion not chosen.
EXAMPLE = pa.schema(
    [*PROMPT, ("completion", pa.string()), ("model", pa.string()), ("reward", pa.float32()), ("margin", pa.float32())]
)

#: ``source`` is "best-worst", "contrast" or "online".
PAIR = pa.schema(
    [
        *PROMPT,
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("chosen_reward", pa.float32()),
        ("rejected_reward", pa.float32()),
        ("chosen_model", pa.string()),
        ("rejected_model", pa.string()),
        ("source", pa.string()),
    ]
)

Row = dict[str, Any]


def write_records(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> int:
    """Write ``rows`` in the given order as one Parquet file; returns how many there were."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    pq.write_table(table, path, compression="zstd")
    return int(table.num_rows)


def read_records(path: Path, schema: pa.Schema | None = None) -> list[Row]:
    """The rows of a Parquet file; raises BadInput when it is not one or lacks a column of ``schema``."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadInput(f"{path} cannot be read as Parquet: {error}.") from error
    missing = [name for name in (schema.names if schema else []) if name not in table.column_names]
    if missing:
        raise BadInput(f"{path} has no column {missing[0]!r}; it has {', '.join(table.column_names)}.")
    try:
        rows: list[Row] = table.to_pylist()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} holds text that is not UTF-8 ({error}); write it again.") from error
    return rows
