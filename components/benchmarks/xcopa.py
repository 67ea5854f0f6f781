"""XCOPA (Ponti et al. 2020): the more plausible cause or effect of a premise. Options are compared unnormalised."""

from components.benchmarks.dataset import Dataset, Fetch, column
from components.common.records import Row

#: What joins premise and option, by language and kind of question, as in lm-eval.
CONNECTORS = {
    "id": {"cause": "karena", "effect": "maka"},
    "it": {"cause": "perché", "effect": "quindi"},
    "tr": {"cause": "çünkü", "effect": "bu yüzden"},
    "vi": {"cause": "bởi vì", "effect": "vì vậy"},
    "zh": {"cause": "因为", "effect": "所以"},
}


def _build(code: str, fetch: Fetch) -> list[Row]:
    return [_question(row, code) for row in fetch(code, "test")]


def _question(row: Row, code: str) -> Row:
    premise = column(row, "premise").strip()[:-1]  # without its full stop
    return {
        "id": f"{column(row, 'idx')}/{code}",
        "group": column(row, "idx"),
        "language": code,
        "prompt": f"{premise} {CONNECTORS[code][column(row, 'question')]}",
        "options": [_lower(column(row, "choice1")), _lower(column(row, "choice2"))],
        "answer": int(column(row, "label")),
    }


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


XCOPA = Dataset(
    name="xcopa",
    hub="cambridgeltl/xcopa",
    languages={code: code for code in CONNECTORS},
    parts=lambda code: [(code, "test")],
    build=_build,
)
