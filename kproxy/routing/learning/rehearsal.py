"""A corpus goes in; what a router trained on a part of it does to the rest comes out.

`known`: five folds, other prompts of the same kinds. `novel`: one kind of one pool left out at a
time, so that its prompts are like nothing in training. In both, weights, table, novelty and rates
are all fitted without the lines that they are judged by; one thing is shared: a kind's novelty and
rates are set on evidence of fits that had seen that kind's lines among others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kproxy.routing.learning.calibrate import (
    Judged,
    best_alone,
    choices,
    fit_novelty,
    fit_rates,
    judge_lines,
    prompt_tokens,
    tables_without,
)
from kproxy.routing.learning.crossfit import Crossfit
from kproxy.routing.learning.records import Corpus, Measured
from kproxy.routing.learning.tabulate import tabulate
from kproxy.routing.table import Novelty, Rate

__all__ = ["Outcome", "rehearse_known", "rehearse_novel"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outcome:
    """For the lines of a pool: predictions, (lines, models), and decisions, (lines,).

    `best` is the best single model of the lines trained on.
    """

    quality: Floats
    expected: Floats
    chosen: Ints
    best: Ints
    novel: Bools


def rehearse_known(corpus: Corpus, fitted: Crossfit, floor: float) -> Mapping[str, Outcome]:
    """Each fold by the others. The decisions are those at this floor."""
    outcomes = _blank(corpus)
    tokens = prompt_tokens(corpus)
    for number in np.unique(fitted.fold):
        chosen = fitted.fold != number
        novelty = fit_novelty(corpus, fitted, chosen)
        judged = _known(corpus, fitted, tokens, novelty)
        for name, pool in corpus.pools.items():
            inside = ~chosen[pool.lines]
            rate = _rate(judged[name], pool, ~inside, novelty, floor)
            best = best_alone(pool.score[~inside])
            _record(outcomes[name], judged[name], inside, best, (rate, novelty.limit))
    return outcomes


def rehearse_novel(corpus: Corpus, fitted: Crossfit, floor: float) -> Mapping[str, Outcome]:
    """Each kind of each pool by all others."""
    outcomes = _blank(corpus)
    tokens = prompt_tokens(corpus)
    for number, kind in enumerate(fitted.kinds):
        chosen = fitted.kind != number
        novelty = fit_novelty(corpus, fitted, chosen)
        known = _known(corpus, fitted, tokens, novelty)
        table = tabulate(corpus, fitted.labels, chosen, novelty, {})
        judged = judge_lines(corpus, fitted, [(number, table)], tokens, novel=True)
        name = kind.partition("/")[0]
        pool = corpus.pools[name]
        inside = ~chosen[pool.lines]
        if inside.all():
            continue  # the pool's only kind: nothing of the pool is left to learn from
        rate = _rate(known[name], pool, ~inside, novelty, floor)
        best = best_alone(pool.score[~inside])
        _record(outcomes[name], judged[name], inside, best, (rate, novelty.limit))
    return outcomes


def _blank(corpus: Corpus) -> Mapping[str, Outcome]:
    return {
        name: Outcome(
            np.zeros(pool.score.shape),
            np.zeros(pool.score.shape),
            np.zeros(len(pool.lines), np.int64),
            np.zeros(len(pool.lines), np.int64),
            np.zeros(len(pool.lines), bool),
        )
        for name, pool in corpus.pools.items()
    }


def _known(
    corpus: Corpus, fitted: Crossfit, tokens: Floats, novelty: Novelty
) -> Mapping[str, Judged]:
    tables = tables_without(corpus, fitted, fitted.fold, novelty, {})
    return judge_lines(corpus, fitted, tables, tokens, novel=False)


def _part(judged: Judged, keep: Bools) -> Judged:
    return Judged(judged.quality[keep], judged.expected[keep], judged.novelty[keep])


def _rate(judged: Judged, pool: Measured, keep: Bools, novelty: Novelty, floor: float) -> float:
    rates: Iterable[Rate] = fit_rates(
        _part(judged, keep), pool.score[keep], pool.cost[keep], novelty.limit
    )
    return next((one.rate for one in rates if one.floor >= floor), 0.0)


def _record(
    outcome: Outcome, judged: Judged, inside: Bools, best: int, setting: tuple[float, float]
) -> None:
    rate, limit = setting
    part = _part(judged, inside)
    outcome.quality[inside] = part.quality
    outcome.expected[inside] = part.expected
    outcome.chosen[inside] = choices(part, best, rate, limit)
    outcome.best[inside] = best
    outcome.novel[inside] = part.novelty > limit
