"""Quantiles against sorted observations, and a window against one that never saw the expired."""

import math
import tracemalloc
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.routing.window import (
    SLICE_SECONDS,
    SLICES,
    Measured,
    Quantiles,
    Window,
    patience,
)

BUCKET = 2 ** (1 / 8) - 1  # the width of a bucket, relative to its lower end
PERCENTS = (50, 75, 90, 95, 99)
NOTHING = Measured(0, None, None, 0, None, None, 0.0)

seconds = st.floats(0.001, 3_600.0)
speeds = st.floats(0.1, 100_000.0)
times = st.floats(0.0, 1_000.0)


def values(quantiles: Quantiles | None) -> tuple[float, ...]:
    assert quantiles is not None
    return tuple(getattr(quantiles, f"p{percent}") for percent in PERCENTS)


def ranked(observed: list[float], percent: int) -> float:
    return sorted(observed)[math.ceil(percent * len(observed) / 100) - 1]


@given(st.lists(seconds, min_size=1, max_size=200))
def test_a_quantile_is_within_a_bucket_of_the_observation_of_its_rank(
    observed: list[float],
) -> None:
    window = Window()
    for one in observed:
        window.first_token(0.0, one)
        window.total(0.0, one)
    measured = window.measure(0.0)
    found = values(measured.first_token)
    for percent, value in zip(PERCENTS, found, strict=True):
        exact = ranked(observed, percent)
        assert abs(value - exact) <= BUCKET * exact
    assert measured.total == measured.first_token
    assert measured.samples == measured.waits_samples == len(observed)


@given(st.lists(speeds, min_size=1, max_size=200))
def test_the_middle_speed_is_within_a_bucket(observed: list[float]) -> None:
    window = Window()
    for one in observed:
        window.throughput(0.0, one)
    found = window.measure(0.0).throughput_p50
    exact = ranked(observed, 50)
    assert found is not None
    assert abs(found - exact) <= BUCKET * exact


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=200))
def test_quantiles_never_fall(observed: list[float]) -> None:
    window = Window()
    for one in observed:
        window.total(0.0, one)
    found = values(window.measure(0.0).total)
    assert list(found) == sorted(found)


def test_observations_spread_evenly_over_their_bucket() -> None:
    window = Window()
    for _ in range(4):
        window.total(0.0, 0.001)
    width = 0.001 * 2 ** (1 / 8) - 0.001
    total = window.measure(0.0).total
    assert total is not None
    assert (total.p50, total.p75) == (0.001 + width * 1.5 / 4, 0.001 + width * 2.5 / 4)
    assert total.p90 == total.p95 == total.p99 == 0.001 + width * 3.5 / 4


@pytest.mark.parametrize(("outside", "inside"), [(0.0, 0.001), (1e9, 3_600.0), (math.inf, 3_600.0)])
def test_what_lies_outside_counts_in_the_outermost_bucket(outside: float, inside: float) -> None:
    far, near = Window(), Window()
    far.first_token(0.0, outside)
    near.first_token(0.0, inside)
    assert far.measure(0.0) == near.measure(0.0)


@pytest.mark.parametrize(("outside", "inside"), [(0.0, 0.1), (1e9, 100_000.0)])
def test_speeds_outside_count_in_the_outermost_bucket(outside: float, inside: float) -> None:
    far, near = Window(), Window()
    far.throughput(0.0, outside)
    near.throughput(0.0, inside)
    assert far.measure(0.0) == near.measure(0.0)


def observe(window: Window, now: float, value: float) -> None:
    window.first_token(now, value)
    window.total(now, value)
    window.throughput(now, value)
    window.attempt(now, failed=value > 1.0)


@given(st.lists(st.tuples(times, seconds), max_size=50), times)
def test_a_window_is_what_its_slices_saw(observed: list[tuple[float, float]], later: float) -> None:
    observed.sort()
    now = (observed[-1][0] if observed else 0.0) + later
    whole, fresh = Window(), Window()
    for at, value in observed:
        observe(whole, at, value)
        whole.measure(at)  # looking changes nothing
        if now // SLICE_SECONDS - at // SLICE_SECONDS < SLICES:
            observe(fresh, at, value)
    assert whole.measure(now) == fresh.measure(now)


@given(st.lists(st.tuples(times, seconds), max_size=50), st.floats(300.0, 1e9))
def test_a_window_forgets_after_five_minutes(
    observed: list[tuple[float, float]], silence: float
) -> None:
    observed.sort()
    window = Window()
    for at, value in observed:
        observe(window, at, value)
    last = observed[-1][0] if observed else 0.0
    assert window.measure(last + silence) == NOTHING


@given(times, st.floats(0.0, 269.9))
def test_a_window_remembers_until_the_last_slice(at: float, since: float) -> None:
    window = Window()
    observe(window, at, 1.0)
    assert window.measure(at + since) == window.measure(at) != NOTHING


def test_a_slice_expires_as_a_whole_and_alone() -> None:
    window = Window()
    for at in (29.0, 30.0):
        window.total(at, 1.0)
    seen = [window.measure(now).samples for now in (299.9, 300.0, 329.9, 330.0)]
    assert seen == [2, 1, 1, 0]


def test_a_clock_that_stands_or_is_late_counts_in_the_running_slice() -> None:
    window = Window()
    window.total(300.0, 1.0)
    window.total(10.0, 1.0)
    assert [window.measure(now).samples for now in (599.9, 600.0)] == [2, 0]


def test_the_error_rate_is_of_attempts_with_a_verdict() -> None:
    window = Window()
    assert window.measure(0.0).error_rate == 0.0
    for failed in (True, False, False, False):
        window.attempt(0.0, failed)
    assert window.measure(0.0) == Measured(0, None, None, 0, None, None, 0.25)
    window.attempt(30.0, failed=True)
    assert window.measure(30.0).error_rate == 0.4
    assert window.measure(300.0).error_rate == 1.0


def test_three_completed_answers_are_enough() -> None:
    window = Window()
    for expected in (False, False, False, True):
        assert window.measure(0.0).sufficient is expected
        window.total(0.0, 1.0)
        window.first_token(0.0, 1.0)
    superseded = Window()
    for _ in range(3):
        superseded.first_token(0.0, 1.0)
    assert not superseded.measure(0.0).sufficient


def test_a_window_that_saw_nothing_is_smaller_still() -> None:
    Window()
    tracemalloc.start()
    try:
        window = Window()
        window.measure(10_000.0)
        new, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert new < 8_192


def test_a_window_is_small_and_does_not_grow() -> None:
    tracemalloc.start()
    try:
        window = Window()
        observe(window, 10_000.0, 1.0)
        new, _ = tracemalloc.get_traced_memory()
        for at in range(3_000):
            observe(window, 10_000.0 + at / 10, 1.0 + at)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert new < 32_768
    assert used - new < 256  # numbers that Python holds, and not a byte for each observation


@pytest.mark.parametrize(
    ("p90", "p95", "expected"),
    [
        (1.0, 1.4, 1.4),
        (1.0, 1.5, 1.5),
        (1.0, 1.6, 1.5),
        (1.0, 10.0, 1.5),  # the tail begins between the two
        (10.0, 10.1, 10.1),  # and here before both
    ],
)
def test_patience(p90: float, p95: float, expected: float) -> None:
    assert patience(Quantiles(0.5, 0.7, p90, p95, 20.0)) == expected


@given(st.floats(0.0, 1.1))
def test_patience_of_a_log_normal_distribution_is_its_p95(sigma: float) -> None:
    normal = NormalDist()
    drawn = Quantiles(*(math.exp(sigma * normal.inv_cdf(percent / 100)) for percent in PERCENTS))
    assert patience(drawn) == drawn.p95


def test_who_waited_in_vain_is_no_first_token_time() -> None:
    """But patience is taken from all waits, or it would shrink with every hedge."""
    window = Window()
    window.first_token(0.0, 1.0)
    window.waited(0.0, 8.0)
    measured = window.measure(0.0)
    assert measured.first_token is not None
    assert measured.waits is not None
    assert measured.first_token.p99 == pytest.approx(1.0, rel=0.1)
    assert measured.waits.p99 == pytest.approx(8.0, rel=0.1)
    assert measured.waits_samples == 2
    assert measured.samples == 0


# --- several processes


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.0, 1_000.0), st.booleans()), max_size=60))
def test_what_several_have_seen_is_as_if_one_had(seen: list[tuple[int, float, bool]]) -> None:
    together, parts = Window(), [Window(), Window(), Window()]
    for number, (part, value, failed) in enumerate(seen):
        for window in (together, parts[part]):
            now = 10.0 * number
            window.first_token(now, value)
            window.waited(now, value / 2)
            window.total(now, 2 * value)
            window.throughput(now, value)
            window.attempt(now, failed)
    now = 10.0 * len(seen)
    shown = [part.shown(now) for part in parts]
    for number, part in enumerate(parts):
        others = [one for at, one in enumerate(shown) if at != number]
        assert part.measure(now, others) == together.measure(now)


def test_what_has_expired_is_not_shown() -> None:
    window = Window()
    window.total(1.0, 2.0)
    window.attempt(1.0, failed=True)
    assert window.shown(269.0).attempts == 1
    assert window.shown(301.0) == Window().shown(301.0)
