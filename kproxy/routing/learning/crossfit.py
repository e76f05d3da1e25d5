"""A corpus goes in; for each line the evidence of weights that have not seen it comes out, twice.

1. *Known*: five folds. The weights have seen other prompts of the line's kind. Prompts of the same
   text are on one side of a fold, so nothing is recognised by heart.
2. *Novel*: one fit for each kind of each pool, without any line of it. This is what traffic of a
   kind that training does not have looks like, and the only honest place to set thresholds for it.

Two labels of different pools that nobody can tell apart are one category, seen twice: kept apart,
each would be evidence against the other and make its own prompts look novel. They are merged when
weights that tell all labels apart confuse them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from kproxy.routing.features import extract
from kproxy.routing.learning import logistic
from kproxy.routing.learning.records import Corpus
from kproxy.routing.learning.tabulate import Labels, label_lines

__all__ = ["FOLDS", "Crossfit", "Weights", "crossfit", "fit_weights", "merge_labels"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FOLDS = 5

_CONFUSED = 0.25
"""Share of the lines of one label that are taken for the other. In the data of the packaged
artefact two pairs have 0.82 and 0.40 (grade-school and competition mathematics), the next 0.03."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What a fit learned: rarity of words, and weights of shape (rows, categories)."""

    rarity: Floats
    weights: Floats


@dataclass(frozen=True, slots=True)
class Crossfit:
    """Evidence of shape (lines, categories), and the blocks that were left out of each fit.

    `fold` numbers the fold of each line, `kind` its kind, named in `kinds` as `pool/label`.
    """

    labels: Labels
    known: Floats
    novel: Floats
    fold: Ints
    kind: Ints
    kinds: tuple[str, ...]


def crossfit(corpus: Corpus, seed: int) -> Crossfit:
    """Fit once for each fold and each kind."""
    rows = logistic.rows_of([extract(line.prompt) for line in corpus.lines])
    fold = np.array([crc32(line.prompt.encode()) % FOLDS for line in corpus.lines], np.int64)
    labels = label_lines(corpus, merge_labels(corpus, rows, fold, seed))
    named = [f"{line.pool}/{line.label}" for line in corpus.lines]
    kinds, kind = np.unique(named, return_inverse=True)
    return Crossfit(
        labels,
        known=_leave_out(rows, labels, fold, seed),
        novel=_leave_out(rows, labels, kind, seed),
        fold=fold,
        kind=kind,
        kinds=tuple(map(str, kinds)),
    )


def fit_weights(rows: logistic.Rows, labels: Labels, chosen: Bools, seed: int) -> Weights:
    """Learn from the chosen lines."""
    numbers = np.flatnonzero(chosen)
    part = rows.take(numbers)
    rarity = logistic.rarity(part)
    weighed = logistic.weigh(part, rarity)
    of_line = labels.of_line[numbers]
    return Weights(rarity, logistic.fit(weighed, of_line, len(labels.names), seed))


def merge_labels(corpus: Corpus, rows: logistic.Rows, fold: Ints, seed: int) -> Mapping[str, str]:
    """Labels of one family and different pools that are confused, each with their common name."""
    labels = label_lines(corpus, {})
    size = len(labels.names)
    taken = _leave_out(rows, labels, fold, seed).argmax(1)
    counts = np.bincount(labels.of_line * size + taken, minlength=size * size)
    share = counts.reshape(size, size) / np.bincount(labels.of_line, minlength=size)[:, None]
    homes: dict[str, set[str]] = {}
    family = {line.label: line.family for line in corpus.lines}
    for line in corpus.lines:
        homes.setdefault(line.label, set()).add(line.pool)
    merged: dict[str, str] = {}
    for one, name in enumerate(labels.names):
        for two in range(one + 1, size):
            other = labels.names[two]
            apart = homes[name].isdisjoint(homes[other])
            confused = max(share[one, two], share[two, one]) >= _CONFUSED
            if apart and confused and family[name] == family[other] and name not in merged:
                merged[name] = merged[other] = f"{name}+{other}"
    return merged


def _leave_out(rows: logistic.Rows, labels: Labels, block: Ints, seed: int) -> Floats:
    """Each line's evidence from a fit without its block."""
    out = np.zeros((len(rows), len(labels.names)), np.float32)
    for number in np.unique(block):
        inside = block == number
        fitted = fit_weights(rows, labels, ~inside, seed)
        weighed = logistic.weigh(rows.take(np.flatnonzero(inside)), fitted.rarity)
        out[inside] = logistic.evidence(weighed, fitted.weights)
    return out
