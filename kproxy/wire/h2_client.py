"""The client's side of an HTTP/2 connection: received bytes in, events out; and what is to be sent.

The rules of `h2.py` hold here as well, against a provider instead of callers: frames are cut apart
and counted, the engine sees no response, a fault of one stream ends that stream. And three more:

1. *A stream that we have reset may still be spoken to* for a while. Its fields are decompressed, as
   those behind them depend on it; whatever the engine would answer is dropped. Its DATA never
   reaches the engine, and is given back to the connection's window. A provider that does not stop
   is found out: behind a reset comes at most what was on its way.
2. *The streams of a connection are as many as the provider allows*, and one until it has spoken:
   some servers end the connection for one too many (those by h2 do).
3. *Bytes that were heard before a fault count*: what ends the connection is told beside them.

`now` is an argument, and everything that is to be sent lies in `take_output`.
"""

from collections.abc import Callable

import h2.events

from kproxy.wire.events import Headers
from kproxy.wire.frame import check_fields
from kproxy.wire.h2_engine import FRAME, make_client, mark_secrets
from kproxy.wire.h2_events import (
    Answered,
    Body,
    ClientEvent,
    Cut,
    Faulty,
    H2Limits,
    LeftAt,
    Pong,
    Room,
)
from kproxy.wire.h2_floods import Floods
from kproxy.wire.h2_frames import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    RST_STREAM,
    WINDOW_UPDATE,
    Code,
    Frame,
    H2Error,
    frame_bytes,
)
from kproxy.wire.h2_head import Malformed, check_trailers
from kproxy.wire.h2_side import H2Side
from kproxy.wire.h2_turn import Reply, read_reply
from kproxy.wire.limits import H1Limits

__all__ = ["LAST_STREAM", "H2Client"]

LAST_STREAM = 2**31 - 1
"""There are no higher numbers (RFC 9113 section 5.1.1)."""

MOST_INFORMATIONAL = 8
"""1xx heads before the final one, as over HTTP/1.1."""

GIVEN_BACK = 65_536
"""Bytes of the connection's window that are given back at once."""


class _Stream:
    """What is known of a stream that its owner has not closed."""

    __slots__ = ("ended", "gone", "informational", "length", "received", "sent")

    def __init__(self, *, sent: bool) -> None:
        self.sent = sent  # our end
        self.ended = False  # the provider's
        self.gone = False  # reset, by either
        self.length: int | None = None
        self.received = 0
        self.informational = 0


class H2Client(H2Side[ClientEvent]):
    """One connection. Who opens a stream ends it by `close`."""

    def __init__(self, limits: H2Limits, h1: H1Limits, now: float) -> None:
        engine, self._decoder = make_client(limits, h1)
        super().__init__(engine, Floods(limits.floods, now), limits.connection_window)
        self._limits = limits
        self._h1 = h1
        self._streams: dict[int, _Stream] = {}
        self._late = 0  # bytes that may still come for streams that we have reset
        self._owed = 0  # of the window, for such bytes

    def __repr__(self) -> str:
        return f"<H2Client {len(self._streams)} streams>"

    @property
    def limit(self) -> int:
        """Streams that may be open at one time."""
        allowed = self._engine.remote_settings.max_concurrent_streams if self._greeted else 1
        return min(self._limits.streams, allowed)

    @property
    def greeted(self) -> bool:
        """Whether the provider has spoken."""
        return self._greeted

    @property
    def streams(self) -> int:
        """Streams that are open, or not closed by their owners."""
        return len(self._streams)

    # --- received

    def receive_data(self, data: bytes, now: float) -> tuple[list[ClientEvent], H2Error | None]:
        """What the bytes say, and what ends the connection behind it: the output then ends with
        GOAWAY, and is the last."""
        events: list[ClientEvent] = []
        try:
            self._hear(data, now, events)
        except H2Error as error:
            return events, error
        return events, None

    def _judge(self, frame: Frame, now: float) -> None:
        kind, number = frame.kind, frame.stream
        if kind in (HEADERS, CONTINUATION, DATA, RST_STREAM, WINDOW_UPDATE) and number:
            # Even numbers would be the provider's, and we have told it to open none.
            if number > self._engine.highest_outbound_stream_id or not number % 2:
                raise H2Error(Code.PROTOCOL_ERROR, "a frame of a stream that was never opened")
            if kind == RST_STREAM and self._is_late(number):
                self._floods.reset(now)

    def _left(self, frame: Frame) -> ClientEvent:
        last = int.from_bytes(frame.raw[9:13], "big") & LAST_STREAM
        return LeftAt(last, int.from_bytes(frame.raw[13:17], "big"))

    def _pass_on(self, frame: Frame, now: float, events: list[ClientEvent]) -> None:
        if frame.kind in (HEADERS, CONTINUATION, DATA) and self._is_late(frame.stream):
            self._ignore(frame)
            return
        for event in self._engine.receive_data(frame.raw):
            translate = _TRANSLATE.get(type(event))
            if translate is not None:
                translate(self, event, now, events)

    def _is_late(self, number: int) -> bool:
        known = self._streams.get(number)
        return number > 0 and (known is None or known.gone)

    def _ignore(self, frame: Frame) -> None:
        self._late -= frame.size
        if self._late < 0:
            raise H2Error(Code.STREAM_CLOSED, "a stream that is closed goes on")
        if frame.kind != DATA:
            self._out += self._engine.data_to_send()
            self._engine.receive_data(frame.raw)
            self._engine.data_to_send()
            return
        self._owed += frame.size
        if self._owed >= GIVEN_BACK:
            self._write(frame_bytes(WINDOW_UPDATE, 0, 0, self._owed.to_bytes(4, "big")))
            self._owed = 0

    def _informational(
        self, event: h2.events.InformationalResponseReceived, now: float, events: list[ClientEvent]
    ) -> None:
        number = _id(event)
        known = self._streams[number]
        known.informational += 1
        if known.informational > MOST_INFORMATIONAL:
            self._blame(number, "The answer does not come to its point.", events)
        else:
            self._read(number, events, ended=False)

    def _response(
        self, event: h2.events.ResponseReceived, now: float, events: list[ClientEvent]
    ) -> None:
        number, ended = _id(event), event.stream_ended is not None
        known = self._streams[number]
        known.ended = ended
        reply = self._read(number, events, ended=ended)
        if reply is not None:
            known.length = reply.length
            events.append(Answered(number, reply.status, reply.headers, ended))

    def _read(self, number: int, events: list[ClientEvent], *, ended: bool) -> Reply | None:
        try:
            return read_reply(self._decoder.fields, self._h1, ended=ended)
        except Malformed as error:
            self._blame(number, error.message, events)
            return None

    def _data(self, event: h2.events.DataReceived, now: float, events: list[ClientEvent]) -> None:
        number, data = _id(event), event.data or b""
        size = event.flow_controlled_length or 0
        if not data and size:
            self._floods.empty(now)
        known = self._streams[number]
        known.received += len(data)
        ended = event.stream_ended is not None
        known.ended = ended
        if known.length is not None and known.received > known.length:
            self.acknowledge(number, size)
            self._blame(number, "The body is longer than its Content-Length.", events)
            return
        whole = ended and known.length in (None, known.received)
        events.append(Body(number, data, size, whole))
        if ended and not whole:
            self._blame(number, "The body is shorter than its Content-Length.", events)

    def _trailers(
        self, event: h2.events.TrailersReceived, now: float, events: list[ClientEvent]
    ) -> None:
        number = _id(event)
        known = self._streams[number]
        known.ended = True
        try:
            check_trailers(self._decoder.fields, self._h1)
        except Malformed as error:
            self._blame(number, error.message, events)
            return
        if known.length not in (None, known.received):
            self._blame(number, "The body is shorter than its Content-Length.", events)
        else:
            events.append(Body(number, b"", 0, True))

    def _blame(self, number: int, reason: str, events: list[ClientEvent]) -> None:
        """The provider broke the rules of one stream."""
        self._reset(number, self._streams[number], Code.PROTOCOL_ERROR)
        events.append(Faulty(number, reason.rstrip(".")))

    def _cut(self, event: h2.events.StreamReset, now: float, events: list[ClientEvent]) -> None:
        number = _id(event)
        known = self._streams.get(number)
        if known is None:
            return
        known.gone = True
        if event.remote_reset:
            events.append(Cut(number, int(event.error_code or 0)))
        else:  # by the engine, for a window that no number can count
            self._late += self._limits.window
            events.append(Faulty(number, "The window is too large"))

    def _room(self, event: h2.events.Event, now: float, events: list[ClientEvent]) -> None:
        events.append(Room(getattr(event, "stream_id", None) or 0))

    def _pong(
        self, event: h2.events.PingAckReceived, now: float, events: list[ClientEvent]
    ) -> None:
        events.append(Pong())

    # --- sent

    def open(self, fields: Headers, *, last: bool) -> int:
        """Send a request's head, `last`: it is all; the stream's number. There must be room for one
        within `limit`. Raises ValueError for what cannot be sent, and nothing was."""
        check_fields(fields[4:])  # behind :method, :scheme, :authority and :path
        number: int = self._engine.get_next_available_stream_id()
        self._engine.send_headers(number, mark_secrets(fields), end_stream=last)
        self._streams[number] = _Stream(sent=last)
        return number

    def send_data(self, stream: int, data: bytes | memoryview, *, last: bool) -> None:
        """At most `window` bytes of a body, at least one; `last`: it ends with them."""
        for start in range(0, len(data), FRAME):
            piece = data[start : start + FRAME]
            ends = last and start + len(piece) == len(data)
            self._engine.send_data(stream, piece, end_stream=ends)
            self._floods.sent(len(piece))
        self._streams[stream].sent = last

    def ping(self) -> None:
        """Ask for a sign of life; `Pong` is the answer."""
        self._engine.ping(b"kproxy..")

    def close(self, stream: int) -> None:
        """The owner is done. What is not whole is taken back: CANCEL."""
        known = self._streams.pop(stream)
        if not (known.sent and known.ended):
            self._reset(stream, known, Code.CANCEL)

    def _reset(self, number: int, known: _Stream, code: int) -> None:
        if self._over or known.gone:
            return
        known.gone = True
        if not (known.sent and known.ended):  # else the engine has forgotten it
            self._engine.reset_stream(number, code)
            self._late += self._limits.window + self._limits.floods.block

    def go_away(self, code: int = Code.NO_ERROR) -> None:
        """See `H2Side.go_away`: there are none that we would look at."""
        if not self._over:
            self._write(frame_bytes(GOAWAY, 0, 0, bytes(4) + code.to_bytes(4, "big")))


def _id(event: h2.events.Event) -> int:
    stream: int = event.stream_id  # type: ignore[attr-defined]
    return stream


_TRANSLATE: dict[type, Callable[..., None]] = {
    h2.events.InformationalResponseReceived: H2Client._informational,
    h2.events.ResponseReceived: H2Client._response,
    h2.events.DataReceived: H2Client._data,
    h2.events.TrailersReceived: H2Client._trailers,
    h2.events.StreamReset: H2Client._cut,
    h2.events.WindowUpdated: H2Client._room,
    h2.events.RemoteSettingsChanged: H2Client._room,
    h2.events.PingAckReceived: H2Client._pong,
}
