"""HTTP/2 frames, cut apart: received bytes in, whole frames out (RFC 9113 section 4.1).

The engine would do this as well, but it buffers before it judges, and counts nothing. Cut here, a
frame can be refused by its header, counted before it costs anything, and blamed for what it causes.
"""

from typing import NamedTuple

__all__ = [
    "ACK", "CONTINUATION", "DATA", "END_HEADERS", "END_STREAM", "GOAWAY", "HEADERS", "PING",
    "PREFACE", "PRIORITY", "PUSH_PROMISE", "RST_STREAM", "SETTINGS", "WINDOW_UPDATE", "Code",
    "Frame", "FrameCutter", "H2Error", "frame_bytes",
]  # fmt: skip

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first (RFC 9113 section 3.4)."""

(
    DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE,
    CONTINUATION,
) = range(10)  # fmt: skip

END_STREAM = ACK = 0x1
END_HEADERS = 0x4

HEAD = 9


class Code:
    """Error codes (RFC 9113 section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class H2Error(Exception):
    """The connection cannot go on: `code` is what the peer is told."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Frame(NamedTuple):
    """One frame. `raw` is all of it; `size` is its payload's."""

    kind: int
    flags: int
    stream: int
    size: int
    raw: bytes


class FrameCutter:
    """All frames of one connection, in order. `largest` bounds a payload in bytes."""

    __slots__ = ("_buffer", "_largest")

    def __init__(self, largest: int) -> None:
        self._buffer = bytearray()
        self._largest = largest

    @property
    def buffered(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._buffer)

    @property
    def begun(self) -> int | None:
        """The kind of the frame that is not whole yet; None: there is none, or nobody knows."""
        return self._buffer[3] if len(self._buffer) > 3 else None

    def receive_data(self, data: bytes) -> None:
        """Take what came; with `next_frame` called until None, less than one frame is kept."""
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """The next whole frame. Raises H2Error(FRAME_SIZE_ERROR), before the payload is there."""
        buffer = self._buffer
        if len(buffer) < HEAD:
            return None
        size = int.from_bytes(buffer[:3], "big")
        if size > self._largest:
            raise H2Error(Code.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
        if len(buffer) < HEAD + size:
            return None
        raw = bytes(buffer[: HEAD + size])
        del buffer[: HEAD + size]
        stream = int.from_bytes(raw[5:9], "big") & 0x7FFF_FFFF
        return Frame(raw[3], raw[4], stream, size, raw)


def frame_bytes(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame, written."""
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )
