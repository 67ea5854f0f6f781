"""From the rows of pairs.parquet to token ids."""

from pathlib import Path
from typing import Any

from components.common.records import PAIR, Row, read_records
from components.common.training import Encoded, encode_turns, in_languages


def read_pairs(folder: Path, languages: list[str] | None) -> list[Row]:
    """The pairs in these languages."""
    return in_languages(read_records(folder / "pairs.parquet", PAIR), languages)


def encode_pairs(tokenizer: Any, rows: list[Row], max_length: int) -> Encoded:
    """``prompt_ids``, ``chosen_ids`` and ``rejected_ids`` of each pair that can teach something.

    Dropped are: empty (a side without text), equal (the same text or tokens on both sides), prompt_too_long (no room
    for a completion), too_long (a completion would be cut, and a cut end is no preference).
    """
    encoded = Encoded()
    usable = [row for row in rows if _usable(row, encoded)]
    prompts = [row["prompt"] for row in usable]
    chosen = encode_turns(tokenizer, prompts, [row["chosen"] for row in usable])
    rejected = encode_turns(tokenizer, prompts, [row["rejected"] for row in usable])
    for (prompt, better), (_, worse) in zip(chosen, rejected, strict=True):
        length = len(prompt) + max(len(better), len(worse))
        if better == worse:
            encoded.dropped["equal"] += 1
        elif len(prompt) >= max_length:
            encoded.dropped["prompt_too_long"] += 1
        elif length > max_length:
            encoded.dropped["too_long"] += 1
        else:
            encoded.add({"prompt_ids": prompt, "chosen_ids": better, "rejected_ids": worse}, length)
    return encoded


def _usable(row: Row, encoded: Encoded) -> bool:
    if not row["prompt"] or not (row["chosen"] or "").strip() or not (row["rejected"] or "").strip():
        encoded.dropped["empty"] += 1
        return False
    if row["chosen"] == row["rejected"]:
        encoded.dropped["equal"] += 1
        return False
    return True
