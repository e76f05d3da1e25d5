"""What a budget lets through, exactly and in any history; what a cap affords."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kproxy.routing.budget import Budget, BudgetParams, affordable

# Fractions of two, so that sums of floats are exact.
PARAMS = BudgetParams(share=0.0625, floor=0.125, reserve=4.0)
ON_REQUEST = replace(PARAMS, floor=0.0)
ON_TIME = replace(PARAMS, share=0.0)


def withdrawn(budget: Budget, now: float, tries: int = 100) -> int:
    return sum(budget.withdraw(now) for _ in range(tries))


@pytest.mark.parametrize("now", [0.0, 1e6])
def test_a_new_budget_holds_one(now: float) -> None:
    assert withdrawn(Budget(BudgetParams()), now) == 1


def test_sixteen_requests_pay_for_one() -> None:
    budget = Budget(ON_REQUEST)
    assert budget.withdraw(0.0)
    for _ in range(15):
        budget.deposit(0.0)
    assert not budget.withdraw(0.0)
    budget.deposit(0.0)
    assert withdrawn(budget, 0.0) == 1


def test_eight_seconds_pay_for_one() -> None:
    budget = Budget(ON_TIME)
    assert budget.withdraw(10.0)
    assert not budget.withdraw(17.5)
    budget.deposit(17.75)
    assert not budget.withdraw(17.875)
    assert withdrawn(budget, 18.0) == 1


def test_the_reserve_is_the_most_that_is_saved_up() -> None:
    waiting = Budget(PARAMS)
    waiting.deposit(0.0)
    assert withdrawn(waiting, 1e6) == 4
    paid = Budget(PARAMS)
    for _ in range(1_000):
        paid.deposit(0.0)
    assert withdrawn(paid, 0.0) == 4


def test_a_refusal_costs_nothing() -> None:
    budget = Budget(ON_TIME)
    assert withdrawn(budget, 0.0) == 1
    assert withdrawn(budget, 7.0) == 0
    assert withdrawn(budget, 8.0) == 1


step = st.tuples(st.integers(0, 40).map(lambda eighths: eighths / 8), st.integers(0, 40))


@given(st.lists(st.tuples(step, st.integers(0, 8)), max_size=40))
def test_no_stretch_of_any_history_lets_more_through(
    history: list[tuple[tuple[float, int], int]],
) -> None:
    budget, now, requests, through = Budget(PARAMS), 0.0, 0, 0
    moments = [(now, requests, through)]
    for (wait, arrived), tries in history:
        now += wait
        for _ in range(arrived):
            budget.deposit(now)
        requests += arrived
        through += withdrawn(budget, now, tries)
        moments.append((now, requests, through))
        assert through <= 1 + PARAMS.share * requests + PARAMS.floor * now
        for at, before, passed in moments:
            paid_in = PARAMS.share * (requests - before) + PARAMS.floor * (now - at)
            assert through - passed <= PARAMS.reserve + paid_in


@given(st.lists(step, max_size=40))
def test_what_was_paid_in_can_be_spent(history: list[tuple[float, int]]) -> None:
    budget, now, held = Budget(PARAMS), 0.0, 1.0
    budget.deposit(now)
    held += PARAMS.share
    for wait, arrived in history:
        now += wait
        held = min(PARAMS.reserve, held + PARAMS.floor * wait)
        for _ in range(arrived):
            budget.deposit(now)
            held = min(PARAMS.reserve, held + PARAMS.share)
        assert withdrawn(budget, now) == math.floor(held)
        held -= math.floor(held)


@pytest.mark.parametrize(
    "change",
    [
        {"share": -0.1},
        {"share": math.nan},
        {"share": math.inf},
        {"floor": -0.1},
        {"floor": math.nan},
        {"floor": math.inf},
        {"reserve": 0.9},
        {"reserve": math.nan},
        {"reserve": math.inf},
    ],
    ids=str,
)
def test_parameters(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="budget"):
        replace(PARAMS, **change)


@pytest.mark.parametrize(
    ("running", "est_cost", "cap", "expected"),
    [
        ([], 100, 100, True),
        ([], 101, 100, False),
        ([60], 40, 100, True),
        ([60], 41, 100, False),
        ([30, 30], 40, 100, True),
        ([30, 31], 40, 100, False),
        ([100], 0, 100, True),
        ([], 0, 0, True),
        ([], None, 100, False),
        ([None], 1, 100, False),
        ([None, 1], None, None, True),
        ([10**30], 10**30, None, True),
    ],
)
def test_affordable(
    running: list[int | None], est_cost: int | None, cap: int | None, expected: bool
) -> None:
    assert affordable(iter(running), est_cost, cap) is expected


def test_what_was_not_used_is_given_back() -> None:
    budget = Budget(PARAMS)
    assert budget.withdraw(0.0)
    budget.give_back()
    assert withdrawn(budget, 0.0) == 1
    for _ in range(9):
        budget.give_back()
    assert withdrawn(budget, 0.0) == PARAMS.reserve
