"""Event streams as the WHATWG defines them, cut anywhere."""

from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kproxy.wire.events import ProtocolError
from kproxy.wire.sse import Event, EventReader
from tests.fakes.cuts import cut, every_cut, positions


def read(pieces: list[bytes]) -> tuple[list[Event], bytes]:
    """The events, and what stays pending after the end."""
    reader = EventReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    events += reader.eof()
    assert b"".join(event.raw for event in events) + reader.pending == b"".join(pieces)
    return events, reader.pending


def read_later(pieces: list[bytes]) -> list[Event]:
    """The same by a reader that has read an event: it takes the fast way where it can."""
    return read([b": first\n\n", *pieces])[0][1:]


def meaning(stream: bytes) -> list[tuple[bytes | None, bytes]]:
    return [(event.data, event.name) for event in read([stream])[0]]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\n", [(b"a", b"")]),
        (b"data:a\n\n", [(b"a", b"")]),
        (b"data:  a \n\n", [(b" a ", b"")]),
        (b"data:\ta\n\n", [(b"\ta", b"")]),
        (b"data\n\n", [(b"", b"")]),
        (b"data:\n\n", [(b"", b"")]),
        (b"data: \n\n", [(b"", b"")]),
        (b"data: a: b\n\n", [(b"a: b", b"")]),
        (b"data: a\ndata: b\n\n", [(b"a\nb", b"")]),
        (b"data\ndata\n\n", [(b"\n", b"")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [(b"a", b"x"), (b"b", b"")]),
        (b"data: a\nevent:x\n\n", [(b"a", b"x")]),
        (b"event: x\nevent: y\ndata: a\n\n", [(b"a", b"y")]),
        (b"event: x\nevent\ndata: a\n\n", [(b"a", b"")]),
        (b"event: x\n\ndata: a\n\n", [(None, b"x"), (b"a", b"")]),
        (b": ping\n\n", [(None, b"")]),
        (b": ping\ndata: a\n\n", [(b"a", b"")]),
        (b":\n\n", [(None, b"")]),
        (b"id: 1\nretry: 5\ndata: a\n\n", [(b"a", b"")]),
        (b"DATA: a\n\n", [(None, b"")]),
        (b" data: a\n\n", [(None, b"")]),
        (b"data : a\n\n", [(None, b"")]),
        (b"data: a\n\n\n\ndata: b\n\n", [(b"a", b""), (None, b""), (None, b""), (b"b", b"")]),
        (b"\n", [(None, b"")]),
        (b"data: a\r\n\r\n", [(b"a", b"")]),
        (b"data: a\r\rdata: b\r\r", [(b"a", b""), (b"b", b"")]),
        (b"data: a\r\ndata: b\rdata: c\n\r\n", [(b"a\nb\nc", b"")]),
        (b"data: a\n\r\n\n", [(b"a", b""), (None, b"")]),
        (b"data: a\r\n\n", [(b"a", b"")]),
        (b"data: a\n\rdata: b\n\n", [(b"a", b""), (b"b", b"")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"a", b"")]),
        (b"\xef\xbb\xbf\ndata: a\n\n", [(None, b""), (b"a", b"")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [(None, b"")]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [(b"a", b""), (None, b"")]),
        (b"data: \xe4\xbd\xa0\x00\x85\n\n", [(b"\xe4\xbd\xa0\x00\x85", b"")]),
        (b"data: a\x0b\x0cb\xe2\x80\xa8c\n\n", [(b"a\x0b\x0cb\xe2\x80\xa8c", b"")]),
        (b"", []),
        (b"data: a\n", []),
        (b"data: a", []),
    ],
)
def test_the_grammar(stream, expected):
    assert meaning(stream) == expected
    if not stream.startswith(b"\xef"):
        assert [event[1:] for event in read_later([stream])] == expected


STREAM = (
    b": hello\n\nevent: delta\ndata: {\"a\": 1}\n\ndata: b\ndata: c\n\n\ndata: d\r\n\r\ndata: e\r"
    b"\rdata: f\n\n:\r\n\r\ndata: [DONE]\n\ndata: cut"
)  # fmt: skip


def test_every_cut_gives_the_same_events():
    whole = read([STREAM])
    assert len(whole[0]) == 9
    for pieces in every_cut(STREAM):
        assert read(pieces) == whole


lines = st.sampled_from(
    [b"data: a", b"data:b", b"data", b": c", b"event: d", b"", b"", b"x", b"data: \xef\xbb\xbf"]
)
any_end = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Lines with one kind of end, or with all kinds."""
    one = draw(st.one_of(st.none(), any_end))
    found = draw(st.lists(lines, max_size=12))
    text = b"".join(line + (draw(any_end) if one is None else one) for line in found)
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + text


@settings(max_examples=300, deadline=None)
@given(st.one_of(streams(), st.binary(max_size=30)), positions)
@example(b"data: a\r\r\n\n", [8])
def test_any_cut_gives_the_same_events(stream, at):
    whole = read([stream])
    assert read(cut(stream, at)) == whole
    if not stream.startswith(b"\xef"):
        assert read_later([stream]) == read_later(cut(stream, at)) == whole[0]


def model(stream: bytes) -> list[tuple[bytes | None, bytes]]:
    """The algorithm of the standard, in its own words and without any care for speed."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    text = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[tuple[bytes | None, bytes]] = []
    data: bytes | None = None
    name = b""
    for line in text.split(b"\n")[:-1]:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            events.append((data, name))
            data, name = None, b""
        elif field == b"data":
            data = value if data is None else data + b"\n" + value
        elif field == b"event":
            name = value
    return events


@settings(max_examples=300, deadline=None)
@given(st.one_of(streams(), st.binary(max_size=30)))
def test_the_events_are_those_of_the_standard(stream):
    assert meaning(stream) == model(stream)


def test_an_event_leaves_as_soon_as_it_ends():
    reader = EventReader()
    for end in (b"\n\n", b"\n\n", b"\r\n\r\n", b"\n\r\n"):
        assert reader.feed(b"data: a") == []
        assert reader.pending == b"data: a"
        assert reader.feed(end) == [Event(b"data: a" + end, b"a", b"")]
        assert reader.pending == b""


def test_a_cr_waits_for_what_may_be_its_lf():
    reader = EventReader()
    assert reader.feed(b"data: a\r\r") == []
    assert reader.feed(b"data: b") == [Event(b"data: a\r\r", b"a")]
    assert reader.feed(b"\r\n\r") == []
    assert reader.eof() == [Event(b"data: b\r\n\r", b"b")]
    assert reader.eof() == []


def test_a_cut_event_stays_pending_at_the_end():
    reader = EventReader()
    reader.feed(b"data: a\n\ndata: b\n")
    assert reader.eof() == []
    assert reader.pending == b"data: b\n"


def feed_all(reader: EventReader, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        reader.feed(piece)


def fails(reader: EventReader, *pieces: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        feed_all(reader, pieces)
    assert caught.value.status == 502


@pytest.mark.parametrize("first", [b"", b": x\n\n"])
def test_a_line_at_the_limit_and_one_past_it(first):
    line = b"data: " + b"a" * 14
    for pieces in every_cut(first + line + b"\n\n"):
        reader = EventReader(max_line=20)
        assert [event.data for piece in pieces for event in reader.feed(piece)][-1] == b"a" * 14
    for pieces in every_cut(first + line + b"a\n\n"):
        fails(EventReader(max_line=20), *pieces)
    fails(EventReader(max_line=20), first + line + b"a")  # without waiting for its end
    reader = EventReader(max_line=20)
    reader.feed(first + line + b"\r")
    assert reader.feed(b"\n\n")


@pytest.mark.parametrize("first", [b"", b": x\n\n"])
def test_an_event_at_the_limit_and_one_past_it(first):
    event = b"data: a\ndata: b\n:cd\n\n"
    assert len(event) == 21
    for pieces in every_cut(first + event):
        reader = EventReader(max_event=21)
        assert [event.data for piece in pieces for event in reader.feed(piece)][-1] == b"a\nb"
    for pieces in every_cut(first + event):
        fails(EventReader(max_event=20), *pieces)
    fails(EventReader(max_event=20), first + b"data: a\n" * 3)


def test_the_default_limits():
    reader = EventReader()
    assert reader.feed(b"data: " + b"a" * (1024 * 1024 - 6) + b"\n\n")
    fails(reader, b"data: " + b"a" * (1024 * 1024 - 5) + b"\n\n")
    reader = EventReader()
    reader.feed((b":" + b"a" * 1023 * 1023 + b"\n") * 4)
    fails(reader, (b":" + b"a" * 1023 * 1023 + b"\n"))


def test_events_and_the_begin_of_another():
    reader = EventReader()
    reader.feed(b": first\n\n")
    assert reader.feed(b"data: a\n\nid: 1\ndata: b\n\ndata: c") == [
        Event(b"data: a\n\n", b"a"),
        Event(b"id: 1\ndata: b\n\n", b"b"),
    ]
    assert reader.feed(b"\n\n") == [Event(b"data: c\n\n", b"c")]
    assert reader.feed(b"\n\n") == [Event(b"\n", None)] * 2
    assert reader.feed(b"event: x\ndata: d\n") == []
    assert reader.pending == b"event: x\ndata: d\n"


def test_the_state_shows():
    reader = EventReader()
    reader.feed(b"data")
    assert repr(reader) == "<EventReader 4 pending>"
