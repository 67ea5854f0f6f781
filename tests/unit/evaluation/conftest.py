"""A tiny real Cohere model with a byte-level tokenizer, and questions in four languages."""

from pathlib import Path
from typing import Any

import pytest

from components.common.records import QUESTION, Row, write_records
from tests.tiny import save_tiny_cohere

WORDS = {
    "de": ("Frage", "Antwort"),
    "el": ("ερώτηση", "απάντηση"),
    "en": ("question", "answer"),
    "fr": ("question", "réponse"),
}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_cohere(tmp_path_factory.mktemp("model"), initializer_range=0.2)


@pytest.fixture(scope="session")
def loaded(model_folder: Path) -> tuple[Any, Any]:
    from components.common.models import load_causal_lm

    return load_causal_lm(model_folder)


def question(number: int, language: str = "de", **fields: Any) -> Row:
    """A QUESTION row; the same ``number`` in two languages is one group."""
    asked, answered = WORDS[language]
    row = {
        "id": f"{number}/{language}",
        "language": language,
        "prompt": f"{asked} {number}",
        "group": str(number),
        "reference": f"{answered} {number}",
        "options": None,
        "answer": None,
    }
    return row | fields


def save_questions(folder: Path, **benchmarks: list[Row]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in benchmarks.items():
        write_records(folder / f"{name}.parquet", rows, QUESTION)
    return folder
