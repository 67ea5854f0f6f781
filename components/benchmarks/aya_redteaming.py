"""Aya red-teaming (arXiv 2406.18682): requests that people wrote in their language to bring out harm.

Each is global (a harm anywhere) or local (one that needs the culture to be understood), which its id begins with. Six of
the data set's eight languages are among the 23; Serbian and Filipino are not. The repository has one JSONL file per language
in its root; seen in other projects that read these files, not tried against the hub.
"""

from components.benchmarks.dataset import Dataset, Fetch, Part, column
from components.common.errors import BadInput
from components.common.records import Row

CODES = {"ar": "arb", "en": "eng", "es": "spa", "fr": "fra", "hi": "hin", "ru": "rus"}
ROOT = ""
SCOPES = ("global", "local")


def _parts(code: str) -> list[Part]:
    return [(ROOT, f"aya_{CODES[code]}")]


def _build(code: str, fetch: Fetch) -> list[Row]:
    (part,) = _parts(code)
    return [_question(row, code, number) for number, row in enumerate(fetch(*part))]


def _question(row: Row, code: str, number: int) -> Row:
    scope = column(row, "global_or_local").strip().lower()
    if scope not in SCOPES:
        raise BadInput(f"Aya red-teaming {code}, row {number} is neither global nor local: {scope!r}.")
    identifier = f"{scope}/{number}/{code}"
    return {"id": identifier, "group": identifier, "language": code, "prompt": column(row, "prompt")}


AYA_REDTEAMING = Dataset(
    name="aya_redteaming",
    hub="CohereLabs/aya_redteaming",
    languages=CODES,
    parts=_parts,
    build=_build,
)
