"""A plan that is not sound cannot be made."""

import math

import pytest
from msgspec.structs import replace

from kproxy.catalog.load import Model
from kproxy.routing.plan import AttemptSpec, Plan, Timeouts

ONE = AttemptSpec(Model("m", "a", "m", None), None)
OTHER = AttemptSpec(Model("m", "b", "m", None), 7)
PLAN = Plan((ONE, OTHER), total=10.0, first_token=10.0, gap=1.0, strategy="single")


@pytest.mark.parametrize(
    "change",
    [
        {"attempts": ()},
        {"attempts": (ONE, ONE)},
        {"attempts": (ONE, replace(ONE, est_cost=5))},
        {"first_token": 0.0},
        {"first_token": -1.0},
        {"first_token": 10.1},
        {"first_token": math.nan},
        {"total": math.inf},
        {"total": math.nan},
        {"gap": 0.0},
        {"gap": math.inf},
        {"gap": math.nan},
    ],
    ids=str,
)
def test_invariants(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"plan|deadline|gap|tried"):
        replace(PLAN, **change)  # type: ignore[arg-type]


def test_frozen() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        PLAN.gap = 2.0  # type: ignore[misc]


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("name", ["total", "first_token", "gap"])
def test_timeouts(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        replace(Timeouts(1.0, 1.0, 1.0), **{name: value})
