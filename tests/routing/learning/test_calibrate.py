"""Thresholds on what was not seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.routing.dial import Judgement, choose
from kproxy.routing.learning.calibrate import (
    FLOORS,
    Judged,
    best_alone,
    choices,
    fit_novelty,
    fit_rates,
    judge_lines,
    prompt_tokens,
    tables_without,
)
from kproxy.routing.learning.crossfit import crossfit
from kproxy.routing.table import Rate
from tests.fakes.answered import corpus

ALL = np.ones(len(corpus().lines), bool)


@pytest.fixture(scope="module")
def fitted():
    return crossfit(corpus(), 1)


def test_more_evidence_is_less_novel(fitted):
    novelty = fit_novelty(corpus(), fitted, ALL)
    assert novelty.slope > 0
    assert 0 < novelty.limit < 1


def test_known_lines_are_not_novel_and_left_out_kinds_are(fitted):
    novelty = fit_novelty(corpus(), fitted, ALL)
    tokens = prompt_tokens(corpus())
    folds = tables_without(corpus(), fitted, fitted.fold, novelty, {})
    kinds = tables_without(corpus(), fitted, fitted.kind, novelty, {})
    known = judge_lines(corpus(), fitted, folds, tokens, novel=False)
    left = judge_lines(corpus(), fitted, kinds, tokens, novel=True)
    for name in corpus().pools:
        assert np.median(known[name].novelty) < novelty.limit < np.median(left[name].novelty)
        assert np.all(known[name].expected > 0)


def test_a_table_without_a_kind_has_no_cell_of_it(fitted):
    novelty = fit_novelty(corpus(), fitted, ALL)
    for number, table in tables_without(corpus(), fitted, fitted.kind, novelty, {}):
        pool, _, label = fitted.kinds[number].partition("/")
        known = next(one for one in table.pools if one.name == pool)
        assert not any(label in name.split("+") for name in known.prompts)


def test_rates_fall_as_floors_rise_and_keep_the_floor():
    chance = np.random.default_rng(3)
    easy = chance.random(2_000)
    score = np.stack([np.ones(2_000), (chance.random(2_000) < easy).astype(float)], 1)
    cost = np.tile([10.0, 1.0], (2_000, 1))
    judged = Judged(np.stack([np.ones(2_000), easy], 1), cost, np.zeros(2_000))
    rates = fit_rates(judged, score, cost, 0.5)
    assert [one.floor for one in rates] == list(FLOORS)
    assert [one.rate for one in rates] == sorted((one.rate for one in rates), reverse=True)
    assert rates[0].rate > rates[-1].rate
    for one in rates[:-1]:
        chosen = choices(judged, best_alone(score), one.rate, 0.5)
        assert score[np.arange(2_000), chosen].mean() >= one.floor


def test_a_floor_that_nothing_keeps_gives_nothing_up():
    score = np.tile([1.0, 0.0], (50, 1))
    cost = np.tile([10.0, 1.0], (50, 1))
    misled = Judged(np.tile([0.5, 0.5], (50, 1)), cost, np.zeros(50))
    assert {one.rate for one in fit_rates(misled, score, cost, 0.5)} == {0.0}


def test_a_lucky_rate_beyond_a_bad_one_is_not_taken():
    """At a middling rate the middle model answers, which is bad; at a high one the cheap one."""
    quality, cost = np.tile([1.0, 0.9, 0.5], (50, 1)), np.tile([10.0, 4.0, 1.0], (50, 1))
    score = np.tile([0.9, 0.1, 1.0], (50, 1))
    score[:, 0] += 0.1
    rates = fit_rates(Judged(quality, cost, np.zeros(50)), score, cost, 0.5)
    assert all(one.rate < 0.1 / 0.6 for one in rates)


model = st.tuples(st.floats(0, 1), st.floats(0.5, 50))


@given(st.lists(model, min_size=2, max_size=6), st.floats(0, 1), st.floats(0, 1))
def test_many_at_once_are_chosen_as_one_is(models, novelty, rate):
    quality, costs = zip(*models, strict=True)
    standing = [1.0] + [0.5] * (len(models) - 1)
    one = Judgement(
        "code", 1.0, "x", novelty > 0.6, novelty, quality, quality, tuple(standing),
        (Rate(1.0, rate),),
    )  # fmt: skip
    many = Judged(np.array([quality]), np.array([costs]), np.array([novelty]))
    at_once, alone = int(choices(many, 0, rate, 0.6)[0]), choose(one, costs, 1.0)

    def worth(number):
        gain = min(0.0, quality[number] - quality[0])
        return gain - rate * (1 - novelty) * costs[number] / costs[0]

    assert worth(at_once) == pytest.approx(worth(alone))
