"""The Date field: the right spelling of any second, written once for each."""

from email.utils import formatdate

from kproxy.downstream.date import DateField, no_date


def test_the_example_of_the_rfc() -> None:
    date = DateField(lambda: 784_111_777.9)
    assert date() == [(b"date", b"Sun, 06 Nov 1994 08:49:37 GMT")]  # RFC 9110 section 5.6.7


def test_every_day_and_month_is_spelled_as_the_library_does() -> None:
    for second in range(0, 4_102_444_800, 86_400 * 29 + 3_607):  # to the year 2100
        expected = formatdate(second, usegmt=True).encode()
        assert DateField(float(second).__float__)() == [(b"date", expected)]


def test_the_field_is_written_once_a_second() -> None:
    now = 10.0
    date = DateField(lambda: now)
    first = date()
    assert first == [(b"date", b"Thu, 01 Jan 1970 00:00:10 GMT")]
    now = 10.999
    assert date() is first
    now = 11.0
    assert date() == [(b"date", b"Thu, 01 Jan 1970 00:00:11 GMT")]


def test_a_clock_that_is_set_back_is_followed() -> None:
    now = 11.0
    date = DateField(lambda: now)
    date()
    now = 1.0
    assert date() == [(b"date", b"Thu, 01 Jan 1970 00:00:01 GMT")]


def test_without_a_clock_there_is_no_field() -> None:
    assert no_date() == []
