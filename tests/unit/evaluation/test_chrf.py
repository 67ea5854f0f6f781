"""Our sums and F-scores against sacrebleu's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import CHRF

from components.common.statistics import Bootstrap, estimate
from components.evaluation.chrf import chrf_score, ngram_counts

TEXT = st.text(alphabet="abc äß मंг日本. ,", max_size=30)
REFERENCE = TEXT.filter(lambda text: bool(text.strip()))


@given(st.lists(st.tuples(TEXT, REFERENCE), min_size=1, max_size=8), st.sampled_from([0, 2]))
@settings(max_examples=80, deadline=None)
def test_corpus_score_is_sacrebleus(pairs: list[tuple[str, str]], word_order: int) -> None:
    answers, references = [answer for answer, _ in pairs], [reference for _, reference in pairs]
    counts = ngram_counts(answers, references, word_order)
    theirs = CHRF(word_order=word_order).corpus_score(answers, [references]).score
    assert float(chrf_score(counts.sum(axis=0))) == pytest.approx(theirs, abs=1e-9)


@given(st.lists(st.tuples(TEXT, REFERENCE), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_sentence_scores_are_sacrebleus(pairs: list[tuple[str, str]]) -> None:
    ours = chrf_score(ngram_counts([a for a, _ in pairs], [r for _, r in pairs]))
    theirs = [CHRF(word_order=2).sentence_score(answer, [reference]).score for answer, reference in pairs]
    assert ours.tolist() == pytest.approx(theirs, abs=1e-9)


def test_the_bootstrap_resamples_corpora_exactly() -> None:
    answers = ["der Hund bellt", "die Katze schläft", "ein Vogel", "gar nichts"]
    references = ["der Hund bellt laut", "die Katze schläft", "ein Vogel singt", "alles anders"]
    counts = ngram_counts(answers, references)
    interval = estimate(counts, range(4), chrf_score, Bootstrap(resamples=4000))
    generator, metric = np.random.default_rng(1), CHRF(word_order=2)
    scores = []
    for _ in range(1500):
        drawn = generator.integers(4, size=4)
        scores.append(metric.corpus_score([answers[i] for i in drawn], [[references[i] for i in drawn]]).score)
    assert interval.value == pytest.approx(metric.corpus_score(answers, [references]).score)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])), abs=3)


def test_a_corpus_without_references_has_no_score() -> None:
    assert np.isnan(chrf_score(np.zeros(24)))
