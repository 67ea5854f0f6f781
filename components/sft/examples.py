"""From the rows of examples.parquet to token ids and labels."""

from pathlib import Path
from typing import Any

from components.common.hashing import stable_fraction
from components.common.records import EXAMPLE, Row, read_records
from components.common.training import Encoded, encode_turns, in_languages

IGNORED = -100


def read_examples(folder: Path, languages: list[str] | None, part: tuple[float, float]) -> list[Row]:
    """The rows in these languages whose prompt id falls into ``part`` of [0, 1)."""
    rows = in_languages(read_records(folder / "examples.parquet", EXAMPLE), languages)
    return [row for row in rows if part[0] <= stable_fraction("part", row["id"]) < part[1]]


def encode_examples(tokenizer: Any, rows: list[Row], max_length: int) -> Encoded:
    """``input_ids`` and ``labels`` of each row; labels are IGNORED on the prompt, so only the answer is taught.

    An example longer than ``max_length`` is dropped rather than cut: a cut answer teaches not to stop.
    """
    encoded = Encoded()
    texts = [row for row in rows if row["prompt"] and (row["completion"] or "").strip()]
    if len(texts) < len(rows):
        encoded.dropped["empty"] = len(rows) - len(texts)
    turns = encode_turns(tokenizer, [row["prompt"] for row in texts], [row["completion"] for row in texts])
    for prompt, completion in turns:
        if len(prompt) + len(completion) > max_length:
            encoded.dropped["too_long"] += 1
        else:
            labels = [IGNORED] * len(prompt) + completion
            encoded.add({"input_ids": prompt + completion, "labels": labels}, len(labels))
    return encoded
