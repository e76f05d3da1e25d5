"""A race among endpoints of which some have no words for the request."""

import math

import pytest
from trio.testing import MockClock

from kproxy.errors import Exhausted, Fault, FaultKind, NotCarried
from tests.fakes.plans import plan_of, spec
from tests.upstream.test_race import TOKEN, Scripted, run

FOREIGN = NotCarried("n", "no words for it")
KEYLESS = Fault(FaultKind.CREDENTIAL, "HTTP 401", status=401)


@pytest.mark.parametrize("patience", [math.inf, 9])
@pytest.mark.parametrize(
    ("others", "raised"),
    [([(1, TOKEN)], None), ([(1, FOREIGN)], NotCarried), ([(1, KEYLESS)], Exhausted)],
)
async def test_who_has_no_words_for_it_is_passed_over(
    autojump_clock: MockClock,
    patience: float,
    others: list[tuple[float, object]],
    raised: type[Exception] | None,
) -> None:
    """The fault of one that was asked says more than that another one could not be."""
    runner = Scripted({"a/m": [(0, FOREIGN)], "b/m": others})
    plan = plan_of(spec("a/m", patience), spec("b/m"), most=1)
    if raised is None:
        assert await run(plan, runner) == ("b/m", 1)
    else:
        with pytest.raises(raised):
            await run(plan, runner)
    assert [key for _, key in runner.started] == ["a/m", "b/m"]


async def test_a_hedge_that_could_not_be_made_is_given_back(autojump_clock: MockClock) -> None:
    runner = Scripted({"a/m": [(5, TOKEN)], "b/m": [(0, FOREIGN)]}, hedges=1)
    assert await run(plan_of(spec("a/m", 1), spec("b/m"), beside=2), runner) == ("a/m", 5)
    assert [key for _, key in runner.started] == ["a/m", "b/m"]
    assert runner.hedges == 1
