"""The same state gives the same numbers, and they are spread as they say."""

import statistics

from hypothesis import given
from hypothesis import strategies as st

from kproxy.sim.chance import Chance, mix


def test_known_values_of_splitmix64():
    # The reference implementation's first outputs for the seed 1234567.
    gamma = 0x9E3779B97F4A7C15
    assert [mix(1234567 + gamma * step) for step in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@given(st.integers(), st.integers(min_value=1, max_value=10**6))
def test_below_stays_below_and_repeats(state, limit):
    first, second = Chance(state), Chance(state)
    numbers = [first.below(limit) for _ in range(5)]
    assert numbers == [second.below(limit) for _ in range(5)]
    assert all(0 <= number < limit for number in numbers)


def test_unit_is_open_and_even():
    chance = Chance(7)
    values = [chance.unit() for _ in range(4000)]
    assert 0 < min(values) < 0.01
    assert 0.99 < max(values) < 1
    assert 0.48 < statistics.fmean(values) < 0.52


def test_normal_has_mean_0_and_deviation_1():
    chance = Chance(7)
    values = [chance.normal() for _ in range(4000)]
    assert -0.05 < statistics.fmean(values) < 0.05
    assert 0.95 < statistics.stdev(values) < 1.05
