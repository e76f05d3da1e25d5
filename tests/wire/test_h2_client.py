"""The client's side of HTTP/2: what a provider may say, and what comes of it."""

import pytest

from kproxy.wire.h2_client import GIVEN_BACK, MOST_INFORMATIONAL
from kproxy.wire.h2_events import (
    Answered,
    Body,
    Cut,
    Faulty,
    H2Limits,
    LeftAt,
    Pong,
    Room,
)
from kproxy.wire.h2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PUSH_PROMISE,
    SETTINGS,
    WINDOW_UPDATE,
    frame_bytes,
)
from kproxy.wire.limits import H1Limits
from tests.fakes.h2_answers import ASK, OK, Asking, left
from tests.fakes.h2_frames import (
    PADDED,
    block,
    continuation,
    data,
    headers,
    ping,
    reset,
    settings,
    update,
)

PROTOCOL, CANCEL, CLOSED, CALM, SIZE, COMPRESSION = 0x1, 0x8, 0x5, 0xB, 0x6, 0x9
HEAD = headers(1, OK, end=False)
GIVEN = [(b"content-type", b"application/json")]
THREE = headers(1, [*OK, ("content-length", "3")], end=False)


def answers(asking: Asking) -> list[object]:
    """What was heard of streams."""
    return [one for one in asking.events if not isinstance(one, Room)]


# --- an answer


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        pytest.param(headers(1, OK), [Answered(1, 200, GIVEN, True)], id="a head alone"),
        pytest.param(
            HEAD + data(1, b"abc", end=True),
            [Answered(1, 200, GIVEN, False), Body(1, b"abc", 3, True)],
            id="until END_STREAM",
        ),
        pytest.param(
            HEAD + data(1, b"ab") + data(1, b"c") + data(1, end=True),
            [
                Answered(1, 200, GIVEN, False), Body(1, b"ab", 2, False), Body(1, b"c", 1, False),
                Body(1, b"", 0, True),
            ],
            id="an empty end",
        ),
        pytest.param(
            headers(1, [(":status", "103"), ("link", "x")], end=False) + headers(1, OK),
            [Answered(1, 200, GIVEN, True)],
            id="an informational head before",
        ),
        pytest.param(
            HEAD + headers(1, [("x-sum", "1")]),
            [Answered(1, 200, GIVEN, False), Body(1, b"", 0, True)],
            id="trailers are dropped",
        ),
        pytest.param(
            frame_bytes(HEADERS, END_STREAM, 1, block(OK)[:9])
            + continuation(1, block(OK)[9:], end=True),
            [Answered(1, 200, GIVEN, True)],
            id="a head in two frames",
        ),
        pytest.param(
            HEAD + frame_bytes(DATA, END_STREAM | PADDED, 1, b"\x02abc\x00\x00"),
            [Answered(1, 200, GIVEN, False), Body(1, b"abc", 6, True)],
            id="padding takes of the window",
        ),
    ],
)  # fmt: skip
def test_an_answer(said: bytes, heard: list[object]) -> None:
    asking = Asking(said)
    assert answers(asking) == heard
    assert asking.ended is None
    asking.codec.close(1)
    asking.hear()
    assert asking.resets == {}, "it is whole"


def test_its_length_holds() -> None:
    asking = Asking(THREE + data(1, b"abc", end=True))
    *_, last = answers(asking)
    assert last == Body(1, b"abc", 3, True)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (THREE + data(1, b"abcd"), "The body is longer than its Content-Length"),
        (THREE + data(1, b"ab", end=True), "The body is shorter than its Content-Length"),
        (THREE + data(1, b"ab") + headers(1, [("x", "y")]), "The body is shorter than its"),
        (headers(1, [*OK, ("content-length", "3")]), "There is no body, but a Content-Length"),
        (headers(1, [(":status", "204")], end=False) + data(1, b"x"), "The body is longer"),
        (headers(1, [("content-type", "x")]), "The first field is no status"),
        (headers(1, [(":status", "101")], end=False), "The first field is no status"),
        (headers(1, [(":status", "700")]), "The first field is no status"),
        (headers(1, [(":status", "2000")]), "The first field is no status"),
        (headers(1, [*OK, (":status", "200")]), "more than one pseudo-header"),
        (headers(1, [(":status", "200"), (":path", "/")]), "more than one pseudo-header"),
        (headers(1, [*OK, ("X-Upper", "y")]), "lower case"),
        (headers(1, [*OK, ("x", "a\r\nb")]), "control byte"),
        (headers(1, [*OK, ("connection", "close")]), "connection of HTTP/1.1"),
        (headers(1, [*OK, ("transfer-encoding", "chunked")]), "connection of HTTP/1.1"),
        (headers(1, [*OK, ("content-length", "x")]), "Content-Length"),
        (headers(1, [*OK, ("content-length", "1"), ("content-length", "2")]), "Content-Length"),
        (THREE + data(1, b"abcd", end=True), "The body is longer than its Content-Length"),
        (headers(1, [*OK, ("x", "y" * 201)], end=False), "over 200 bytes"),
        (headers(1, [*OK, *[("x", "y")] * 11]), "more than 10 header fields"),
        (headers(1, [*OK, *[(f"x{n}", "y" * 150) for n in range(9)]]), "over 1000 bytes"),
        (HEAD + headers(1, [(":status", "200")]), "lower case"),
        (
            headers(1, [(":status", "103")], end=False) * (MOST_INFORMATIONAL + 1),
            "does not come to its point",
        ),
    ],
)
def test_a_fault_of_one_stream_ends_that_stream(said: bytes, reason: str) -> None:
    limits = H1Limits(field=200, count=10, response_head=1_000)
    asking = Asking(said, streams=(True, True), h1=limits)
    assert asking.ended is None
    fault = next(one for one in asking.events if isinstance(one, Faulty))
    assert fault.stream == 1
    assert reason in fault.reason
    assert not any(isinstance(one, Body) and one.ended for one in asking.events)


def test_its_stream_is_reset_and_the_others_go_on() -> None:
    asking = Asking(headers(1, [*OK, ("Upper", "x")], end=False), streams=(True, True))
    assert asking.resets == {1: PROTOCOL}
    asking.codec.close(1)
    asking.say(data(1, b"late"), headers(3, OK))
    assert asking.ended is None
    assert answers(asking)[-1] == Answered(3, 200, GIVEN, True)
    assert asking.resets == {1: PROTOCOL}


# --- what ends the connection


@pytest.mark.parametrize(
    ("said", "code"),
    [
        pytest.param(data(1, b"x"), PROTOCOL, id="a body before its head"),
        pytest.param(headers(2, OK), PROTOCOL, id="a stream of the provider's"),
        pytest.param(headers(3, OK), PROTOCOL, id="a stream that we have not opened"),
        pytest.param(data(3, b"x"), PROTOCOL, id="its body"),
        pytest.param(reset(3), PROTOCOL, id="its end"),
        pytest.param(update(3, 1), PROTOCOL, id="its window"),
        pytest.param(
            frame_bytes(PUSH_PROMISE, END_HEADERS, 1, bytes((0, 0, 0, 2)) + block(OK)),
            PROTOCOL, id="a push",
        ),
        pytest.param(frame_bytes(HEADERS, 5, 1, b"\xff" * 9), COMPRESSION, id="no field block"),
        pytest.param(data(1, bytes(16_385)), SIZE, id="a frame too large"),
        pytest.param(settings((4, 2**31)), 0x3, id="a window too large"),
        pytest.param(frame_bytes(0x7, 0, 0, b"x"), PROTOCOL, id="a malformed GOAWAY"),
        pytest.param(HEAD + headers(1, OK, end=False), PROTOCOL, id="trailers without an end"),
        pytest.param(
            headers(1, [(":status", "103")]), PROTOCOL, id="an informational head that ends"
        ),
        pytest.param(headers(1, OK)[:-1], None, id="not whole yet"),
    ],
)  # fmt: skip
def test_what_ends_the_connection(said: bytes, code: int | None) -> None:
    assert Asking(said).ended == code


@pytest.mark.parametrize("first", [ping(), frame_bytes(SETTINGS, ACK, 0, b""), b"HTTP/1.1 200 OK"])
def test_a_provider_begins_with_its_settings(first: bytes) -> None:
    assert Asking(first, begun=b"").ended in (PROTOCOL, SIZE)


def test_what_was_heard_before_counts() -> None:
    asking = Asking(headers(1, OK) + data(3, b"x"))
    assert answers(asking) == [Answered(1, 200, GIVEN, True)]
    assert asking.ended == PROTOCOL
    assert asking.codec.take_output() == b""
    asking.codec.close(1)
    asking.codec.acknowledge(1, 5)
    asking.codec.go_away()
    assert asking.codec.take_output() == b"", "nothing follows the GOAWAY"


# --- resets


def test_a_provider_resets_a_stream() -> None:
    asking = Asking(HEAD + reset(1, 0x7))
    assert answers(asking)[-1] == Cut(1, 7)
    asking.codec.close(1)
    asking.hear()
    assert asking.resets == {}


def test_a_provider_that_wants_no_more_of_the_request() -> None:
    """RFC 9113 section 8.1: a whole answer, then NO_ERROR."""
    asking = Asking(headers(1, OK) + reset(1, 0), streams=(False,))
    assert answers(asking) == [Answered(1, 200, GIVEN, True), Cut(1, 0)]


@pytest.mark.parametrize("said", [b"", HEAD, HEAD + data(1, b"x")])
def test_what_is_not_whole_is_taken_back(said: bytes) -> None:
    asking = Asking(said)
    asking.codec.close(1)
    asking.hear()
    assert asking.resets == {1: CANCEL}
    assert asking.codec.streams == 0


def test_a_request_that_is_not_whole_is_taken_back() -> None:
    asking = Asking(headers(1, OK), streams=(False,))
    asking.codec.close(1)
    asking.hear()
    assert asking.resets == {1: CANCEL}


def test_a_stream_that_was_taken_back_may_be_spoken_to() -> None:
    """For a while; what its fields do to the tables is done, and its window is given back."""
    asking = Asking(streams=(True, True))
    asking.codec.close(1)
    indexed = b"\x40\x03x-a\x011"  # from here on number 62 of the table
    frame = frame_bytes(HEADERS, END_HEADERS, 1, b"\x88" + indexed)
    sent = len(asking.sent)
    asking.say(frame, *[data(1, bytes(16_384))] * 3)
    asking.hear()
    assert [one.kind for one in asking.sent[sent:]] == [0x3], "our own reset, and no other answer"
    asking.say(data(1, bytes(16_384)))
    (given,) = asking.of(WINDOW_UPDATE)[-1:]
    assert (given.stream, int.from_bytes(given.raw[9:13], "big")) == (0, GIVEN_BACK)
    asking.say(frame_bytes(HEADERS, END_HEADERS | END_STREAM, 3, b"\x88\xbe"))
    assert answers(asking) == [Answered(3, 200, [(b"x-a", b"1")], True)]


def test_not_for_ever() -> None:
    asking = Asking(limits=H2Limits(window=65_535))
    asking.codec.close(1)
    asking.say(*[data(1, bytes(16_384))] * 20)
    assert asking.ended == CLOSED


def test_a_stream_that_has_ended_goes_on() -> None:
    asking = Asking(headers(1, OK))
    asking.codec.close(1)
    asking.say(data(1, b"x"))
    assert asking.ended == CLOSED


# --- leaving, asking, room


def test_a_provider_leaves() -> None:
    asking = Asking(left(1, 0xB) + HEAD, streams=(True, True))
    assert answers(asking) == [LeftAt(1, 0xB), Answered(1, 200, GIVEN, False)]
    asking.codec.send_data(1, b"", last=False)
    assert asking.ended is None


def test_a_sign_of_life() -> None:
    asking = Asking()
    asking.codec.ping()
    asking.hear()
    (asked,) = asking.of(PING)
    asking.say(ping(asked.raw[9:], ack=True))
    assert Pong() in asking.events


def test_how_many_streams() -> None:
    asking = Asking(begun=b"", streams=(), limits=H2Limits(streams=200))
    assert (asking.codec.limit, asking.codec.greeted) == (1, False)
    asking.say(settings())
    assert asking.codec.greeted
    assert asking.codec.limit == 200, "ours, where the provider has none"
    asking.say(settings((3, 7)))
    assert asking.codec.limit == 7
    asking.say(settings((3, 0)))
    assert asking.codec.limit == 0


def test_a_body_within_the_windows() -> None:
    asking = Asking(settings((4, 10)), streams=(False,))
    assert asking.codec.window(1) == 10
    asking.codec.send_data(1, b"0123456789", last=False)
    assert asking.codec.window(1) == 0
    asking.say(update(1, 5))
    assert (asking.events[-1], asking.codec.window(1)) == (Room(1), 5)
    asking.codec.send_data(1, b"abcde", last=True)
    asking.hear()
    first, last = asking.of(DATA)
    assert (first.flags & END_STREAM, last.flags & END_STREAM) == (0, END_STREAM)
    asking.say(settings((4, 50_000)))
    assert asking.codec.window(1) == 50_000 - 15 + 5


def test_large_bodies_are_cut() -> None:
    asking = Asking(settings((4, 100_000), (5, 2**20)), streams=(False,))
    asking.codec.send_data(1, bytes(40_000), last=True)
    asking.hear()
    assert [one.size for one in asking.of(DATA)] == [16_384, 16_384, 7_232]


def test_windows_open_as_bytes_are_used() -> None:
    asking = Asking(HEAD + data(1, bytes(16_000)), limits=H2Limits(window=20_000))
    before = len(asking.of(WINDOW_UPDATE))
    assert before == 1, "the connection's, at the start"
    asking.codec.acknowledge(1, 16_000)
    asking.hear()
    assert [one.stream for one in asking.of(WINDOW_UPDATE)[before:]] == [1]


def test_credentials_are_in_no_table() -> None:
    asking = Asking(streams=())
    fields = [*ASK, (b"authorization", b"Bearer secret"), (b"x-api-key", b"secret")]
    blocks = []
    for _ in range(2):
        asking.codec.open(fields, last=True)
        asking.hear()
        blocks.append(asking.of(HEADERS)[-1].raw[9:])
    table = asking.codec._engine.encoder.header_table.dynamic_entries
    assert b"application/json" in [entry[1] for entry in table]
    assert not any(b"secret" in entry[1] for entry in table)
    assert len(blocks[1]) < len(blocks[0])


@pytest.mark.parametrize("field", [(b"X-Upper", b"y"), (b"x", b"a\nb")])
def test_what_cannot_be_sent(field: tuple[bytes, bytes]) -> None:
    asking = Asking(streams=())
    with pytest.raises(ValueError, match="header field"):
        asking.codec.open([*ASK, field], last=True)
    assert asking.codec.streams == 0


def test_it_says_where_it_stands() -> None:
    assert repr(Asking(streams=(True, True)).codec) == "<H2Client 2 streams>"
