"""Exact match: of the whole answer, or of the number that it gives."""

import re
import unicodedata
from decimal import Decimal

#: How a chain of thought announces its result in MGSM's own examples; the strict reading accepts nothing else.
ANSWER_PHRASES = {
    "de": "Die Antwort lautet",
    "en": "The answer is",
    "es": "La respuesta es",
    "fr": "La réponse est",
    "ja": "答えは",
    "ru": "Ответ —",
    "zh": "答案是",
}

NUMBER = re.compile(r"(?:(?<!\w)[-−])?\d+(?:[.,'’\u00a0\u202f]\d+)*")
GROUPED = re.compile(r"[-−]?[1-9]\d{0,2}([.,'’\u00a0\u202f])\d{3}(?:\1\d{3})*")


def normalise(text: str) -> str:
    """NFC, with every run of white space one space and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def matches(answer: str, reference: str) -> bool:
    """Whether the two are the same text after ``normalise``; letter case and punctuation count."""
    return normalise(answer) == normalise(reference)


def matches_number(answer: str, reference: str) -> bool:
    """The flexible reading: the last number of the answer equals the reference."""
    found = NUMBER.findall(_plain_digits(answer))
    return bool(found) and _value(found[-1]) == _reference(reference)


def matches_number_strictly(answer: str, reference: str, language: str) -> bool:
    """The strict reading: the number after the first of the language's answer phrases equals the reference."""
    phrase = ANSWER_PHRASES.get(language)
    if phrase is None:
        return False
    found = re.search(re.escape(phrase) + r"\s*(" + NUMBER.pattern + ")", _plain_digits(answer))
    return found is not None and _value(found[1]) == _reference(reference)


def _plain_digits(text: str) -> str:
    """Digits of every script as 0 to 9; Arabic separators and full-width signs as theirs."""
    signs = {"٫": ".", "٬": ",", "，": ",", "．": "."}
    return "".join(
        signs.get(character, character) if not character.isdecimal() else str(unicodedata.decimal(character))
        for character in text
    )


def _reference(text: str) -> Decimal:
    return _value(_plain_digits(text).strip())


def _value(number: str) -> Decimal:
    """Groups of three after one kind of separator are thousands ("1.234"); else the last separator is the decimal."""
    number = number.replace("−", "-")
    if GROUPED.fullmatch(number):
        return Decimal(re.sub(r"[^\d-]", "", number))
    whole, separator, fraction = _split_decimals(number)
    return Decimal(re.sub(r"[^\d-]", "", whole) + ("." + fraction if separator else ""))


def _split_decimals(number: str) -> tuple[str, str, str]:
    last = max(number.rfind("."), number.rfind(","))
    return (number, "", "") if last < 0 else (number[:last], number[last], number[last + 1 :])
