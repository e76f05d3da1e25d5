"""Evidence that training did not see goes in; the router's thresholds come out.

Two things are set here, both on predictions for lines that the predicting weights had not seen:
how little evidence makes a prompt novel (`fit_novelty`), and what each floor allows to give up for
a lower price (`fit_rates`). Whoever wants to judge them calls these with the lines of other folds
or kinds only.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kproxy.routing.estimate import estimate_prompt_tokens
from kproxy.routing.learning.crossfit import Crossfit
from kproxy.routing.learning.records import Corpus
from kproxy.routing.learning.tabulate import tabulate
from kproxy.routing.panel import ModelRow, Panel
from kproxy.routing.table import CategoryTable, Novelty, Rate

__all__ = [
    "FLOORS",
    "Judged",
    "best_alone",
    "choices",
    "fit_novelty",
    "fit_rates",
    "judge_lines",
    "prompt_tokens",
    "tables_without",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FLOORS = (0.90, 0.93, 0.95, 0.97, 0.98, 0.99, 1.0)

_MARGIN = 0.005
"""Quality kept beyond the floor on unseen predictions, against the noise of a pool's mean. At
0.006 known kinds cost 0.8 points more of the best model's price, on the mean of the pools."""

_LIMIT = 0.66
"""Above this probability a prompt is novel. Lower is safer and dearer; at this one known kinds cost
about 30 % of the best model's price on the mean of the pools (`bench/routing.py`)."""

_TRUST = 1.0
"""Of a kind never seen nothing is known but the model: calibration is best without reserve."""

_RATES = np.geomspace(0.005, 1.5, 70)


@dataclass(frozen=True, slots=True)
class Judged:
    """What was predicted for the lines of a pool: (lines, models), and (lines,) for novelty.

    `expected` is the predicted cost in USD.
    """

    quality: Floats
    expected: Floats
    novelty: Floats


def prompt_tokens(corpus: Corpus) -> Floats:
    """An estimate for each line, as it is made when a request comes in."""
    return np.array([estimate_prompt_tokens(line.prompt.encode()) for line in corpus.lines], float)


def best_alone(score: Floats) -> int:
    """The model with the best mean."""
    return int(score.mean(0).argmax())


def fit_novelty(corpus: Corpus, fitted: Crossfit, chosen: Bools) -> Novelty:
    """Logistic regression of "of a kind left out" on the best evidence, each kind counting alike.

    `chosen` are the lines to learn from, each seen twice: as known and as novel.
    """
    known, novel = _best_evidence(corpus, fitted)
    weight = 1 / np.bincount(fitted.kind, chosen, len(fitted.kinds))[fitted.kind[chosen]]
    evidence = np.concatenate([known[chosen], novel[chosen]])
    truth = np.concatenate([np.zeros(weight.size), np.ones(weight.size)])
    offset, slope = _logistic(evidence, truth, np.concatenate([weight, weight]))
    return Novelty(offset, max(0.0, slope), _LIMIT, _TRUST)


def _best_evidence(corpus: Corpus, fitted: Crossfit) -> tuple[Floats, Floats]:
    """For each line, the best evidence among its pool's categories, with its kind and without."""
    known, novel = np.zeros(len(fitted.fold)), np.zeros(len(fitted.fold))
    for pool in corpus.pools.values():
        of_line, kind = fitted.labels.of_line[pool.lines], fitted.kind[pool.lines]
        has = np.zeros((len(fitted.kinds), len(fitted.labels.names)), bool)
        has[kind, of_line] = True
        own = has.any(0)
        known[pool.lines] = fitted.known[pool.lines][:, own].max(1)
        for one in np.unique(kind):
            lines = pool.lines[kind == one]
            left = np.delete(has, one, 0).any(0)
            if left.any():
                novel[lines] = fitted.novel[lines][:, left].max(1)
    return known, novel


def _logistic(x: Floats, truth: Floats, weight: Floats) -> tuple[float, float]:
    """P = 1 / (1 + exp(slope x - offset)), by Newton's method with a faint ridge."""
    design = np.stack([np.ones(len(x)), -x], 1)
    found = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(design @ found, -60, 60)))
        slope = design.T @ (weight * (truth - p)) - 1e-3 * found
        curve = (design * (weight * p * (1 - p))[:, None]).T @ design + 1e-3 * np.eye(2)
        found = found + np.linalg.solve(curve, slope)
    return float(found[0]), float(found[1])


def judge_lines(
    corpus: Corpus,
    fitted: Crossfit,
    blocks: Iterable[tuple[int, CategoryTable]],
    tokens: Floats,
    novel: bool,
) -> Mapping[str, Judged]:
    """Judge every line by the table of its block: folds, or kinds where `novel`. By pool."""
    evidence, block = (fitted.novel, fitted.kind) if novel else (fitted.known, fitted.fold)
    made = {
        name: Judged(np.zeros(one.score.shape), np.zeros(one.score.shape), np.zeros(len(one.lines)))
        for name, one in corpus.pools.items()
    }
    for number, table in blocks:
        for known in table.pools:
            pool, judged = corpus.pools[known.name], made[known.name]
            panel = Panel(table, [ModelRow(f"{known.name}/{model}") for model in pool.ids])
            for place in np.flatnonzero(block[pool.lines] == number):
                line = int(pool.lines[place])
                found = panel.judge(evidence[line].tolist(), None)
                judged.quality[place] = found.quality
                judged.novelty[place] = found.novelty
                judged.expected[place] = (
                    tokens[line] * pool.price_in + np.array(found.output_tokens) * pool.price_out
                )
    return made


def choices(judged: Judged, best: int, rate: float, limit: float) -> Ints:
    """`dial.choose` for many lines at once."""
    top, whole = judged.quality[:, [best]], judged.expected[:, [best]]
    share = judged.expected / whole
    worth = np.minimum(judged.quality - top, 0) - rate * (1 - judged.novelty[:, None]) * share
    worth[share > 1] = -np.inf
    chosen: Ints = worth.argmax(1)
    chosen[judged.novelty > limit] = best
    return chosen


def fit_rates(judged: Judged, score: Floats, cost: Floats, limit: float) -> tuple[Rate, ...]:
    """For each floor the highest rate up to which every one keeps it with the margin, or 0.

    Up to which: a single rate beyond may keep it by luck, and the cheapest of seventy lucky ones is
    no measurement. A rate that costs more than a lower one is passed over as well.
    """
    best = best_alone(score)
    rows = np.arange(len(score))
    whole = max(float(score[:, best].mean()), 1e-9)
    tried: list[tuple[float, float, float]] = []
    for rate in _RATES:
        chosen = choices(judged, best, float(rate), limit)
        kept = float(score[rows, chosen].mean()) / whole
        tried.append((float(rate), kept, float(cost[rows, chosen].mean())))
    return tuple(Rate(floor, _highest(tried, floor + _MARGIN)) for floor in FLOORS)


def _highest(tried: Sequence[tuple[float, float, float]], target: float) -> float:
    found, least = 0.0, math.inf
    for rate, kept, price in tried:
        if kept < target:
            break
        if price < least:
            found, least = rate, price
    return round(found, 5)


def tables_without(
    corpus: Corpus,
    fitted: Crossfit,
    block: Ints,
    novelty: Novelty,
    rates: Mapping[str, Sequence[Rate]],
) -> list[tuple[int, CategoryTable]]:
    """For each block the table of all other lines."""
    return [
        (int(number), tabulate(corpus, fitted.labels, block != number, novelty, rates))
        for number in np.unique(block)
    ]
