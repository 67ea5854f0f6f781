"""Prompts that are, or quote, a question of the evaluation."""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from components.common.records import QUESTION, read_records
from components.prompts.cleaning import normalise

#: Tables of the miniature's world that lie beside its questions and are none.
NO_QUESTIONS = {"prompts", "training", "probes"}


class Decontaminator:
    """Calls with a prompt: True when it equals a question after normalisation, or shares ``ngram`` words in a row with one."""

    def __init__(self, folders: Sequence[Path], ngram: int) -> None:
        questions = [
            normalise(row["prompt"])
            for folder in folders
            for path in sorted(folder.glob("*.parquet"))
            if path.stem not in NO_QUESTIONS
            for row in read_records(path, QUESTION)
        ]
        self._questions = set(questions)
        self._ngram = ngram
        self._known = {piece for question in questions for piece in self._pieces(question)}

    def __call__(self, prompt: str) -> bool:
        """Whether the prompt is on the exam."""
        text = normalise(prompt)
        return text in self._questions or any(piece in self._known for piece in self._pieces(text))

    def _pieces(self, text: str) -> Iterator[tuple[str, ...]]:
        if self._ngram:
            found = words(text)
            yield from (tuple(found[start : start + self._ngram]) for start in range(len(found) - self._ngram + 1))


def words(text: str) -> list[str]:
    """The words of a normalised text, without punctuation; where a script writes no spaces, each character is one."""
    return "".join(_spaced(letter) for letter in text).split()


@cache
def _spaced(letter: str) -> str:
    if unicodedata.category(letter)[0] not in "LMN":
        return " "
    unspaced = unicodedata.name(letter, "").startswith(("CJK", "HIRAGANA", "KATAKANA"))
    return f" {letter} " if unspaced else letter
