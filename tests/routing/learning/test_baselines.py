"""What a router must beat."""

import numpy as np
import pytest

from kproxy.routing.learning.baselines import (
    by_label,
    by_length,
    length_features,
    oracle,
    singles,
)

SCORE = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
COST = np.array([[2.0, 1.0]] * 4)
ALL = np.ones(4, bool)


def test_singles_are_means():
    assert singles(SCORE, COST) == [(2.0, 0.5), (1.0, 0.75)]


def test_the_oracle_is_the_truth():
    assert oracle(SCORE) is SCORE


def test_a_label_is_drawn_to_the_mean():
    found = by_label(np.array([0, 0, 1, 1]), SCORE, ALL)
    assert found[0, 0] == pytest.approx((2 + 10 * 0.5) / 12)
    assert np.array_equal(found[2], found[3])


def test_an_unknown_label_is_the_mean_of_the_others():
    found = by_label(np.array([0, 0, 1, 1]), SCORE, np.array([True, True, False, False]))
    assert found[3].tolist() == [1.0, 0.5]


def test_length_finds_what_goes_with_length():
    lengths = np.array([10.0, 20.0, 4_000.0, 8_000.0])
    found = by_length(length_features(lengths), SCORE, ALL)
    assert found[0, 0] > 0.8 > 0.2 > found[3, 0]
