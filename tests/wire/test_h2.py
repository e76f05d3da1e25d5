"""A connection's codec: requests in, responses out, windows, the peer's end and ours."""

import h2.config
import h2.connection
import h2.events
import pytest

from kproxy.wire.h2_events import Body, H2Limits, Leaving, Opened, Reset
from kproxy.wire.h2_frames import GOAWAY, HEADERS, RST_STREAM, WINDOW_UPDATE
from tests.fakes.h2_frames import ACK, BEGUN, POST, Spoken, data, goaway, headers

OPEN = headers(1, POST, end=False)


def test_a_request_with_a_body_and_trailers() -> None:
    told = Spoken(OPEN + data(1, b"one") + data(1, b"two") + headers(1, [("x-sum", "6")]))
    opened, *bodies = told.events[1:]
    assert isinstance(opened, Opened)
    assert not opened.ended
    assert bodies == [
        Body(1, b"one", 3, False),
        Body(1, b"two", 3, False),
        Body(1, b"", 0, True),
    ]


def test_a_response_as_a_client_reads_it() -> None:
    told = Spoken(begun=False)
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    client.initiate_connection()
    client.send_headers(1, [(n.encode(), v.encode()) for n, v in POST], end_stream=True)
    codec = told.codec
    codec.receive_data(client.data_to_send(), 0.0)
    codec.send_head(1, 200, [(b"content-type", b"text/plain")])
    codec.send_data(1, b"x" * 40_000)
    codec.send_end(1)
    codec.close(1, 2)
    events = client.receive_data(codec.take_output())
    (head,) = [event for event in events if isinstance(event, h2.events.ResponseReceived)]
    assert head.headers == [(b":status", b"200"), (b"content-type", b"text/plain")]
    pieces = [event.data for event in events if isinstance(event, h2.events.DataReceived)]
    assert b"".join(pieces) == b"x" * 40_000
    assert max(map(len, pieces)) == 16_384
    assert isinstance(events[-1], h2.events.StreamEnded)


@pytest.mark.parametrize(
    "field", [(b"Upper", b"a"), (b"a b", b""), (b"", b""), (b"a", b"b\r\nc: d"), (b"a", b"\0")]
)
def test_what_cannot_be_sent(field: tuple[bytes, bytes]) -> None:
    told = Spoken(headers(1))
    with pytest.raises(ValueError, match="field"):
        told.codec.send_head(1, 200, [field])
    told.codec.send_head(1, 500, [])
    told.hear()
    assert len(told.of(HEADERS)) == 1


class TestWindows:
    LIMITS = H2Limits(window=65_535, connection_window=65_535)

    def test_what_is_not_acknowledged_is_not_given_back(self) -> None:
        told = Spoken(OPEN, *[data(1, bytes(16_000))] * 4, limits=self.LIMITS)
        assert told.of(WINDOW_UPDATE) == []
        told.codec.acknowledge(1, 64_000)
        told.hear()
        assert [frame.stream for frame in told.of(WINDOW_UPDATE)] == [0, 1]

    def test_bodies_of_closed_streams_are_given_back(self) -> None:
        told = Spoken(OPEN, limits=self.LIMITS)
        told.codec.close(1, 8)
        told.say(*[data(1, bytes(16_000))] * 4)
        assert {frame.stream for frame in told.of(WINDOW_UPDATE)} == {0}

    def test_the_whole_connection_has_its_own(self) -> None:
        told = Spoken()
        (whole,) = told.of(WINDOW_UPDATE)
        assert int.from_bytes(whole.raw[9:], "big") == 1_048_576 - 65_535


class TestClose:
    def test_unanswered(self) -> None:
        told = Spoken(headers(1))
        told.codec.close(1, 2)
        told.hear()
        assert told.resets == {1: 2}

    def test_answered_before_the_request_was_whole(self) -> None:
        told = Spoken(OPEN)
        told.codec.send_head(1, 413, [], last=True)
        told.codec.close(1, 2)
        told.hear()
        assert told.resets == {1: 0}, "the peer need not go on"

    def test_answered(self) -> None:
        told = Spoken(headers(1))
        told.codec.send_head(1, 200, [], last=True)
        told.codec.close(1, 2)
        told.hear()
        assert told.resets == {}

    def test_reset_by_the_peer(self) -> None:
        told = Spoken(headers(1), b"\0\0\4\3\0\0\0\0\1\0\0\0\x08")
        assert told.events[-1] == Reset(1)
        told.codec.close(1, 2)
        told.hear()
        assert told.of(RST_STREAM) == []

    def test_after_the_connections_end(self) -> None:
        told = Spoken(OPEN, data(0, b"x"))
        assert told.ended is not None
        told.codec.acknowledge(1, 5)
        told.codec.close(1, 2)
        assert told.codec.take_output() == b"", "GOAWAY was the last word"


class TestDrain:
    def test_later_streams_are_refused_and_earlier_ones_answered(self) -> None:
        told = Spoken(headers(1))
        told.codec.go_away()
        told.say(headers(3))
        assert told.of(GOAWAY)[0].raw[9:] == b"\0\0\0\1" + bytes(4)
        assert told.resets == {3: 7}, "refused, so that it may be asked again elsewhere"
        told.codec.send_head(1, 200, [], last=True)
        told.hear()
        assert [frame.stream for frame in told.of(HEADERS)] == [1]

    def test_the_peer_leaves(self) -> None:
        assert Spoken(headers(1), goaway()).events[-1] == Leaving()


class TestUnfinished:
    def test_the_greeting_and_then_nothing(self) -> None:
        told = Spoken(BEGUN[:-9], begun=False)
        assert told.codec.unfinished == 0
        told.say(BEGUN[-9:])
        assert told.codec.unfinished is None

    def test_a_frame_and_the_block_that_it_begins_are_one(self) -> None:
        told = Spoken(b"\0\0\3\1\1\0\0\0\1")
        begun = told.codec.unfinished
        assert begun is not None
        told.say(b"\0\1a")
        assert told.codec.unfinished == begun
        told.say(b"\0\0\0\x09\0\0\0\0\1")
        assert told.codec.unfinished == begun

    def test_another_frame_is_another(self) -> None:
        told = Spoken(headers(1) + headers(3)[:12])
        begun = told.codec.unfinished
        told.say(headers(3)[12:] + headers(5)[:12])
        assert told.codec.unfinished not in (begun, None)

    def test_a_body_takes_its_own_time(self) -> None:
        told = Spoken(OPEN, data(1, b"body")[:10])
        assert told.codec.unfinished is None


def test_its_settings_are_what_the_limits_say() -> None:
    told = Spoken(limits=H2Limits(streams=7, window=70_000))
    first = told.sent[0]
    pairs = [first.raw[at : at + 6] for at in range(9, len(first.raw), 6)]
    values = {int.from_bytes(one[:2], "big"): int.from_bytes(one[2:], "big") for one in pairs}
    assert first.flags != ACK
    assert (values[3], values[4], values[5], values[6]) == (7, 70_000, 16_384, 32 * 1024)
    assert values[2] == 0, "nothing is pushed"
