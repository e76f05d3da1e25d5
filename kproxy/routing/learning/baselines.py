"""What a router has to beat: predictions from nothing, from the length, or from the true label.

Each takes the lines to learn from and predicts a quality per model for the others, so it goes
through the same measures as the router (`metrics.py`).
"""

import numpy as np
from numpy.typing import NDArray

from kproxy.routing.learning.metrics import Point

__all__ = ["by_label", "by_length", "length_features", "oracle", "singles"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_PRIOR = 10.0


def singles(score: Floats, cost: Floats) -> list[Point]:
    """Each model for every prompt. Their hull is the zero router: a blind mixture of them."""
    return list(zip(map(float, cost.mean(0)), map(float, score.mean(0)), strict=True))


def length_features(lengths: Floats) -> Floats:
    """A cubic in the logarithm of the prompt's length, (prompts, 4)."""
    x = np.log1p(lengths) / 5
    return np.stack([np.ones(len(x)), x, x**2, x**3], 1)


def by_length(features: Floats, score: Floats, chosen: Bools) -> Floats:
    """Least squares on the length alone."""
    known = features[chosen]
    curve = known.T @ known + 1e-3 * np.eye(known.shape[1])
    predicted: Floats = features @ np.linalg.solve(curve, known.T @ score[chosen])
    return predicted


def by_label(label: Ints, score: Floats, chosen: Bools) -> Floats:
    """The mean of the prompt's true category: what a perfect classifier would reach."""
    mean = score[chosen].mean(0)
    predicted = np.tile(mean, (len(label), 1))
    for one in np.unique(label):
        known = chosen & (label == one)
        count = int(known.sum())
        predicted[label == one] = (score[known].sum(0) + _PRIOR * mean) / (count + _PRIOR)
    return predicted


def oracle(score: Floats) -> Floats:
    """The truth."""
    return score
