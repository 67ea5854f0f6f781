import numpy as np
import pytest

from components.common.statistics import Bootstrap, ratio
from components.evaluation.chrf import chrf_score, ngram_counts
from components.evaluation.results import entry, mean_entry
from tests.unit.evaluation.conftest import question

BOOTSTRAP = Bootstrap(resamples=300)


def test_every_question_or_every_language_counts_the_same() -> None:
    rows = [question(number, "de") for number in range(9)] + [question(0, "fr")]
    values = [1.0] * 9 + [0.0]
    assert mean_entry(values, rows, BOOTSTRAP)["value"] == pytest.approx(0.9)
    assert mean_entry(values, rows, BOOTSTRAP, over_languages=True)["value"] == pytest.approx(0.5)


def test_languages_have_their_own_figures() -> None:
    rows = [question(number, language) for number in range(4) for language in ("de", "fr")]
    found = mean_entry([1, 0] * 4, rows, BOOTSTRAP)
    assert {name: figures["value"] for name, figures in found["languages"].items()} == {"de": 1.0, "fr": 0.0}
    assert found["n"] == 8
    assert found["languages"]["de"]["n"] == 4


def test_a_rate_of_one_is_not_certain() -> None:
    rows = [question(number) for number in range(5)]
    assert mean_entry([1] * 5, rows, BOOTSTRAP)["low"] == pytest.approx(0.5655, abs=1e-3)
    assert mean_entry([0] * 5, rows, BOOTSTRAP)["high"] == pytest.approx(0.4345, abs=1e-3)
    assert mean_entry([1] * 5, rows, BOOTSTRAP, figure=ratio)["low"] == 1.0


def test_the_same_question_in_many_languages_is_one_draw() -> None:
    together = [question(number, language) for number in range(10) for language in ("de", "el", "en", "fr")]
    apart = [row | {"group": row["id"]} for row in together]
    values = [float(row["group"] < "5") for row in together]
    wide, narrow = mean_entry(values, together, BOOTSTRAP), mean_entry(values, apart, BOOTSTRAP)
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])


def test_chrf_over_languages_is_the_mean_of_their_corpus_scores_even_when_a_draw_misses_one() -> None:
    rows = [question(0, "de"), question(1, "de"), question(2, "fr")]
    counts = ngram_counts(["Antwort 0", "falsch", "réponse 2"], [row["reference"] for row in rows])
    found = entry(counts, chrf_score, rows, Bootstrap(resamples=500), over_languages=True)
    german = float(chrf_score(counts[:2].sum(axis=0)))
    assert found["value"] == pytest.approx((german + 100) / 2)
    assert found["languages"]["fr"]["value"] == pytest.approx(100)
    assert np.isfinite([found["low"], found["high"]]).all()
