"""chrF++ (Popović 2017) as sacrebleu computes it, from n-gram counts that can be summed.

A corpus score is the F-score of the summed counts, never a mean of sentence scores. sacrebleu counts; the F-score is
written here once more over arrays, so that a thousand resampled corpora take milliseconds.
"""

from collections.abc import Sequence

import numpy as np

from components.common.statistics import Array

BETA = 2
CHARACTER_ORDER = 6


def ngram_counts(answers: Sequence[str], references: Sequence[str], word_order: int = 2) -> Array:
    """sacrebleu's counts (hypothesis, reference, match) per n-gram order: ``(sentences, 3 * orders)``."""
    from sacrebleu.metrics import CHRF

    metric = CHRF(char_order=CHARACTER_ORDER, word_order=word_order, beta=BETA)
    counts = metric._extract_corpus_statistics(list(answers), [list(references)])
    return np.asarray(counts, dtype=np.float64).reshape(len(answers), 3 * (CHARACTER_ORDER + word_order))


def chrf_score(counts: Array) -> Array:
    """chrF between 0 and 100 of summed counts ``(..., 3 * orders)``, averaged over the orders that both sides have.

    NaN where there is no reference at all: a language that a resample did not draw.
    """
    hypothesis, reference, match = counts[..., 0::3], counts[..., 1::3], counts[..., 2::3]
    present = (hypothesis > 0) & (reference > 0)
    orders = np.maximum(present.sum(-1), 1)
    precision = (np.divide(match, hypothesis, out=np.zeros_like(match), where=present)).sum(-1) / orders
    recall = (np.divide(match, reference, out=np.zeros_like(match), where=present)).sum(-1) / orders
    weighted = BETA**2 * precision + recall
    product = (1 + BETA**2) * precision * recall
    score = 100 * np.divide(product, weighted, out=np.zeros_like(weighted), where=weighted > 0)
    return np.where(reference.any(-1), score, np.nan)
