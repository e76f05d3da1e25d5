"""Field lines to the letter of RFC 9112."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kproxy.wire.events import ProtocolError
from kproxy.wire.fields import (
    check_sizes,
    check_unfinished,
    combine,
    keeps_alive,
    read_fields,
    split_lines,
)
from kproxy.wire.limits import H1Limits

LIMITS = H1Limits()
CONTROLS = [byte for byte in range(256) if byte == 0x7F or (byte < 0x20 and byte not in b"\t\r\n")]


def read(line: bytes) -> list[tuple[bytes, bytes]]:
    return read_fields([line], LIMITS)[0]


def refused(status: int, call, *arguments) -> None:
    with pytest.raises(ProtocolError) as caught:
        call(*arguments)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"Host: a", (b"host", b"a")),
        (b"host:a", (b"host", b"a")),
        (b"HOST:   a \t ", (b"host", b"a")),
        (b"X-Odd!#$%&'*+-.^_`|~9: 1", (b"x-odd!#$%&'*+-.^_`|~9", b"1")),
        (b"x: a: b", (b"x", b"a: b")),
        (b"x:", (b"x", b"")),
        (b"x: \t ", (b"x", b"")),
        (b"x: a\tb  c", (b"x", b"a\tb  c")),
        (b"x: \x80\xff\xa0\x85", (b"x", b"\x80\xff\xa0\x85")),
    ],
)
def test_a_field_line(line, field):
    assert read(line) == [field]


@pytest.mark.parametrize(
    "line",
    [
        b"", b"Host", b": a", b"Host : a", b"Host\t: a", b" Host: a", b"\tfolded", b" folded: x",
        b"a b: c", b"(a): b", b"a\x80: b", b"a/b: c", b"a@b: c", b'"a": b', b"{a}: b",
    ],
)  # fmt: skip
def test_what_is_no_field_line(line):
    refused(400, read, line)


def test_order_and_repetition_stay():
    lines = [b"A: 1", b"b: 2", b"a: 3"]
    assert read_fields(lines, LIMITS) == ([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")], None)
    assert read_fields(lines[:2], LIMITS) == (
        [(b"a", b"1"), (b"b", b"2")],
        {b"a": b"1", b"b": b"2"},
    )


def test_the_count_at_the_limit_and_one_past_it():
    lines = [b"a%d: 1" % number for number in range(100)]
    assert len(read_fields(lines, LIMITS)[0]) == 100
    refused(431, read_fields, [*lines, b"b: 1"], LIMITS)


def test_sizes_at_the_limit_and_one_past_it():
    limits = H1Limits(field=10, fields=36)
    check_sizes([b"a" * 10, b"b" * 10, b"c" * 10], limits)
    refused(431, check_sizes, [b"a" * 11], limits)
    refused(431, check_sizes, [b"a" * 10, b"b" * 10, b"c" * 9, b""], limits)


def test_lines():
    assert split_lines(b"") == []
    assert split_lines(b"a\r\nb\t\x80\r\n\r\n") == [b"a", b"b\t\x80", b""]


@pytest.mark.parametrize(
    "block",
    [
        b"a", b"a\n", b"a\r", b"a\r\nb", b"a\nb\r\n", b"a\rb\r\n", b"a\n\rb\r\n", b"a\r\r\n",
        b"a\n\r\n", b"a\r\n\n", b"\ra\n\r\n", b"a\rb\n", b"\n\r", b"a\nb\x00\r\n",
        b"a\x00\rb\r\n", b"a\rb\nc\x00\r\n", b"a\r\x00\n", b"a\rb\nc\r\n",
        *(b"a%cb\r\n" % byte for byte in CONTROLS),
    ],
)  # fmt: skip
def test_lines_end_with_crlf_and_hold_no_control_byte(block):
    refused(400, split_lines, block)


@pytest.mark.parametrize(
    ("data", "start"),
    [(b"GET", 0), (b"a\r\nb: c", 0), (b"a\r", 0), (b"a\r\n", 2), (b"a\r\n", 0), (b"a\r\nb\r", 3)],
)
def test_unfinished_but_fine(data, start):
    check_unfinished(data, start)
    check_unfinished(bytearray(data), start)


@pytest.mark.parametrize(
    ("data", "start"),
    [
        (b"\n", 0), (b"a\n", 0), (b"a\n", 1), (b"a\rb", 0), (b"a\r\r", 0), (b"a\r\n\n", 3),
        (b"\x16\x03\x01", 0), (b"a\x00", 1), (b"\ra\n", 0),
    ],
)  # fmt: skip
def test_unfinished_and_wrong_for_ever(data, start):
    refused(400, check_unfinished, data, start)


awkward = st.lists(
    st.sampled_from([b"\r\n", b"\r\n", b"\r", b"\n", b"a", b"\x00", b"\t", b"\x80", b"\x7f"]),
    max_size=10,
).map(b"".join)
IN_LINE = rb"[\t -~\x80-\xff]*"


@settings(max_examples=500, deadline=None)
@given(awkward)
@example(b"a\nb\x00\r\n")
def test_lines_are_those_of_the_grammar(block):
    if re.fullmatch(rb"(?:" + IN_LINE + rb"\r\n)*", block):
        assert split_lines(block) == block.split(b"\r\n")[:-1]
    else:
        refused(400, split_lines, block)


@settings(max_examples=500, deadline=None)
@given(awkward)
def test_unfinished_is_refused_when_no_ending_helps(block):
    if re.fullmatch(rb"(?:" + IN_LINE + rb"\r\n)*" + IN_LINE + rb"\r?", block):
        for start in range(len(block) + 1):
            check_unfinished(block, start)
    else:
        refused(400, check_unfinished, block, 0)


def test_repeated_fields_are_one_list():
    assert combine([(b"a", b"1"), (b"b", b""), (b"a", b"2"), (b"b", b"3")]) == {
        b"a": b"1, 2",
        b"b": b", 3",
    }


@pytest.mark.parametrize(
    ("connection", "http_10", "keeps"),
    [
        (None, False, True),
        (None, True, False),
        (b"close", False, False),
        (b"Close", False, False),
        (b"keep-alive", False, True),
        (b"keep-alive", True, True),
        (b"Keep-Alive", True, True),
        (b"upgrade", True, False),
        (b"keep-alive, close", True, False),
        (b"te ,\tCLOSE", False, False),
        (b"closed", False, True),
        (b"", False, True),
    ],
)
def test_keep_alive(connection, http_10, keeps):
    assert keeps_alive(connection, http_10=http_10) is keeps
