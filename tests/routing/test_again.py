"""Who is asked again: the next one, or the same, within the plan's attempts and its cap."""

from kproxy.routing.again import again_plan
from kproxy.routing.plan import Plan
from tests.fakes.plans import plan_of, spec

FIRST, SECOND, THIRD = spec("a/m"), spec("b/m", est_cost=2_000), spec("c/n")


def asked(plan: Plan, *tried: str, spent: tuple[int | None, ...] = (1_000,)) -> str | None:
    found = again_plan(plan, FIRST, tried, spent)
    if found is None:
        return None
    assert (found.most, found.strategy, found.beside) == (1, "single", 1)
    assert not found.rescue
    return found.attempts[0].model.key


def test_the_next_one_comes_first() -> None:
    assert asked(plan_of(FIRST, SECOND, THIRD, rescue=True), "a/m") == "b/m"
    assert asked(plan_of(FIRST, SECOND, THIRD, strategy="race", beside=2), "b/m", "a/m") == "c/n"


def test_a_lone_one_is_asked_itself() -> None:
    assert asked(plan_of(FIRST), "a/m") == "a/m"


def test_attempts_are_counted_on() -> None:
    assert asked(plan_of(FIRST, most=1), "a/m") is None
    assert asked(plan_of(FIRST, most=2), "a/m") == "a/m"
    assert asked(plan_of(FIRST, most=2), "a/m", "a/m") is None


def test_the_cost_cap_is_for_the_sum() -> None:
    assert asked(plan_of(FIRST, SECOND, cost_cap=3_000), "a/m") == "b/m"
    assert asked(plan_of(FIRST, SECOND, cost_cap=2_999), "a/m") == "a/m"
    assert asked(plan_of(FIRST, SECOND, cost_cap=1_999), "a/m") is None
    assert asked(plan_of(FIRST, cost_cap=5_000), "a/m", spent=(None,)) is None


def test_whoever_rests_is_passed_over() -> None:
    found = again_plan(plan_of(FIRST, SECOND, THIRD, cost_cap=2_500), FIRST, ["a/m"], [1_000])
    assert found is not None
    assert [one.model.key for one in found.attempts] == ["c/n", "a/m"], "within the cap"
