"""A plan that is not sound cannot be made."""

import math

import pytest
from msgspec.structs import replace

from kproxy.routing.plan import Timeouts
from tests.fakes.plans import plan_of, spec

ONE, OTHER = spec("a/m", total=10.0, first_token=10.0), spec("b/m", total=10.0, first_token=10.0)
PLAN = plan_of(ONE, OTHER, total=10.0)


@pytest.mark.parametrize(
    "change",
    [
        {"attempts": ()},
        {"attempts": (ONE, ONE)},
        {"attempts": (ONE, replace(ONE, est_cost=5))},
        {"total": math.inf},
        {"total": math.nan},
        {"total": 9.9},
        {"most": 0},
        {"beside": 0},
    ],
    ids=str,
)
def test_invariants(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"plan|deadline|total|tried"):
        replace(PLAN, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"total": 0.0},
        {"total": 10.1},
        {"first_token": 0.0},
        {"first_token": -1.0},
        {"first_token": 10.1},
        {"first_token": math.nan},
        {"gap": 0.0},
        {"gap": math.inf},
        {"gap": math.nan},
        {"patience": -1.0},
        {"patience": math.nan},
    ],
    ids=str,
)
def test_invariants_of_an_attempt(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"deadline|gap|patience"):
        replace(PLAN, attempts=(replace(ONE, **change),))


def test_frozen() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        PLAN.total = 2.0  # type: ignore[misc]


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("name", ["total", "first_token", "gap"])
def test_timeouts(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        replace(Timeouts(1.0, 1.0, 1.0), **{name: value})
