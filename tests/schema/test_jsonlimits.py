"""Every limit at the limit and one past it, inside strings and out, and in linear time."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.errors import Rejected
from kproxy.schema.jsonlimits import JsonLimits, check

LIMITS = JsonLimits()
SMALL = JsonLimits(depth=3, digits=6, members=4, values=20)


def refused(body: bytes, limits: JsonLimits = LIMITS) -> str:
    with pytest.raises(Rejected) as caught:
        check(body, limits)
    assert caught.value.status == 400
    return caught.value.message


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + closing * depth


@pytest.mark.parametrize("limits", [LIMITS, SMALL], ids=["default", "small"])
class TestAtTheLimitAndOnePast:
    def test_depth(self, limits: JsonLimits) -> None:
        check(nested(limits.depth), limits)
        assert "deeper" in refused(nested(limits.depth + 1), limits)

    def test_depth_of_mixed_brackets(self, limits: JsonLimits) -> None:
        check(b'{"a":' + nested(limits.depth - 1) + b"}", limits)
        assert "deeper" in refused(b'{"a":' + nested(limits.depth) + b"}", limits)

    @pytest.mark.parametrize("shape", ["{}", "-{}", "0.{}", "1e-{}"])
    def test_digits(self, limits: JsonLimits, shape: str) -> None:
        room = limits.digits - shape.count("0") - shape.count("1")
        digits = "0" * (room - 1) + "1" if "e" in shape else "7" * room
        check(b"[" + shape.format(digits).encode() + b"]", limits)
        assert "digits" in refused(b"[" + shape.format(digits + "1").encode() + b"]", limits)

    def test_members(self, limits: JsonLimits) -> None:
        def body(count: int) -> bytes:
            return json.dumps({str(index): 0 for index in range(count)}).encode()

        check(body(limits.members), limits)
        assert "members" in refused(body(limits.members + 1), limits)

    def test_values(self, limits: JsonLimits) -> None:
        check(b"[" + b",".join([b"0"] * limits.values) + b"]", limits)
        assert "values" in refused(b"[" + b",".join([b"0"] * (limits.values + 1)) + b"]", limits)

    def test_members_are_counted_for_each_object(self, limits: JsonLimits) -> None:
        one = json.dumps({str(index): [] for index in range(limits.members)}).encode()
        check(b"[" + one + b"]", limits)


def test_what_stands_in_strings_does_not_count() -> None:
    text = '[{"":1,' * 50_000 + "9" * 400 + "1e999" + "\\\\" * 99 + '\\"' * 99
    check(json.dumps({"a": text, text: 1}).encode(), LIMITS)


def test_digits_are_those_of_one_number() -> None:
    check(json.dumps([10**21] * 500).encode(), LIMITS)


@pytest.mark.parametrize(
    "number", ["1e309", "1E+309", "-2e308", "1e0999", "9.9e99999", "123456e304"]
)
def test_a_number_beyond_the_doubles(number: str) -> None:
    assert "too large" in refused(b'{"a":' + number.encode() + b"}")


@pytest.mark.parametrize("number", ["1e308", "1e-999", "0e999", "1.7e+308", "5e-324", "1E100"])
def test_a_number_within_the_doubles(number: str) -> None:
    check(b'{"a":' + number.encode() + b"}", LIMITS)


def test_a_number_beyond_the_doubles_without_exponent() -> None:
    check(b"[" + b"9" * 308 + b"]", JsonLimits(digits=400))
    assert "too large" in refused(b"[" + b"9" * 309 + b"]", JsonLimits(digits=400))


MEGABYTE = 1 << 20
HOSTILE = {
    "open": b"[" * MEGABYTE,
    "pairs": b"[]" * MEGABYTE,
    "close": b"]" * MEGABYTE,
    "quotes": b'"' * MEGABYTE,
    "empty strings": b"[" + b'"",' * MEGABYTE + b"0]",
    "one open string": b'"' + b'\\"' * MEGABYTE,
    "backslashes": b'"' + b"\\" * (MEGABYTE + 1),
    "colons": b":" * MEGABYTE,
    "colons and closings": b'"":' * 20_000 + b"]}" * MEGABYTE,
    "digits": b"9" * MEGABYTE,
    "numbers": b"1e100 " * MEGABYTE,
    "exponents": b"1e" * MEGABYTE,
    "objects": b'{"a":' * (MEGABYTE // 5),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.timeout(60)
def test_hostile_bodies_are_decided_in_linear_time(body: bytes) -> None:
    """Linear work on a megabyte takes a fraction of a second; quadratic work takes hours."""
    try:
        check(body, LIMITS)
    except Rejected as rejected:
        assert rejected.status == 400  # noqa: PT017


def test_what_is_no_number_is_left_to_the_parser() -> None:
    check(b"[1e1e1000, 1--1e000]", LIMITS)


def test_long_text_of_quotes_passes() -> None:
    check(json.dumps({"a": '"' * 300_000}).encode(), LIMITS)


def shape_of(value: object) -> tuple[int, int, int]:
    """Depth, most members of one object, and commas plus brackets: counted the slow way."""
    if not isinstance(value, dict | list):
        return 0, 0, 0
    inner = [shape_of(one) for one in (value.values() if isinstance(value, dict) else value)]
    members = len(value) if isinstance(value, dict) else 0
    return (
        1 + max((one[0] for one in inner), default=0),
        max([members, *(one[1] for one in inner)]),
        1 + max(0, len(value) - 1) + sum(one[2] for one in inner),
    )


@settings(deadline=None)
@given(
    st.recursive(
        st.integers(-999, 999) | st.text(alphabet='[]{}:,"\\1e', max_size=9),
        lambda inner: (
            st.lists(inner, max_size=6)
            | st.dictionaries(st.text(alphabet='{:"a\\', max_size=4), inner, max_size=6)
        ),
        max_leaves=30,
    )
)
def test_agrees_with_counting_the_parsed_value(value: object) -> None:
    depth, members, values = shape_of(value)
    fits = depth <= SMALL.depth and members <= SMALL.members and values <= SMALL.values
    body = json.dumps(value).encode()
    if fits:
        check(body, SMALL)
    else:
        refused(body, SMALL)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_nothing_but_rejected(body: bytes) -> None:
    try:
        check(body, SMALL)
    except Rejected as rejected:
        assert rejected.status == 400  # noqa: PT017
