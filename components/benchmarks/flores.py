"""FLORES-200 devtest: translation from and into English, 22 languages, chrF++.

The report does not state the number of examples; five, the first of the dev split, is our default. ``language`` is the
other language in both directions; the mean over languages is the figure.
"""

from functools import partial

from components.benchmarks.dataset import Dataset, Fetch, Part, column
from components.common.languages import LANGUAGES
from components.common.records import Row

SHOTS = 5
ENGLISH = "eng_Latn"
CODES = {
    "ar": "arb_Arab",
    "cs": "ces_Latn",
    "de": "deu_Latn",
    "el": "ell_Grek",
    "es": "spa_Latn",
    "fa": "pes_Arab",
    "fr": "fra_Latn",
    "he": "heb_Hebr",
    "hi": "hin_Deva",
    "id": "ind_Latn",
    "it": "ita_Latn",
    "ja": "jpn_Jpan",
    "ko": "kor_Hang",
    "nl": "nld_Latn",
    "pl": "pol_Latn",
    "pt": "por_Latn",
    "ro": "ron_Latn",
    "ru": "rus_Cyrl",
    "tr": "tur_Latn",
    "uk": "ukr_Cyrl",
    "vi": "vie_Latn",
    "zh": "cmn_Hans",
}


def _parts(code: str) -> list[Part]:
    return [(name, split) for name in (ENGLISH, CODES[code]) for split in ("dev", "devtest")]


def _build(from_english: bool, code: str, fetch: Fetch) -> list[Row]:
    order = slice(None) if from_english else slice(None, None, -1)
    names = ["English", LANGUAGES[code].name][order]
    configurations = [ENGLISH, CODES[code]][order]
    examples = _pairs(configurations, "dev", fetch)
    shots = [f"{_prompt(names, source)} {target}" for _, source, target in examples[:SHOTS]]
    return [
        {
            "id": f"{number}/{code}",
            "group": number,
            "language": code,
            "prompt": "\n\n".join([*shots, _prompt(names, source)]),
            "reference": target,
        }
        for number, source, target in _pairs(configurations, "devtest", fetch)
    ]


def _pairs(configurations: list[str], split: str, fetch: Fetch) -> list[tuple[str, str, str]]:
    """(id, source, target) of the sentences that both sides have."""
    sources, targets = (
        {column(row, "id"): column(row, "text") for row in fetch(configuration, split)}
        for configuration in configurations
    )
    return [(number, source, targets[number]) for number, source in sources.items() if number in targets]


def _prompt(names: list[str], source: str) -> str:
    return f"Translate from {names[0]} to {names[1]}.\n{names[0]}: {source}\n{names[1]}:"


FROM_ENGLISH, TO_ENGLISH = (
    Dataset(
        name=name,
        hub="openlanguagedata/flores_plus",
        languages=CODES,
        parts=_parts,
        build=partial(_build, from_english),
    )
    for name, from_english in (("flores_from_english", True), ("flores_to_english", False))
)
