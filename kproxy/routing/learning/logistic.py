"""Sparse features and a label per prompt go in; a table of weights per feature comes out.

One logistic regression per category, "is it this one or not", all at once, by stochastic gradient
steps (Adagrad) on one processor. One against the rest, and not a softmax: a softmax must give its
whole mass to somebody, so a prompt like nothing in training still gets a sure category. Separate
questions may all be answered with no, and that is the router's measure of novelty.

A word weighs its inverse document frequency, scaled so that a prompt's words have length 1
together; a fact about the shape weighs a constant. Few passes are the regularisation: the weights
of rare features stay near 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kproxy.routing.features import ROWS, WORD_ROWS, Features

__all__ = ["SHAPE_WEIGHT", "Rows", "evidence", "fit", "rarity", "rows_of", "weigh"]

SHAPE_WEIGHT = 0.15

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_BATCH = 128
_PASSES = 6
_STEP = 0.5


@dataclass(frozen=True, slots=True)
class Rows:
    """Prompts as a sparse matrix: row i has `column[start[i]:start[i + 1]]` and their values."""

    start: Ints
    column: Ints
    value: Floats

    def __len__(self) -> int:
        return len(self.start) - 1

    def take(self, chosen: Ints) -> "Rows":
        """The rows of these numbers, in this order."""
        sizes = self.start[chosen + 1] - self.start[chosen]
        start = np.concatenate([[0], np.cumsum(sizes)])
        picked = np.repeat(self.start[chosen] - start[:-1], sizes) + np.arange(start[-1])
        return Rows(start, self.column[picked], self.value[picked])


def rows_of(prompts: Sequence[Features]) -> Rows:
    """Stack the features of prompts, each with the value 1."""
    parts = [np.array(sorted(one.words | one.shape), np.int64) for one in prompts]
    start = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    column = np.concatenate(parts)
    return Rows(start, column, np.ones(len(column), np.float32))


def rarity(rows: Rows) -> Floats:
    """Inverse document frequency of each word's row, also of those that no prompt has.

    A word that training has not seen says nothing but makes the prompt longer, so it takes from the
    evidence of all others: a prompt of unknown words with a known question mark is not known.
    """
    counts = np.bincount(rows.column, minlength=ROWS)[:WORD_ROWS]
    return np.log((len(rows) + 1) / (counts + 1.0)).astype(np.float32)


def weigh(rows: Rows, idf: Floats) -> Rows:
    """The rows with the values that training and use give them."""
    is_word = rows.column < WORD_ROWS
    value = np.where(is_word, idf[rows.column % WORD_ROWS], 0.0).astype(np.float32)
    norm = np.sqrt(np.maximum(np.add.reduceat(value * value, rows.start[:-1]), 1e-9))
    value /= np.repeat(norm, np.diff(rows.start))
    value[~is_word] = SHAPE_WEIGHT
    return Rows(rows.start, rows.column, value)


@dataclass(frozen=True, slots=True)
class _Batch:
    """A few rows, with the order that brings equal columns together."""

    rows: Rows
    owner: Ints  # of each value, the row
    order: Ints
    columns: Ints  # the distinct ones, ascending
    first: Ints  # of each distinct column, where it begins in `order`
    labels: Ints


def fit(rows: Rows, labels: Ints, classes: int, seed: int) -> Floats:
    """Weights of shape (ROWS, classes). `rows` are weighed; the seed shuffles them.

    Each class has a bias, the logarithm of its share, which is not learned and not returned. What
    only one prompt has weighs nothing: it could only be learned by heart.
    """
    chance = np.random.default_rng(seed)
    weights = np.zeros((ROWS, classes), np.float32)
    squares = np.full((ROWS, classes), 1e-3, np.float32)
    shares = np.bincount(labels, minlength=classes) + 1.0
    bias = np.log(shares / shares.sum()).astype(np.float32)
    batches = _batches(rows, labels, chance)
    for number in range(_PASSES):
        step = _STEP * (1 - number / _PASSES)
        for which in chance.permutation(len(batches)):
            _descend(batches[which], weights, squares, bias, step)
    weights[np.bincount(rows.column, minlength=ROWS) < 2] = 0
    return weights


def evidence(rows: Rows, weights: Floats) -> Floats:
    """The evidence for each class, (prompts, classes), for weighed rows."""
    out = np.empty((len(rows), weights.shape[1]), np.float32)
    for low in range(0, len(rows), 1_000):
        part = rows.take(np.arange(low, min(low + 1_000, len(rows))))
        out[low : low + 1_000] = _forward(part, weights)
    return out


def _forward(rows: Rows, weights: Floats) -> Floats:
    sums: Floats = np.add.reduceat(weights[rows.column] * rows.value[:, None], rows.start[:-1])
    return sums


def _batches(rows: Rows, labels: Ints, chance: np.random.Generator) -> list[_Batch]:
    shuffled = chance.permutation(len(rows))
    batches = []
    for low in range(0, len(rows), _BATCH):
        chosen = shuffled[low : low + _BATCH]
        part = rows.take(chosen)
        order = np.argsort(part.column, kind="stable")
        columns, first = np.unique(part.column[order], return_index=True)
        owner = np.repeat(np.arange(len(part)), np.diff(part.start))
        batches.append(_Batch(part, owner, order, columns, first, labels[chosen]))
    return batches


def _descend(batch: _Batch, weights: Floats, squares: Floats, bias: Floats, step: float) -> None:
    """One Adagrad step, in place."""
    slope = 1 / (1 + np.exp(-(_forward(batch.rows, weights) + bias)))
    slope[np.arange(len(batch.labels)), batch.labels] -= 1
    each = slope[batch.owner] * batch.rows.value[:, None]
    total = np.add.reduceat(each[batch.order], batch.first)
    squares[batch.columns] += total * total
    weights[batch.columns] -= step * total / np.sqrt(squares[batch.columns])
