"""Compressed bodies: what comes out, and that it is never more than was allowed."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.wire.coding import GRACE, PIECE, RATIO, CodingError, Inflater

MILLION = 1_000_000


def inflated(data: bytes, limit: int = 10 * MILLION, step: int = 65_536) -> bytes:
    inflater = Inflater(b"gzip", limit)
    whole = b""
    for start in range(0, len(data), step):
        for piece in inflater.feed(data[start : start + step]):
            assert 0 < len(piece) <= PIECE
            whole += piece
    inflater.end()
    assert inflater.given == len(whole)
    return whole


@given(st.binary(max_size=3_000), st.integers(1, 50))
def test_it_comes_out_as_it_was_however_it_is_cut(data, step):
    assert inflated(gzip.compress(data), step=step) == data


def test_much_comes_out_of_little_in_pieces():
    text = b"".join(b"%d " % number for number in range(300_000))
    assert inflated(gzip.compress(text)) == text


def test_at_the_limit_and_one_more():
    assert len(inflated(gzip.compress(b"a" * 1_000), limit=1_000)) == 1_000
    with pytest.raises(CodingError, match="over the limit"):
        inflated(gzip.compress(b"a" * 1_001), limit=1_000)


def test_a_bomb_is_stopped_at_its_ratio_and_soon():
    bomb = gzip.compress(b"\0" * 50 * MILLION)
    inflater = Inflater(b"gzip", 100 * MILLION)
    come = (
        piece for at in range(0, len(bomb), 1_000) for piece in inflater.feed(bomb[at:][:1_000])
    )
    with pytest.raises(CodingError, match="beyond reason"):
        sum(map(len, come))
    assert inflater.given <= GRACE + PIECE + RATIO * 1_000


def test_what_is_small_may_be_dense():
    assert inflated(gzip.compress(b"\0" * (GRACE - 1))) == b"\0" * (GRACE - 1)


@pytest.mark.parametrize("coding", [b"br", b"deflate", b"gzip, gzip", b"", b"zstd"])
def test_another_coding_is_refused(coding):
    with pytest.raises(CodingError, match="not asked for"):
        Inflater(coding, 100)


@pytest.mark.parametrize("coding", [b"gzip", b"GZIP", b"x-gzip"])
def test_gzip_by_its_names(coding):
    inflater = Inflater(coding, 100)
    assert b"".join(inflater.feed(gzip.compress(b"x"))) == b"x"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"not gzip at all", "broken"),
        (zlib.compress(b"x"), "broken"),
        (gzip.compress(b"x")[:-1], "cut"),
        (b"", "cut"),
        (gzip.compress(b"x") + b"y", "behind the end"),
        (gzip.compress(b"x") + gzip.compress(b"y"), "behind the end"),
    ],
)
def test_what_is_wrong_with_it_is_said(data, what):
    with pytest.raises(CodingError, match=what):
        inflated(data)


def test_its_state_shows():
    assert repr(Inflater(b"gzip", 1)) == "<Inflater 0 bytes to 0>"
