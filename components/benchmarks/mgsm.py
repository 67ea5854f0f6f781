"""MGSM (arXiv 2210.03057): arithmetic in words. Five worked examples in the language, then the question, in one user
turn.

The figure accepts the last number of the answer; ``accuracy_strict`` wants it after the language's answer phrase. The
data set on the hub is a script, which datasets 4 and later refuse: give a Parquet or JSONL copy.
"""

from components.benchmarks.dataset import Dataset, Fetch, column
from components.common.records import Row

SHOTS = 5
#: How the data set's own examples announce a question, and its answer step by step; the Russian spelling is theirs.
WORDS = {
    "de": ("Frage:", "Schritt-für-Schritt-Antwort:"),
    "en": ("Question:", "Step-by-Step Answer:"),
    "es": ("Pregunta:", "Respuesta paso a paso:"),
    "fr": ("Question :", "Réponse étape par étape :"),
    "ja": ("問題:", "ステップごとの答え:"),
    "ru": ("Задача:", "Пошаговоерешение:"),
    "zh": ("问题:", "逐步解答:"),
}


def _build(code: str, fetch: Fetch) -> list[Row]:
    shots = [f"{column(row, 'question')}\n{column(row, 'answer')}" for row in fetch(code, "train")[:SHOTS]]
    return [_question(row, code, number, shots) for number, row in enumerate(fetch(code, "test"))]


def _question(row: Row, code: str, number: int, shots: list[str]) -> Row:
    asks, answers = WORDS[code]
    return {
        "id": f"{number}/{code}",
        "group": str(number),
        "language": code,
        "prompt": "\n\n".join([*shots, f"{asks} {column(row, 'question')}\n{answers}"]),
        "reference": column(row, "answer_number"),
    }


MGSM = Dataset(
    name="mgsm",
    hub="juletxara/mgsm",
    languages={code: code for code in WORDS},
    build=_build,
)
