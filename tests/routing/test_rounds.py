"""Who is asked in the next round of a tool loop."""

import math

import pytest

from kproxy.routing.rounds import round_plan
from tests.fakes.plans import plan_of, spec

A, B, C = spec("a/m", patience=0.0), spec("b/m"), spec("c/m", context_tokens=1_000)
PLAN = plan_of(A, B, C, strategy="race", beside=2)


def keys(answered: str = "a/m", prompt_tokens: int = 10, **fields: object) -> list[str]:
    cap = fields.get("cap")
    plan = plan_of(A, B, C, cost_cap=cap) if cap is not None else PLAN
    found = round_plan(plan, answered, prompt_tokens, fields.get("spent", ()))  # type: ignore[arg-type]
    return [] if found is None else [one.model.key for one in found.attempts]


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        ("a/m", ["a/m", "b/m", "c/m"]),
        ("b/m", ["b/m", "a/m", "c/m"]),
        ("x/m", ["a/m", "b/m", "c/m"]),
    ],
)
def test_who_answered_comes_first(answered: str, expected: list[str]) -> None:
    assert keys(answered) == expected


def test_nothing_runs_beside_it() -> None:
    found = round_plan(PLAN, "a/m", 10, ())
    assert found is not None
    assert (found.strategy, found.beside, found.most) == ("single", 1, PLAN.most)
    assert {one.patience for one in found.attempts} == {math.inf}


def test_a_prompt_must_fit_the_window() -> None:
    assert keys(prompt_tokens=999) == ["a/m", "b/m", "c/m"]
    assert keys(prompt_tokens=1_000) == ["a/m", "b/m"]


def test_the_cap_is_for_the_sum() -> None:
    # 1 USD a million in and 2 out: 10 + 2 x 256 tokens are 522,000 nano-dollars.
    assert keys(cap=522_000) == ["a/m", "b/m", "c/m"]
    assert keys(cap=521_999) == []
    assert keys(cap=600_000, spent=(78_000,)) == ["a/m", "b/m", "c/m"]
    assert keys(cap=600_000, spent=(78_001,)) == []
    assert keys(cap=600_000, spent=(None,)) == [], "nobody knows what is left"


def test_the_estimate_is_that_of_the_next_prompt() -> None:
    found = round_plan(PLAN, "a/m", 10, ())
    assert found is not None
    assert [one.est_cost for one in found.attempts] == [522_000] * 3
