"""HTTP/2 frames by hand, right and wrong, and what a server said to them.

In: kinds, flags, fields as pairs. Out: bytes for a server; and of a server's bytes its frames.
Field blocks are written without compression, so that each can be sent to any connection.
"""

from collections.abc import Iterable

from kproxy.wire.h2 import H2Server
from kproxy.wire.h2_events import Event, H2Limits
from kproxy.wire.h2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    FrameCutter,
    H2Error,
    frame_bytes,
)
from kproxy.wire.limits import H1Limits

__all__ = [
    "ACK", "BEGUN", "GET", "POST", "Spoken", "block", "continuation", "data", "frames", "goaway",
    "headers", "ping", "priority", "reset", "settings", "update",
]  # fmt: skip

PADDED = 0x8

Fields = list[tuple[str, str]]

GET: Fields = [(":method", "GET"), (":scheme", "http"), (":authority", "here"), (":path", "/get")]
POST: Fields = [(":method", "POST"), *GET[1:3], (":path", "/post")]


def _text(value: str) -> bytes:
    raw = value.encode("latin-1")
    if len(raw) < 127:
        return bytes((len(raw),)) + raw
    size, rest = b"\x7f", len(raw) - 127
    while rest > 127:
        size += bytes((rest % 128 + 128,))
        rest //= 128
    return size + bytes((rest,)) + raw


def block(fields: Iterable[tuple[str, str]]) -> bytes:
    """A field block of literals that no table keeps (RFC 7541 section 6.2.2)."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)


def headers(stream: int, fields: Fields = GET, *, end: bool = True, flags: int = 0) -> bytes:
    """A request, or trailers, in one frame."""
    flags |= END_HEADERS | (END_STREAM if end else 0)
    return frame_bytes(HEADERS, flags, stream, block(fields))


def continuation(stream: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frame_bytes(CONTINUATION, END_HEADERS if end else 0, stream, payload)


def data(stream: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frame_bytes(DATA, END_STREAM if end else 0, stream, payload)


def reset(stream: int, code: int = 8) -> bytes:
    return frame_bytes(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def settings(*values: tuple[int, int]) -> bytes:
    payload = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in values)
    return frame_bytes(SETTINGS, 0, 0, payload)


def ping(payload: bytes = b"12345678", *, ack: bool = False) -> bytes:
    return frame_bytes(PING, ACK if ack else 0, 0, payload)


def goaway(code: int = 0) -> bytes:
    return frame_bytes(GOAWAY, 0, 0, bytes(4) + code.to_bytes(4, "big"))


def update(stream: int, increment: int) -> bytes:
    return frame_bytes(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def priority(stream: int, depends_on: int = 0) -> bytes:
    return frame_bytes(PRIORITY, 0, stream, depends_on.to_bytes(4, "big") + b"\x0f")


BEGUN = PREFACE + settings() + frame_bytes(SETTINGS, ACK, 0, b"")
"""What a client says before its first request, our SETTINGS acknowledged."""


def frames(output: bytes) -> list[Frame]:
    """What a server wrote; all of it must be whole frames."""
    cutter = FrameCutter(2**24)
    cutter.receive_data(output)
    found = []
    while (frame := cutter.next_frame()) is not None:
        found.append(frame)
    assert not cutter.buffered
    return found


def _code(frame: Frame, at: int) -> int:
    return int.from_bytes(frame.raw[at : at + 4], "big")


class Spoken:
    """A codec, what it was told in one go or by bits, and what it made of it.

    `ended` is the code of its GOAWAY, None while it goes on; `resets` the codes by stream.
    """

    def __init__(
        self,
        *pieces: bytes,
        limits: H2Limits | None = None,
        h1: H1Limits | None = None,
        begun: bool = True,
    ) -> None:
        self.now = 0.0
        self.codec = H2Server(limits or H2Limits(), h1 or H1Limits(), 0.0)
        self.events: list[Event] = []
        self.sent: list[Frame] = []
        self.ended: int | None = None
        self.resets: dict[int, int] = {}
        self.say(*([BEGUN] if begun else []), *pieces)

    def say(self, *pieces: bytes) -> None:
        """Tell it more. After its GOAWAY it is told nothing."""
        for piece in pieces:
            if self.ended is not None:
                return
            try:
                self.events += self.codec.receive_data(piece, self.now)
            except H2Error as error:
                self.ended = error.code
            self.hear()

    def hear(self) -> None:
        """Take what it wants to send."""
        found = frames(self.codec.take_output())
        self.sent += found
        for frame in found:
            if frame.kind == RST_STREAM:
                self.resets[frame.stream] = _code(frame, 9)
        if self.ended is not None:
            last = found[-1]
            assert (last.kind, _code(last, 13)) == (GOAWAY, self.ended)

    def of(self, kind: int) -> list[Frame]:
        """Its frames of one kind."""
        return [frame for frame in self.sent if frame.kind == kind]
