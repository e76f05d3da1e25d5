"""What may be attempted next, and when; the loop that acts on it is in tests/upstream."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.errors import Fault, FaultKind, NotCarried, Rejected
from kproxy.routing.chain import BACKOFF, CONTEXT_LENGTH, MOST_WAIT, Chain
from tests.fakes.plans import plan_of, spec

DOWN = Fault(FaultKind.UNAVAILABLE, "HTTP 503", status=503)
A, B, C = spec("a/m"), spec("b/m"), spec("c/m")


def taken(chain: Chain, now: float = 0.0) -> str | None:
    step = chain.take(now)
    return None if step is None else step.spec.model.key


def test_the_plan_comes_first_then_who_failed() -> None:
    chain = Chain(plan_of(A, B, most=5), 0.5)
    assert taken(chain) == "a/m"
    chain.failed(A, DOWN, 1.0)
    assert taken(chain, 1.0) == "b/m"
    chain.failed(B, DOWN, 1.5)
    step = chain.take(2.0)
    assert step is not None
    assert (step.spec, step.when, step.again) == (A, 1.0 + BACKOFF, True)
    assert taken(chain, 2.0) == "b/m"
    assert taken(chain, 2.0) is None


@given(chance=st.floats(0, 1), failures=st.integers(1, 6))
def test_waiting_grows_and_is_spread(chance: float, failures: int) -> None:
    chain = Chain(plan_of(A, most=9), chance)
    for _ in range(failures):
        step = chain.take(0.0)
        assert step is not None
        chain.failed(A, DOWN, 10.0)
    last = chain.take(0.0)
    assert last is not None
    least = BACKOFF * 2 ** (failures - 1)
    assert last.when - 10.0 == pytest.approx(least * (0.5 + chance))


def test_a_provider_that_named_a_time_is_not_asked_before() -> None:
    chain = Chain(plan_of(A), 0.5)
    chain.take(0.0)
    chain.failed(A, limited(MOST_WAIT), 5.0)
    step = chain.take(5.0)
    assert step is not None
    assert step.when == 5.0 + MOST_WAIT


def test_a_long_wait_is_the_callers() -> None:
    chain = Chain(plan_of(A), 0.5)
    chain.take(0.0)
    chain.failed(A, limited(MOST_WAIT + 0.1), 5.0)
    assert chain.take(5.0) is None


def test_behind_a_failure_other_providers_come_first() -> None:
    """The other models of a provider that is down are likely to be down as well."""
    same = [spec("a/one"), spec("a/two"), spec("a/three")]
    chain = Chain(plan_of(*same, spec("b/m"), most=9), 0.5)
    assert taken(chain) == "a/one"
    chain.failed(same[0], limited(9.0), 0.0)
    assert [taken(chain) for _ in range(3)] == ["b/m", "a/two", "a/three"]


def limited(seconds: float) -> Fault:
    return Fault(FaultKind.RATE_LIMITED, "429", status=429, retry_after=seconds)


def test_most_counts_every_attempt_and_no_other() -> None:
    chain = Chain(plan_of(A, B, C, most=2), 0.5)
    assert taken(chain) == "a/m"
    chain.not_admitted()
    assert taken(chain) == "b/m"
    assert chain.alternatives
    step = chain.take(0.0)
    assert step is not None
    assert not chain.alternatives, "two have started"
    chain.put_back(step)
    assert chain.alternatives
    assert taken(chain) == "c/m"
    assert taken(chain) is None


def test_a_step_that_asks_again_can_be_put_back() -> None:
    chain = Chain(plan_of(A), 0.5)
    chain.take(0.0)
    chain.failed(A, DOWN, 0.0)
    step = chain.take(0.0)
    assert step is not None
    chain.put_back(step)
    assert chain.take(0.0) == step


def test_only_a_prompt_that_was_too_long_goes_on() -> None:
    small, large = spec("a/m", context_tokens=100), spec("b/m", context_tokens=200)
    unknown = spec("c/m")
    chain = Chain(plan_of(small, unknown, large), 0.5)
    chain.take(0.0)
    assert not chain.rejected(small, Rejected(400, "content_filter", "no"))
    assert chain.rejected(small, Rejected(400, CONTEXT_LENGTH, "too long"))
    assert taken(chain) == "b/m", "a window that nobody knows is not longer"


def test_a_longer_window_that_runs_or_failed_before_may_take_it() -> None:
    small, large = spec("a/m", context_tokens=100), spec("b/m", context_tokens=200)
    too_long = Rejected(400, CONTEXT_LENGTH, "too long")
    chain = Chain(plan_of(small), 0.5)
    chain.take(0.0)
    assert chain.rejected(small, too_long, running=[large])
    assert not chain.rejected(small, too_long, running=[small])
    chain = Chain(plan_of(large, small), 0.5)
    chain.take(0.0)
    chain.failed(large, DOWN, 0.0)
    chain.take(0.0)
    assert chain.rejected(small, too_long)
    assert taken(chain) == "b/m", "once more"


def test_nobody_asks_the_same_window_again() -> None:
    small = spec("a/m", context_tokens=100)
    chain = Chain(plan_of(small, spec("b/m", context_tokens=100)), 0.5)
    chain.take(0.0)
    assert not chain.rejected(small, Rejected(400, CONTEXT_LENGTH, "too long"))


def test_who_has_no_words_for_a_request_was_not_asked() -> None:
    foreign = NotCarried("n", "no")
    chain = Chain(plan_of(A, B, most=1), 0.5)
    chain.take(0.0)
    assert chain.rejected(A, foreign)
    assert (chain.started, taken(chain)) == (0, B.model.key)
    assert not chain.rejected(B, foreign)
    assert chain.rejected(B, foreign, running=[A])


def test_time_is_shared_with_those_who_could_follow() -> None:
    quick = spec("q/m", first_token=1.0)
    chain = Chain(plan_of(A, quick, B), 0.5)
    chain.take(0.0)
    assert chain.allowance(A, 0.0, 30.0) == 15.0
    chain.take(15.0)
    assert chain.allowance(quick, 15.0, 30.0) == 16.0, "its own timer is shorter"
    chain.take(16.0)
    assert chain.allowance(B, 16.0, 30.0) == 30.0, "nobody follows"


def test_a_lone_endpoint_may_use_all_of_the_time() -> None:
    chain = Chain(plan_of(A), 0.5)
    chain.take(0.0)
    assert chain.allowance(A, 0.0, 30.0) == 30.0
    assert math.isinf(A.patience)
