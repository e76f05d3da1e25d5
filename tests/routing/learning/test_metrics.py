"""The measures on cases that can be worked out on paper."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.routing.learning.metrics import aiq, calibration_error, hull, saved, sweep

LINE = [(0.0, 0.0), (1.0, 1.0)]


def test_the_hull_leaves_out_what_is_below():
    assert hull([(1.0, 1.0), (0.5, 0.2), (0.0, 0.0)]) == LINE
    assert hull([(0.0, 0.5), (1.0, 0.4)]) == [(0.0, 0.5)]
    assert hull([(0.0, 0.0), (0.5, 0.8), (1.0, 1.0)]) == [(0.0, 0.0), (0.5, 0.8), (1.0, 1.0)]


point = st.tuples(st.floats(0, 1), st.floats(0, 1))


@given(st.lists(point, min_size=1, max_size=20))
def test_no_point_is_above_the_hull(points):
    corners = hull(points)
    costs, qualities = zip(*corners, strict=True)
    assert all(np.interp(cost, costs, qualities) >= quality - 1e-9 for cost, quality in points)
    assert list(costs) == sorted(costs)
    assert list(qualities) == sorted(qualities)


def test_aiq_is_the_mean_height():
    assert aiq(LINE, 0.0, 1.0) == pytest.approx(0.5)
    assert aiq([*LINE, (0.0, 0.5)], 0.0, 1.0) == pytest.approx(0.75)
    assert aiq([(0.2, 0.6)], 0.0, 1.0) == pytest.approx(0.6)


def test_saved_is_read_off_the_hull():
    assert saved(LINE, 0.5, (1.0, 1.0)) == pytest.approx(0.5)
    assert saved([(0.3, 1.0)], 0.5, (1.0, 1.0)) == pytest.approx(0.7)
    assert saved([(0.5, 0.9)], 1.0, (1.0, 1.0)) is None


def test_calibration_error():
    truth = np.array([1.0, 1.0, 0.0, 0.0])
    assert calibration_error(np.full(4, 0.5), truth) == 0
    assert calibration_error(np.full(4, 0.75), truth) == pytest.approx(0.25)
    assert calibration_error(truth, truth) == 0
    assert calibration_error(1 - truth, truth) == pytest.approx(1)


def test_a_sweep_goes_from_the_best_to_the_cheapest():
    score = np.array([[1.0, 0.0], [1.0, 1.0]])
    cost = np.array([[10.0, 1.0], [10.0, 1.0]])
    points = sweep(score, cost, score, cost)
    assert max(points) == (10.0, 1.0)
    assert min(points) == (1.0, 0.5)
    assert (5.5, 1.0) in points
