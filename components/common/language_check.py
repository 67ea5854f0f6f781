"""Is a text in the script of its language? Cheap, certain for non-Latin scripts, silent about Latin ones."""

import unicodedata
from collections import Counter
from functools import cache

from components.common.languages import LANGUAGES

#: The first word of the Unicode names of a script's letters, by ISO 15924 code. Latin letters in "Jpan" are foreign.
LETTERS = {
    "Arab": {"ARABIC"},
    "Cyrl": {"CYRILLIC"},
    "Deva": {"DEVANAGARI"},
    "Grek": {"GREEK"},
    "Hans": {"CJK"},
    "Hebr": {"HEBREW"},
    "Jpan": {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK"},
    "Kore": {"HANGUL", "CJK"},
    "Latn": {"LATIN"},
}


def wrong_script(text: str, language: str, share: float = 0.5) -> bool:
    """Whether less than ``share`` of the letters is of the language's script; a text without letters is never wrong."""
    counts = Counter(_family(letter) for letter in text if letter.isalpha())
    own = sum(counts[family] for family in LETTERS[LANGUAGES[language].script])
    return own < share * sum(counts.values())


@cache
def _family(letter: str) -> str:
    return unicodedata.name(letter, "UNKNOWN").split(" ")[0]
