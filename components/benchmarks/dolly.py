"""The Dolly prompts of the Aya evaluation suite (arXiv 2402.06619): translated, in five languages edited by people.

A configuration holds all languages; rows are chosen by language and script (Chinese: simplified).
"""

from functools import partial

from components.benchmarks.dataset import Dataset, Fetch, Part, column
from components.common.errors import BadInput
from components.common.records import Row

DATASET = "CohereLabs/aya_evaluation_suite"
CODES = {
    "ar": "arb-Arab",
    "cs": "ces-Latn",
    "de": "deu-Latn",
    "el": "ell-Grek",
    "en": "eng-Latn",
    "es": "spa-Latn",
    "fa": "pes-Arab",
    "fr": "fra-Latn",
    "he": "heb-Hebr",
    "hi": "hin-Deva",
    "id": "ind-Latn",
    "it": "ita-Latn",
    "ja": "jpn-Jpan",
    "ko": "kor-Hang",
    "nl": "nld-Latn",
    "pl": "pol-Latn",
    "pt": "por-Latn",
    "ro": "ron-Latn",
    "ru": "rus-Cyrl",
    "tr": "tur-Latn",
    "uk": "ukr-Cyrl",
    "vi": "vie-Latn",
    "zh": "zho-Hans",
}
EDITED = ("ar", "es", "fr", "hi", "ru")


def _parts(configuration: str, code: str) -> list[Part]:
    return [(configuration, "test")]


def _build(configuration: str, code: str, fetch: Fetch) -> list[Row]:
    rows = fetch(configuration, "test")
    own = [row for row in rows if f"{row['language']}-{row['script']}" == CODES[code]]
    if not own:
        there = sorted({f"{row['language']}-{row['script']}" for row in rows})
        raise BadInput(f"{DATASET} ({configuration}) has no rows in {CODES[code]}; it has {', '.join(there)}.")
    return [_question(row, code, number) for number, row in enumerate(own)]


def _question(row: Row, code: str, number: int) -> Row:
    source = str(row.get("source_id", number))  # without it, the languages' rows correspond by position
    return {"id": f"{source}/{code}", "group": source, "language": code, "prompt": column(row, "inputs")}


DOLLY_HUMAN_EDITED, DOLLY_MACHINE_TRANSLATED = (
    Dataset(
        name=configuration,
        hub=DATASET,
        languages={code: CODES[code] for code in codes},
        parts=partial(_parts, configuration),
        build=partial(_build, configuration),
    )
    for configuration, codes in (("dolly_human_edited", EDITED), ("dolly_machine_translated", tuple(CODES)))
)
