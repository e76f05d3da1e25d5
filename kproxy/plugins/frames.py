"""A message in, length-framed JSON bytes out, and back, on both sides of a sandbox's pipe.

1. A frame is four bytes of length, big-endian, then that many bytes of JSON: an object.
2. A length over the bound is refused before a byte of it is kept.
3. Text that is no Unicode (a lone surrogate) is written with `?` in its place: strict readers
   refuse it.

Standard library alone: the child has no other.
"""

import json
import struct
from collections.abc import Callable
from typing import Any

__all__ = ["FRAME_LIMIT", "FrameError", "FrameReader", "clean", "pack", "read_frame"]

# Of one frame, in bytes. Six times the largest text (JSON writes a character as up to six bytes,
# and an end holds three texts of 64 KiB by default), and room to configure more.
FRAME_LIMIT = 8 << 20

_HEAD = struct.Struct(">I")


class FrameError(Exception):
    """What came is no frame."""


def pack(message: dict[str, Any]) -> bytes:
    """One frame. Raises FrameError when it would be over the bound."""
    body = json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    if len(body) > FRAME_LIMIT:
        raise FrameError(f"a frame of {len(body)} bytes is over {FRAME_LIMIT}")
    return _HEAD.pack(len(body)) + body


def clean(text: str) -> str:
    """The text with a `?` for each lone surrogate."""
    return text.encode("utf-8", "replace").decode("utf-8")


def read_frame(read: Callable[[int], bytes]) -> dict[str, Any] | None:
    """The next message from a blocking `read(n)` that gives at most n bytes; None at the end.

    Raises FrameError for a frame over the bound, cut, or without an object in it.
    """
    head = _exactly(read, _HEAD.size)
    if not head:
        return None
    (length,) = _HEAD.unpack(head)
    if length > FRAME_LIMIT:
        raise FrameError(f"a frame of {length} bytes is over {FRAME_LIMIT}")
    body = _exactly(read, length)
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FrameError("a frame that is no JSON") from error
    if not isinstance(message, dict):
        raise FrameError("a frame without an object in it")
    return message


def _exactly(read: Callable[[int], bytes], length: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < length:
        piece = read(length - len(pieces))
        if not piece:
            if pieces:
                raise FrameError("the pipe ended inside a frame")
            return b""
        pieces += piece
    return bytes(pieces)


class FrameReader:
    """Frames out of a stream of bytes that is cut anywhere; bodies are not decoded here."""

    def __init__(self, limit: int = FRAME_LIMIT) -> None:
        self._limit = limit
        self._held = bytearray()

    def receive(self, data: bytes) -> list[bytes]:
        """The bodies that `data` completes. Raises FrameError for one over the bound."""
        self._held += data
        bodies = []
        while len(self._held) >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._held)
            if length > self._limit:
                raise FrameError(f"a frame of {length} bytes is over {self._limit}")
            end = _HEAD.size + length
            if len(self._held) < end:
                break
            bodies.append(bytes(self._held[_HEAD.size : end]))
            del self._held[:end]
        return bodies
