"""The server's side of an HTTP/2 connection: received bytes in, events out; and what is to be sent.

Problem: h2 is a sound engine with two habits that an edge cannot have. It counts nothing, so every
flood of legal frames passes. And it ends the connection for the fault of one stream: a malformed
field, a length that does not hold, one stream too many. A gateway in front of us puts many callers
on one connection, and one of them would end the others.

The obvious way is to believe the engine, and hypercorn and httpcore do. Our way:

1. *Frames are cut apart here* (`h2_frames`), counted (`h2_floods`), and given to the engine one by
   one. What it need not see, it never sees: GOAWAY, after which it would not let us send, and
   frames of no known kind.
2. *The engine sees no request.* Our decoder keeps the fields and shows the engine a request that
   nothing is wrong with; `h2_head` judges the true ones. So a malformed request is RST_STREAM
   (RFC 9113 section 8.1.1), as is a body of the wrong length, and a stream over the limit is
   refused before any of it was looked at (section 8.7).
3. *What the engine refuses ends the connection*; it writes the GOAWAY itself.
4. *The windows are the caller's to open.* Bytes of a body count until `acknowledge` says that they
   were used. The engine's own encoder would take any table size that the peer names; ours does not.

Only `h2_side`, its two sides and `h2_engine` know h2 and hpack. None knows time-outs and sockets:
`now` is an argument, and everything that is to be sent lies in `take_output`.
"""

from collections.abc import Callable
from dataclasses import replace

import h2.events

from kproxy.wire.events import Headers, ProtocolError
from kproxy.wire.frame import check_fields
from kproxy.wire.h2_engine import FRAME, make_engine
from kproxy.wire.h2_events import (
    Body,
    Event,
    H2Limits,
    Leaving,
    Opened,
    Refused,
    Reset,
    Room,
)
from kproxy.wire.h2_floods import Floods
from kproxy.wire.h2_frames import (
    DATA,
    GOAWAY,
    PREFACE,
    RST_STREAM,
    WINDOW_UPDATE,
    Code,
    Frame,
    H2Error,
    frame_bytes,
)
from kproxy.wire.h2_head import Malformed, check_trailers, read_head
from kproxy.wire.h2_side import H2Side
from kproxy.wire.limits import H1Limits

__all__ = ["H2Server"]

LAST_STREAM = 2**31 - 1


class _Stream:
    """What is known of a stream that the owner has not closed."""

    __slots__ = ("ended", "expected", "received", "sent")

    def __init__(self, expected: int | None) -> None:
        self.expected = expected
        self.received = 0
        self.ended = False  # by the peer
        self.sent = False  # our end


class H2Server(H2Side[Event]):
    """One connection. An owner of a stream is told by `Opened` and ends it by `close`."""

    def __init__(self, limits: H2Limits, h1: H1Limits, now: float) -> None:
        if limits.header_list is not None:
            h1 = replace(h1, fields=limits.header_list)
        engine, self._decoder = make_engine(limits, h1)
        super().__init__(engine, Floods(limits.floods, now), limits.connection_window)
        self._limits = limits
        self._h1 = h1
        self._preface = bytearray()
        self._streams: dict[int, _Stream] = {}
        self._last = LAST_STREAM  # streams above were told not to exist
        self._acknowledged = False  # our SETTINGS were read

    def __repr__(self) -> str:
        return f"<H2Server {len(self._streams)} streams>"

    @property
    def unfinished(self) -> int | None:
        """What the peer owes us that is no body: 0 for its greeting, else the number of the frame
        that began what is not whole, a frame or a field block. None: nothing."""
        if not self._acknowledged:
            return 0
        if self._block is None and self._cutter.begun not in (None, DATA):
            return self._frames
        return self._block

    # --- received

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """What the bytes say. Raises H2Error; the output then ends with GOAWAY, and is the last."""
        events: list[Event] = []
        try:
            data = self._after_preface(data)
        except H2Error as error:
            self._fail(error)
            raise
        self._hear(data, now, events)
        return events

    def _after_preface(self, data: bytes) -> bytes:
        missing = len(PREFACE) - len(self._preface)
        if not missing:
            return data
        self._preface += data[:missing]
        if not PREFACE.startswith(self._preface):
            raise H2Error(Code.PROTOCOL_ERROR, "this is no HTTP/2")
        if len(self._preface) == len(PREFACE):
            self._engine.receive_data(PREFACE)
        return data[missing:]

    def _judge(self, frame: Frame, now: float) -> None:
        if frame.kind == RST_STREAM and frame.stream in self._streams:
            self._floods.reset(now)
        if frame.kind in (RST_STREAM, WINDOW_UPDATE, DATA) and self._is_idle(frame.stream):
            raise H2Error(Code.PROTOCOL_ERROR, "a frame of a stream that was never opened")

    def _left(self, frame: Frame) -> Event:
        return Leaving()

    def _pass_on(self, frame: Frame, now: float, events: list[Event]) -> None:
        for event in self._engine.receive_data(frame.raw):
            self._translate(event, now, events)

    def _is_idle(self, stream: int) -> bool:
        """RFC 9113 section 5.1. Even numbers are ours, and we open none."""
        return stream > self._engine.highest_inbound_stream_id or (stream > 0 and not stream % 2)

    def _translate(self, event: h2.events.Event, now: float, events: list[Event]) -> None:
        translate = _TRANSLATE.get(type(event))
        if translate is not None:
            found = translate(self, event, now)
            if found is not None:
                events.append(found)

    def _request(self, event: h2.events.RequestReceived, now: float) -> Event | None:
        stream = _id(event)
        self._floods.opened()
        ended = event.stream_ended is not None
        if stream > self._last:  # it was on its way when we said the last one
            self._floods.refused(now, knows=False)
            self._engine.reset_stream(stream, Code.REFUSED_STREAM)
            return None
        if len(self._streams) >= self._limits.streams:
            self._floods.refused(now, knows=self._acknowledged)
            self._engine.reset_stream(stream, Code.REFUSED_STREAM)
            return None
        try:
            head = read_head(self._decoder.fields, self._h1, ended=ended)
        except Malformed:
            self._floods.reset(now)
            self._engine.reset_stream(stream, Code.PROTOCOL_ERROR)
            return None
        except ProtocolError as error:
            self._streams[stream] = _Stream(None)
            self._streams[stream].ended = ended
            return Refused(stream, error)
        self._streams[stream] = _Stream(head.content_length)
        self._streams[stream].ended = ended
        return Opened(stream, head, ended)

    def _data(self, event: h2.events.DataReceived, now: float) -> Event | None:
        stream, data = _id(event), event.data or b""
        size = event.flow_controlled_length or 0
        if not data and size:
            self._floods.empty(now)
        return self._piece(stream, data, size, now, ended=event.stream_ended is not None)

    def _trailers(self, event: h2.events.TrailersReceived, now: float) -> Event | None:
        stream = _id(event)
        try:
            check_trailers(self._decoder.fields, self._h1)
        except Malformed:
            return self._fault(stream, now)
        return self._piece(stream, b"", 0, now, ended=True)

    def _piece(
        self, stream: int, data: bytes, size: int, now: float, *, ended: bool
    ) -> Event | None:
        known = self._streams.get(stream)
        if known is None:
            self.acknowledge(stream, size)
            return None
        known.received += len(data)
        known.ended = ended
        expected = known.expected
        if expected is not None and (
            known.received > expected or (ended and known.received != expected)
        ):
            self.acknowledge(stream, size)
            return self._fault(stream, now)
        return Body(stream, data, size, ended)

    def _fault(self, stream: int, now: float) -> Event | None:
        """The peer broke the rules of one stream."""
        self._floods.reset(now)
        self.reset(stream, Code.PROTOCOL_ERROR)
        return Reset(stream)

    def _gone(self, event: h2.events.StreamReset, now: float) -> Event | None:
        stream = _id(event)
        if not event.remote_reset:
            self._floods.reset(now)
        if stream in self._streams:
            self._streams[stream].sent = self._streams[stream].ended = True
        return Reset(stream)

    def _window(self, event: h2.events.WindowUpdated, now: float) -> Event:
        return Room(_id(event))

    def _settings(self, event: h2.events.RemoteSettingsChanged, now: float) -> Event:
        return Room(0)

    def _heard(self, event: h2.events.SettingsAcknowledged, now: float) -> None:
        self._acknowledged = True

    # --- sent

    def send_head(self, stream: int, status: int, headers: Headers, *, last: bool = False) -> None:
        """The head of a response, or of an informational one (status 1xx); `last`: it is all.

        Raises ValueError for what cannot be sent, and nothing was.
        """
        check_fields(headers)
        fields = [(b":status", b"%d" % status), *headers]
        self._engine.send_headers(stream, fields, end_stream=last)
        self._streams[stream].sent = last

    def send_data(self, stream: int, data: bytes | memoryview) -> None:
        """At most `window` bytes of a body."""
        for start in range(0, len(data), FRAME):
            piece = data[start : start + FRAME]
            self._engine.send_data(stream, piece)
            self._floods.sent(len(piece))

    def send_end(self, stream: int) -> None:
        """The response is whole."""
        self._streams[stream].sent = True
        self._engine.end_stream(stream)

    def reset(self, stream: int, code: int) -> None:
        """End the stream at once; its owner still closes it."""
        known = self._streams[stream]
        if not (self._over or (known.sent and known.ended)):
            known.sent = known.ended = True
            self._engine.reset_stream(stream, code)

    def close(self, stream: int, code: int) -> None:
        """The owner is done. A response that is not whole is reset with `code`; where it is, and
        the request is not, the peer need not go on (RFC 9113 section 8.1)."""
        self.reset(stream, Code.NO_ERROR if self._streams[stream].sent else code)
        del self._streams[stream]

    def go_away(self, code: int = Code.NO_ERROR) -> None:
        """Say which stream was the last one that was looked at; later ones are refused."""
        if not self._over:
            self._last = self._engine.highest_inbound_stream_id
            # Not by the engine: it would let nothing be sent behind it.
            payload = self._last.to_bytes(4, "big") + code.to_bytes(4, "big")
            self._write(frame_bytes(GOAWAY, 0, 0, payload))


def _id(event: h2.events.Event) -> int:
    stream: int = event.stream_id  # type: ignore[attr-defined]
    return stream


_TRANSLATE: dict[type, Callable[..., Event | None]] = {
    h2.events.RequestReceived: H2Server._request,
    h2.events.DataReceived: H2Server._data,
    h2.events.TrailersReceived: H2Server._trailers,
    h2.events.StreamReset: H2Server._gone,
    h2.events.WindowUpdated: H2Server._window,
    h2.events.RemoteSettingsChanged: H2Server._settings,
    h2.events.SettingsAcknowledged: H2Server._heard,
}
