"""What is chosen: laws that hold whatever is judged, and the dial's three names."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.routing.dial import DIALS, Judgement, choose, rate_at, worths
from kproxy.routing.table import Rate

RATES = (Rate(0.95, 0.5), Rate(0.98, 0.1), Rate(1.0, 0.0))


def judged(quality, standing=None, **changes):
    whole = Judgement(
        category="analysis",
        confidence=0.9,
        nearest="physics",
        novel=False,
        novelty=0.0,
        quality=tuple(quality),
        output_tokens=(100.0,) * len(quality),
        standing=tuple(standing or quality),
        rates=RATES,
    )
    return msgspec.structs.replace(whole, **changes)


def test_a_dial_says_how_much_quality_a_price_may_cost():
    known = judged([0.80, 0.73, 0.45], standing=[0.8, 0.7, 0.6])
    assert choose(known, [10.0, 1.0, 0.5], "best") == 0
    assert choose(known, [10.0, 1.0, 0.5], "balanced") == 1
    assert choose(known, [10.0, 1.0, 0.5], "cheap") == 1
    assert choose(judged([0.80, 0.73, 0.5]), [10.0, 5.0, 0.1], "cheap") == 2


def test_a_name_and_its_floor_are_one():
    known = judged([0.8, 0.75])
    for name, floor in DIALS:
        assert choose(known, [10.0, 1.0], name) == choose(known, [10.0, 1.0], floor)


def test_a_floor_between_takes_the_careful_side():
    assert rate_at(RATES, 0.96) == 0.1
    assert rate_at(RATES, 0.5) == 0.5
    assert rate_at(RATES, 1.1) == 0.0
    assert rate_at((), 0.9) == 0.0


def test_what_is_novel_goes_to_the_best_on_the_whole():
    known = judged([0.2, 0.9], standing=[0.8, 0.7])
    assert choose(known, [1.0, 0.1]) == 1
    assert choose(msgspec.structs.replace(known, novel=True), [1.0, 0.1]) == 0


def test_doubt_makes_a_saving_count_less():
    known = judged([0.80, 0.74])
    assert choose(known, [10.0, 1.0]) == 1
    assert choose(msgspec.structs.replace(known, novelty=0.5), [10.0, 1.0]) == 0


def test_quality_beyond_the_best_buys_nothing():
    known = judged([0.6, 0.9, 0.61], standing=[0.8, 0.7, 0.7])
    assert choose(known, [10.0, 9.0, 1.0], "best") == 2


def test_an_unknown_price_is_used_only_for_the_best():
    assert choose(judged([0.8, 0.9], standing=[0.9, 0.8]), [1.0, None]) == 0
    assert choose(judged([0.8, 0.1], standing=[0.9, 0.8]), [None, 1.0]) == 0
    assert choose(judged([0.8, 0.8], standing=[0.9, 0.8]), [None, 1.0]) == 1


def test_of_equals_the_cheaper_is_the_best():
    assert choose(judged([0.8, 0.8], novel=True), [2.0, 1.0]) == 1


def test_a_best_model_for_nothing_is_used():
    assert choose(judged([0.8, 0.8]), [0.0, 1.0]) == 0


@pytest.mark.parametrize("costs", [[], [1.0], [1.0, 1.0, 1.0]])
def test_costs_of_other_models_are_refused(costs):
    with pytest.raises(ValueError, match="one cost for each"):
        choose(judged([0.8, 0.7]), costs)


share = st.floats(0, 1)


@given(st.lists(st.tuples(share, share, st.floats(0, 100)), min_size=1, max_size=9), share, share)
def test_it_is_never_dearer_than_the_best(models, novelty, floor):
    quality, standing, costs = zip(*models, strict=True)
    known = judged(quality, standing=standing, novelty=novelty)
    chosen = choose(known, costs, floor)
    top = max(standing)
    assert costs[chosen] <= max(
        cost for cost, one in zip(costs, standing, strict=True) if one == top
    )


@given(st.lists(st.tuples(share, st.floats(0.01, 100)), min_size=1, max_size=9), share, share)
def test_a_higher_floor_never_costs_quality(models, one, other):
    quality, costs = zip(*models, strict=True)
    known = judged(quality)
    low, high = (quality[choose(known, costs, floor)] for floor in sorted((one, other)))
    assert high >= low or math.isclose(high, low, abs_tol=1e-9)


@given(st.data(), st.sampled_from(DIALS))
def test_models_that_are_left_out_are_as_if_never_judged(data, dial):
    share = st.floats(0, 1)
    rows = data.draw(st.lists(st.tuples(share, share), min_size=1, max_size=6))
    whole = judged([one for one, _ in rows], [other for _, other in rows])
    numbers = st.integers(0, len(rows) - 1)
    places = data.draw(st.lists(numbers, min_size=1, max_size=6))  # hosts of one model share a row
    cost = st.none() | st.integers(0, 9)
    costs = data.draw(st.lists(cost, min_size=len(places), max_size=len(places)))
    among = judged(
        [whole.quality[place] for place in places], [whole.standing[place] for place in places]
    )
    assert worths(whole, costs, dial[0], places) == worths(among, costs, dial[0])
