"""MGSM (arXiv 2210.03057): arithmetic in words. Five worked examples in the language, then the question, in one user
turn.

The figure accepts the last number of the answer; ``accuracy_strict`` wants it after the language's answer phrase.

juletxara/mgsm was a loading script over TSV files without a header; in June 2026 lm-eval's maintainers found it converted
to Parquet, and as long as it is not, the hub's own conversion is read. Not tried against the hub. lm-eval itself reads
the copy jbross-ibm-research/mgsm, whose worked examples have lost their first words; they get them back here.
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
    shots = [_example(row, code) for row in fetch(code, "train")[:SHOTS]]
    return [_question(row, code, number, shots) for number, row in enumerate(fetch(code, "test"))]


def _example(row: Row, code: str) -> str:
    pairs = zip(WORDS[code], (column(row, "question"), column(row, "answer")), strict=True)
    return "\n".join(text if text.startswith(words) else f"{words} {text}" for words, text in pairs)


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
    parts=lambda code: [(code, "train"), (code, "test")],
    build=_build,
)
