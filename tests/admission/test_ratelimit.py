"""GCRA against a bucket of tokens in exact arithmetic, over ten minutes and at every moment."""

import itertools
import random  # noqa: TID251 - the arrivals are seeded, each test has its own

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.admission.ratelimit import decide, rate_exceeded, rate_params
from tests.fakes.bucket import MINUTE, Bucket

TEN_MINUTES = 10 * MINUTE
RATES = [(60, 5), (600, 50), (3_000, 250)]


def arrivals(mean, seed, start=10**15):
    """Times up to ten minutes after `start`, in bursts and pauses, on average `mean` apart."""
    chance = random.Random(seed)
    now = start
    while now < start + TEN_MINUTES:
        yield now
        calm = chance.random() < 0.1
        now += int(chance.expovariate(1 / mean)) * (20 if calm else 1) // 3


@pytest.mark.parametrize("load", [0.5, 1, 1.5, 8])
@pytest.mark.parametrize(("per_minute", "burst"), RATES)
def test_it_accepts_what_the_exact_bucket_does_over_ten_minutes(per_minute, burst, load):
    rate = rate_params(per_minute, burst)
    tat, bucket = 0, Bucket(per_minute, burst)
    accepted = expected = 0
    for now in arrivals(MINUTE / per_minute / load, seed=per_minute * load):
        verdict = decide(tat, now, rate)
        tat = verdict.tat_ns
        accepted += verdict.allowed
        expected += bucket.take(now)
        assert abs(accepted - expected) <= 1
    assert accepted > per_minute * min(load, 1) * 5


@given(
    st.integers(1, 70_000),
    st.integers(1, 300),
    st.lists(st.integers(0, 3 * MINUTE), min_size=1, max_size=200),
)
def test_any_rate_stays_within_one_of_the_exact_bucket(per_minute, burst, gaps):
    rate = rate_params(per_minute, burst)
    tat, bucket = 0, Bucket(per_minute, burst)
    now, ahead = 0, 0
    for gap in gaps:
        now += gap
        verdict = decide(tat, now, rate)
        tat = verdict.tat_ns
        ahead += bucket.take(now) - verdict.allowed
        assert ahead in (0, 1)  # the interval is rounded up: strict, never generous


@pytest.mark.parametrize(("per_minute", "burst"), RATES)
def test_the_burst_at_once_then_one_per_interval(per_minute, burst):
    rate = rate_params(per_minute, burst)
    tat, now, left = 0, 5 * MINUTE, []
    for _ in range(burst):
        verdict = decide(tat, now, rate)
        tat = verdict.tat_ns
        left.append(verdict.standing.remaining)
        assert verdict.allowed
        assert verdict.retry_after_ns == 0
    assert left == list(range(burst - 1, -1, -1))
    refused = decide(tat, now, rate)
    assert (refused.allowed, refused.tat_ns) == (False, tat)
    assert refused.retry_after_ns == rate.interval_ns == MINUTE // per_minute
    assert refused.standing.remaining == 0
    assert refused.standing.limit == per_minute
    assert refused.standing.reset_ns == burst * rate.interval_ns


@given(st.integers(0, 10**16), st.integers(0, 10**10), st.integers(1, 10**7), st.integers(1, 1_000))
def test_a_wait_is_exact_and_what_remains_can_be_had(now, ahead, per_minute, burst):
    rate = rate_params(per_minute, burst)
    verdict = decide(now + min(ahead, burst * rate.interval_ns), now, rate)
    wait = verdict.retry_after_ns
    assert verdict.allowed == (wait == 0)
    if wait:
        assert decide(verdict.tat_ns, now + wait, rate).allowed
        assert not decide(verdict.tat_ns, now + wait - 1, rate).allowed
    tat = verdict.tat_ns
    for _ in range(verdict.standing.remaining):
        following = decide(tat, now, rate)
        assert following.allowed
        tat = following.tat_ns
    assert not decide(tat, now, rate).allowed
    full = decide(verdict.tat_ns, now + verdict.standing.reset_ns, rate)
    assert full.standing.remaining == burst - 1


def test_a_refusal_costs_nothing():
    rate = rate_params(60, 1)
    tat = decide(0, 10**9, rate).tat_ns
    for now in itertools.chain([10**9] * 50, [2 * 10**9 - 1]):
        assert decide(tat, now, rate).tat_ns == tat
    assert decide(tat, 2 * 10**9, rate).allowed


def test_the_429_says_when():
    rate = rate_params(600, 1)
    tat = decide(0, 10**9, rate).tat_ns
    rejected = rate_exceeded(decide(tat, 10**9 + 1, rate))
    assert (rejected.status, rejected.code) == (429, "rate_limit_exceeded")
    assert "600 requests per minute" in rejected.message
    assert "in 100 ms" in rejected.message
    assert dict(rejected.headers) == {
        b"retry-after": b"1",
        b"retry-after-ms": b"100",
        b"x-ratelimit-limit-requests": b"600",
        b"x-ratelimit-remaining-requests": b"0",
        b"x-ratelimit-reset-requests": b"100ms",
    }


@pytest.mark.parametrize(("per_minute", "burst"), [(0, 1), (1, 0), (-60, 5)])
def test_a_rate_below_one_is_refused(per_minute, burst):
    with pytest.raises(ValueError, match="at least 1"):
        rate_params(per_minute, burst)
