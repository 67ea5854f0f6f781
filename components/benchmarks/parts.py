"""Which files of a data set hold one part of it: a configuration (mostly a language) and a split.

The data set's card may say it (its ``configs``). Otherwise the folders do: ``<configuration>/<split>``, as most uploads
and the hub's own conversions to Parquet are laid out, or ``<split>/<configuration>``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ENDINGS = r"\.(parquet|jsonl|csv)"


def part_files(files: Sequence[str], card: Mapping[str, Any], configuration: str, split: str) -> list[str]:
    """Those of ``files`` (relative names) that hold the part, sorted; empty where none does."""
    tables = [name for name in files if re.search(f"{ENDINGS}$", name)]
    for pattern in [*_from_card(card, configuration, split), *_from_layout(configuration, split)]:
        if found := sorted(name for name in tables if re.fullmatch(pattern, name)):
            return found
    return []


def _from_card(card: Mapping[str, Any], configuration: str, split: str) -> Iterator[str]:
    """One regular expression that matches all files that the card names for the part, if it does."""
    for config in card.get("configs") or []:
        if config.get("config_name") != configuration:
            continue
        entries = [each for each in config.get("data_files") or [] if isinstance(each, Mapping)]
        paths = [each.get("path") or [] for each in entries if each.get("split") == split]
        globs = [glob for each in paths for glob in ([each] if isinstance(each, str) else each)]
        if globs:
            yield "|".join(_expression(glob) for glob in globs)


def _from_layout(configuration: str, split: str) -> Iterator[str]:
    for outer, inner in ((configuration, split), (split, configuration)) if configuration else ():
        for ending in ("parquet", "jsonl", "csv"):
            # "test.parquet", "test-00000-of-00001.parquet", "test/0000.parquet", but not "testing.parquet"
            yield rf"{re.escape(outer)}/{re.escape(inner)}([-.][^/]*|/[^/]*)?\.{ending}"
    if not configuration:  # the files lie in the root
        yield rf"{re.escape(split)}{ENDINGS}"


def _expression(glob: str) -> str:
    """A glob of a card as a regular expression: ``*`` stays inside a folder, ``**`` does not."""
    parts = re.split(r"(\*\*/?|\*|\?)", glob.removeprefix("./"))
    meanings = {"**": ".*", "**/": "(.*/)?", "*": "[^/]*", "?": "[^/]"}
    return "".join(meanings.get(part) or re.escape(part) for part in parts)
