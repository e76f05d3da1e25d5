"""Frames: any cut gives the same messages, and nothing over the bound is kept."""

import io
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.plugins.frames import FRAME_LIMIT, FrameError, FrameReader, clean, pack, read_frame

MESSAGES = st.lists(st.dictionaries(st.text(), st.integers() | st.text()), max_size=4)


def cuts(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(MESSAGES, st.lists(st.integers(0, 9), max_size=30))
def test_any_cut_gives_the_same_messages(messages: list[dict[str, Any]], sizes: list[int]) -> None:
    data = b"".join(map(pack, messages))
    reader = FrameReader()
    bodies = [body for piece in cuts(data, sizes) for body in reader.receive(piece)]
    assert [json.loads(body) for body in bodies] == messages


@given(MESSAGES)
def test_a_blocking_reader_reads_the_same(messages: list[dict[str, Any]]) -> None:
    source = io.BytesIO(b"".join(map(pack, messages)))
    for message in messages:
        assert read_frame(lambda n: source.read(min(n, 3))) == message
    assert read_frame(source.read) is None


def test_a_length_over_the_bound_is_refused_before_its_body() -> None:
    head = struct.pack(">I", FRAME_LIMIT + 1)
    with pytest.raises(FrameError, match="over"):
        FrameReader().receive(head)
    with pytest.raises(FrameError, match="over"):
        read_frame(io.BytesIO(head).read)


def test_a_message_over_the_bound_is_not_packed() -> None:
    assert pack({"a": "x" * (FRAME_LIMIT - 8)})
    with pytest.raises(FrameError, match="over"):
        pack({"a": "x" * (FRAME_LIMIT - 7)})


def test_the_limit_of_a_reader_is_exact() -> None:
    reader = FrameReader(limit=2)
    assert reader.receive(pack({})) == [b"{}"]
    with pytest.raises(FrameError):
        reader.receive(b"\0\0\0\x03")


@pytest.mark.parametrize("body", [b"[]", b"1", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(struct.pack(">I", len(body)) + body).read)


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0\x02{"])
def test_an_end_inside_a_frame_is_an_error(data: bytes) -> None:
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(data).read)


def test_lone_surrogates_are_replaced() -> None:
    assert clean("a\ud800b") == "a?b"
