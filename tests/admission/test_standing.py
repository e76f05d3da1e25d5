"""The fields are OpenAI's, and no duration is told shorter than it is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.admission.standing import Standing, limit_fields, retry_fields, spell_duration

_SPELLED = re.compile(rb"(?:(\d+)h)?(?:(\d+)m)?([\d.]+)s|(\d+)ms")


@pytest.mark.parametrize(
    ("ms", "spelled"),
    [
        (0, b"0s"),
        (20, b"20ms"),
        (999, b"999ms"),
        (1_000, b"1s"),
        (1_200, b"1.2s"),
        (8_640, b"8.64s"),
        (59_999, b"59.999s"),
        (60_000, b"1m0s"),
        (86_400, b"1m26.4s"),
        (360_000, b"6m0s"),
        (3_600_000, b"1h0m0s"),
        (2_678_399_999, b"743h59m59.999s"),
    ],
)
def test_durations_are_spelled_as_openai_does(ms, spelled):
    assert spell_duration(ms * 1_000_000) == spelled


@given(st.integers(0, 10**16))
def test_a_duration_is_rounded_up_to_the_millisecond(ns):
    hours, minutes, seconds, ms = _SPELLED.fullmatch(spell_duration(ns)).groups()
    whole, _, fraction = (seconds or b"0").partition(b".")
    told = int(hours or 0) * 3_600_000 + int(minutes or 0) * 60_000 + int(ms or 0)
    told += int(whole) * 1_000 + int(fraction.ljust(3, b"0"))
    assert 0 <= told * 1_000_000 - ns < 1_000_000


@given(st.integers(0, 10**16))
def test_a_wait_is_never_told_shorter_than_it_is(ns):
    fields = dict(retry_fields(ns))
    seconds, ms = int(fields[b"retry-after"]), int(fields[b"retry-after-ms"])
    assert 0 <= seconds * 10**9 - ns < 10**9 or (seconds == 1 and ns == 0)
    assert 0 <= ms * 10**6 - ns < 10**6 or (ms == 1 and ns == 0)


def test_the_six_fields():
    requests, tokens = Standing(60, 4, 1_000_000_000), Standing(100_000, 99_000, 360_000_000_000)
    assert limit_fields(requests, tokens) == (
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"4"),
        (b"x-ratelimit-reset-requests", b"1s"),
        (b"x-ratelimit-limit-tokens", b"100000"),
        (b"x-ratelimit-remaining-tokens", b"99000"),
        (b"x-ratelimit-reset-tokens", b"6m0s"),
    )


def test_what_has_no_limit_has_no_fields():
    one = Standing(60, 4, 0)
    assert limit_fields(None, None) == ()
    assert {name.rpartition(b"-")[2] for name, _ in limit_fields(one, None)} == {b"requests"}
    assert {name.rpartition(b"-")[2] for name, _ in limit_fields(None, one)} == {b"tokens"}
