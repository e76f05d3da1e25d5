"""A sum of integers is a sum of their lanes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.routing.lanes import ZERO, LaneTable

cell = st.integers(0, 2 * ZERO - 1)


def packed(rows):
    return b"".join(struct.pack(f"<{len(row)}H", *row) for row in rows)


@given(st.lists(st.tuples(cell, cell, cell), min_size=1, max_size=8), st.data())
def test_the_sum_is_that_of_the_columns(rows, data):
    table = LaneTable(packed(rows), 3)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=20))
    expected = tuple(sum(rows[one][column] for one in chosen) for column in range(3))
    assert table.total(chosen) == expected


def test_no_lane_runs_over_into_the_next():
    table = LaneTable(packed([(2 * ZERO - 1, 0)]), 2)
    assert table.total([0] * 2_004) == ((2 * ZERO - 1) * 2_004, 0)


def test_a_row_that_was_asked_for_before_is_the_same_row():
    table = LaneTable(packed([(1, 2), (3, 4), (5, 6)]), 2)
    assert table.total([1]) == (3, 4)
    assert table.total([0, 1]) == (4, 6)
    assert table.total([0, 1, 2, 2]) == (14, 18)
    assert table.total([2, 1]) == (8, 10)


def test_one_new_row_shows_among_the_largest_sums():
    top = 2 * ZERO - 1
    table = LaneTable(packed([(top, top), (1, 1)]), 2)
    table.total([0])
    assert table.total([*[0] * 2_003, 1]) == (top * 2_003 + 1,) * 2


def test_a_view_of_bytes_will_do():
    table = LaneTable(memoryview(b"head" + packed([(1, 2), (3, 4)]))[4:], 2)
    assert table.total([0, 1]) == (4, 6)


def test_its_size():
    table = LaneTable(packed([(1, 2), (3, 4)]), 2)
    assert len(table) == 2
    assert repr(table) == "<LaneTable 2 rows of 2>"
    assert table.total([]) == (0, 0)


@pytest.mark.parametrize(("data", "width"), [(b"123", 1), (b"12", 2), (b"12", 0)])
def test_a_part_of_a_row_is_refused(data, width):
    with pytest.raises(ValueError, match="no whole rows"):
        LaneTable(data, width)
