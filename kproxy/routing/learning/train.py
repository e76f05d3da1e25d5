"""A corpus and a seed go in; an artefact's bytes come out. The same ones for the same ones."""

from collections.abc import Sequence

import numpy as np

from kproxy.routing.artefact import RARITY_STEP, pack
from kproxy.routing.features import ROWS, VOCABULARY, WORD_ROWS, Features, extract
from kproxy.routing.lanes import ZERO
from kproxy.routing.learning import logistic
from kproxy.routing.learning.calibrate import (
    fit_novelty,
    fit_rates,
    judge_lines,
    prompt_tokens,
    tables_without,
)
from kproxy.routing.learning.crossfit import Weights, crossfit, fit_weights
from kproxy.routing.learning.records import Corpus
from kproxy.routing.learning.tabulate import tabulate
from kproxy.routing.lines import DataError

__all__ = ["train"]

_LARGEST = ZERO - 1


def train(corpus: Corpus, seed: int = 1) -> bytes:
    """Learn weights from all lines, and thresholds from fits that left lines out.

    Raises DataError when there are fewer than two kinds of prompt, so that nothing can be left out.
    """
    kinds = {(line.pool, line.label) for line in corpus.lines}
    if len({label for _, label in kinds}) < 2:
        raise DataError("the data has fewer than two kinds of prompt: nothing tells them apart")
    fitted = crossfit(corpus, seed)
    everything = np.ones(len(corpus.lines), bool)
    novelty = fit_novelty(corpus, fitted, everything)
    folds = tables_without(corpus, fitted, fitted.fold, novelty, {})
    judged = judge_lines(corpus, fitted, folds, prompt_tokens(corpus), novel=False)
    rates = {
        name: fit_rates(judged[name], pool.score, pool.cost, novelty.limit)
        for name, pool in corpus.pools.items()
    }
    table = tabulate(corpus, fitted.labels, everything, novelty, rates)
    found = [extract(line.prompt) for line in corpus.lines]
    learned = fit_weights(logistic.rows_of(found), fitted.labels, everything, seed)
    scale, weights = _store(learned)
    return pack(table, scale, _vocabulary(found), weights)


def _vocabulary(found: Sequence[Features]) -> bytes:
    known = bytearray(VOCABULARY)
    for one in found:
        for word in one.vocabulary:
            known[word] = 1
    return bytes(known)


def _store(learned: Weights) -> tuple[float, bytes]:
    """Weights as `lanes.py` wants them: each with the value of its feature multiplied in."""
    value = np.full(ROWS, logistic.SHAPE_WEIGHT)
    value[:WORD_ROWS] = learned.rarity
    products = learned.weights * value[:, None]
    scale = max(float(np.abs(products).max()), 1e-6) / _LARGEST
    square = np.zeros((ROWS, 1))
    square[:WORD_ROWS, 0] = np.minimum(learned.rarity.astype(float) ** 2 / RARITY_STEP, _LARGEST)
    lanes = np.rint(np.hstack([products / scale, square])).astype(np.int64) + ZERO
    return scale, lanes.astype("<u2").tobytes()
