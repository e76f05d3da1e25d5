"""Costs and scores go in; the measures by which routers are compared come out.

AIQ is RouterBench's (2403.12031) on a linear cost axis: the mean quality under the non-decreasing
convex hull, from the cheapest single model's cost to the best one's.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Point", "aiq", "calibration_error", "hull", "saved", "sweep"]

Floats = NDArray[np.float64]

Point = tuple[float, float]
"""Mean cost and mean quality of a policy."""

_BINS = 15
_PRICES = (0.0, *np.geomspace(0.003, 30, 60))


def sweep(quality: Floats, expected: Floats, score: Floats, cost: Floats) -> list[Point]:
    """What `quality - price x expected cost` earns at each price. Arrays are (prompts, models).

    The price is per mean cost of the dearest model, so the steps suit any pool.
    """
    scaled = expected / expected.mean(0).max()
    rows = np.arange(len(quality))
    chosen = [(quality - price * scaled).argmax(1) for price in _PRICES]
    return [(float(cost[rows, one].mean()), float(score[rows, one].mean())) for one in chosen]


def hull(points: Iterable[Point]) -> list[Point]:
    """The corners of the non-decreasing convex hull, by cost."""
    corners: list[Point] = []
    for cost, quality in sorted(points):
        if corners and quality <= corners[-1][1]:
            continue
        while len(corners) > 1 and _sags(corners[-2], corners[-1], (cost, quality)):
            corners.pop()
        corners.append((cost, quality))
    return corners


def _sags(left: Point, middle: Point, right: Point) -> bool:
    rise, run = right[1] - left[1], right[0] - left[0]
    return (middle[1] - left[1]) * run <= rise * (middle[0] - left[0])


def aiq(points: Iterable[Point], cheapest: float, best: float) -> float:
    """The mean quality under the hull between these two costs."""
    corners = hull(points)
    costs, qualities = zip(*corners, strict=True)
    return float(np.interp(np.linspace(cheapest, best, 2_001), costs, qualities).mean())


def saved(points: Iterable[Point], floor: float, best: Point) -> float | None:
    """1 - cost / best's cost where the hull first reaches `floor` of best's quality, or None."""
    target = floor * best[1]
    below: Point | None = None
    for cost, quality in hull(points):
        if quality >= target:
            if below is not None:
                cost = below[0] + (target - below[1]) / (quality - below[1]) * (cost - below[0])
            return 1 - cost / best[0]
        below = (cost, quality)
    return None


def calibration_error(predicted: Floats, score: Floats) -> float:
    """Expected calibration error over 15 equal bins; every prompt and model counts once."""
    guess, truth = np.clip(predicted.ravel(), 0, 1), score.ravel()
    bins = np.minimum((guess * _BINS).astype(np.int64), _BINS - 1)
    gap = np.abs(np.bincount(bins, guess - truth, _BINS))
    return float(gap.sum() / len(guess))
