"""The month is the calendar's, in UTC, and ends at its last nanosecond."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.store.month import month_at


def unix(*when):
    return datetime(*when, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("when", "start", "end"),
    [
        ((2026, 11, 24, 18, 36), (2026, 11, 1), (2026, 12, 1)),
        ((2026, 12, 31, 23, 59, 59, 999_999), (2026, 12, 1), (2027, 1, 1)),
        ((2027, 1, 1), (2027, 1, 1), (2027, 2, 1)),
        ((2028, 2, 29, 12), (2028, 2, 1), (2028, 3, 1)),
    ],
)
def test_from_its_first_second_to_before_the_next(when, start, end):
    month = month_at(unix(*when))
    assert (month.start, month.end) == (unix(*start), unix(*end))
    assert month.number == start[0] * 12 + start[1] - 1


@given(st.integers(0, 2**32))
def test_months_follow_each_other_without_a_gap(now):
    month = month_at(now)
    assert month.start <= now < month.end
    assert month_at(month.start) == month
    following = month_at(month.end)
    assert (following.number, following.start) == (month.number + 1, month.end)
