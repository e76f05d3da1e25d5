"""Two budgets, three states: who is admitted, what counts, and what a reservation may become."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.admission import quota
from kproxy.admission.quota import (
    NOTHING,
    Amount,
    Event,
    ReservationEnded,
    State,
    admit,
    counted,
    is_limited,
    overage_cost,
    step,
)
from kproxy.admission.standing import Standing
from kproxy.admission.tiers import TIERS
from kproxy.errors import Rejected
from kproxy.money import nanos

FREE, TEAM = TIERS["free"], TIERS["team"]
CAPPED = dataclasses.replace(TEAM, hard_cap=True)
DAY = 86_400 * 10**9


def refused(tier, taken, asked):
    with pytest.raises(Rejected) as caught:
        admit(tier, taken, asked, DAY)
    rejected = caught.value
    assert (rejected.status, rejected.code) == (429, "insufficient_quota")
    assert rejected.type == "insufficient_quota"
    headers = dict(rejected.headers)
    assert headers[b"x-should-retry"] == b"false"
    assert headers[b"retry-after"] == b"86400"
    assert headers[b"retry-after-ms"] == b"86400000"
    return rejected


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_event_moves_or_is_refused_in_every_state(state, event):
    assert set(quota.STEPS) == {(one, other) for one in State for other in Event}
    if state is State.HELD:
        assert step(state, event) is {0: State.SETTLED, 1: State.RELEASED}[event]
    else:
        with pytest.raises(ReservationEnded, match=f"{state.name} cannot {event.name}"):
            step(state, event)


def test_the_steps_cannot_be_changed():
    with pytest.raises(TypeError):
        quota.STEPS[State.SETTLED, Event.SETTLE] = State.HELD


@pytest.mark.parametrize("tier", [FREE, CAPPED])
def test_the_last_token_is_had_and_not_one_more(tier):
    limit = tier.tokens_per_month
    assert admit(tier, Amount(limit - 7, 0), Amount(7, 0), DAY) == Standing(limit, 0, DAY)
    rejected = refused(tier, Amount(limit - 7, 0), Amount(8, 0))
    assert "may use 8 tokens, and 7 of this month's" in rejected.message
    headers = dict(rejected.headers)
    assert headers[b"x-ratelimit-limit-tokens"] == b"%d" % limit
    assert headers[b"x-ratelimit-remaining-tokens"] == b"7"
    assert headers[b"x-ratelimit-reset-tokens"] == b"24h0m0s"


def test_a_month_that_is_overdrawn_has_nothing_left():
    assert "0 of this month's" in refused(FREE, Amount(100_001, 0), Amount(1, 0)).message


def test_overage_is_sold_unless_the_cap_is_hard():
    limit = TEAM.tokens_per_month
    beyond = Amount(limit + 5, 0)
    assert admit(TEAM, beyond, Amount(1, 0), DAY) == Standing(limit, 0, DAY)
    refused(CAPPED, beyond, Amount(1, 0))


def test_trial_credit_is_a_budget_of_its_own():
    spent = Amount(0, FREE.trial_credit - 7)
    assert admit(FREE, spent, Amount(0, 7), DAY) == Standing(100_000, 100_000, DAY)
    rejected = refused(FREE, spent, Amount(0, 8))
    assert "may cost 0.000000008 USD" in rejected.message
    assert "0.000000007 of your trial credit of 5 USD are left" in rejected.message
    # Neither budget stands in the way of the other.
    admit(FREE, Amount(0, FREE.trial_credit), Amount(1_000, 0), DAY)
    admit(FREE, Amount(100_000, 0), Amount(0, nanos(5)), DAY)


def test_without_credit_the_operators_keys_are_closed_and_what_is_free_is_free():
    none = dataclasses.replace(FREE, trial_credit=0)
    refused(none, NOTHING, Amount(0, 1))
    admit(none, NOTHING, Amount(0, 0), DAY)


@pytest.mark.parametrize("name", ["unlimited", "enterprise"])
def test_without_limits_everything_is_admitted_and_nothing_is_said(name):
    assert admit(TIERS[name], Amount(10**12, 10**12), Amount(10**9, 10**9), DAY) is None
    assert not is_limited(TIERS[name])


def test_what_is_limited():
    assert [name for name, tier in TIERS.items() if is_limited(tier)] == [
        "free",
        "team",
        "business",
    ]
    credit = dataclasses.replace(TIERS["enterprise"], trial_credit=1)
    assert is_limited(credit)
    assert admit(credit, NOTHING, Amount(10**9, 1), DAY) is None
    assert is_limited(dataclasses.replace(TIERS["enterprise"], tokens_per_month=0))


@pytest.mark.parametrize(
    ("tier", "managed", "amount"),
    [
        (FREE, False, Amount(100, 0)),
        (FREE, True, Amount(0, 2_700)),
        (TEAM, False, Amount(100, 0)),
        (TEAM, True, Amount(100, 2_700)),
        (dataclasses.replace(FREE, trial_credit=0), True, Amount(0, 2_700)),
        (dataclasses.replace(FREE, trial_credit=None), True, Amount(100, 2_700)),
    ],
)
def test_what_counts_against_which_budget(tier, managed, amount):
    assert counted(tier, 100, 2_700, managed=managed) == amount


def test_absurd_numbers_fit_into_a_counter():
    amount = counted(TEAM, 10**30, 10**30, managed=True)
    assert amount.tokens * 10_000 < 2**63
    assert amount.spend * 10_000 < 2**63
    assert counted(TEAM, -1, -1, managed=True) == NOTHING


@given(st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 60_000)), max_size=30))
def test_no_order_of_calls_takes_the_reserved_above_the_limit(calls):
    taken = 0
    for asked, used in calls:
        try:
            standing = admit(FREE, Amount(taken, 0), Amount(asked, 0), DAY)
        except Rejected:
            assert taken + asked > 100_000
            continue
        assert taken + asked <= 100_000 or not asked
        assert standing.remaining == max(0, 100_000 - taken - asked)
        taken += min(asked, used)


@pytest.mark.parametrize(
    ("tier", "tokens", "cost"),
    [
        (TEAM, 10_000_000, 0),
        (TEAM, 0, 0),
        (TEAM, 11_000_000, nanos("0.40")),
        (TEAM, 10_000_001, 400),
        (TIERS["business"], 52_500_000, nanos("0.75")),
        (FREE, 200_000, 0),
        (TIERS["unlimited"], 10**12, 0),
    ],
)
def test_overage_costs_what_the_contract_says(tier, tokens, cost):
    assert overage_cost(tier, tokens) == cost
