"""Message bodies: bytes as they came in, payload out; one class for each way a body can end.

A body ends after its last chunk, after a length, or with the connection (RFC 9112 section 6.3).
All three are a `Body`: feed it what was received, and it returns the payload in there. What lies
behind the end is kept in `excess` and is somebody else's.

Chunk framing is where readers differ most, so it is read to the letter: 1 to 16 hexadecimal
digits, CRLF and nothing else, a CRLF exactly where the size said. Extensions and trailers are
checked, counted and dropped: nobody downstream may read them in another way.
"""

import re
from typing import Protocol

from kproxy.wire.events import ProtocolError
from kproxy.wire.fields import check_unfinished, read_fields, split_lines
from kproxy.wire.limits import H1Limits

__all__ = ["Body", "ChunkedBody", "CloseBody", "LengthBody"]

# RFC 9112 section 7.1.1; white space around ";" and "=" must be accepted, not generated.
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t !#-[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_VALUE = rb"(?:" + _TOKEN + rb"|" + _QUOTED + rb")"
_EXTENSION = rb"[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*" + _VALUE + rb")?"
_BEGUN = rb"[ \t]*;[\t -~\x80-\xff]*"  # what may become one
_PLAIN_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:" + _EXTENSION + rb")+)?\r\n")
_SIZE_BEGUN = re.compile(rb"(?:[0-9A-Fa-f]{1,16}(?:" + _BEGUN + rb"|[ \t]*)\r?)?")

_SIZE, _DATA, _DATA_END, _TRAILERS = range(4)  # what is expected next


class Body(Protocol):
    """What is left to read of one message."""

    complete: bool
    excess: bytes
    """Bytes behind the end, once `complete`."""
    verbatim: bool
    """The last data fed were whole chunks and nothing else: they can be forwarded as they came."""

    def feed(self, data: bytes) -> bytes:
        """The payload in `data`. Raises ProtocolError if the framing is broken."""

    def eof(self) -> None:
        """The connection ended. Raises ProtocolError if the body had not."""


class LengthBody:
    """A body of `length` bytes. `status` is the one its errors carry."""

    __slots__ = ("_left", "_status", "complete", "excess", "verbatim")

    def __init__(self, length: int, *, status: int = 400) -> None:
        self._left = length
        self._status = status
        self.complete = length == 0
        self.excess = b""
        self.verbatim = False

    def __repr__(self) -> str:
        return f"<LengthBody {self._left} left>"

    def feed(self, data: bytes) -> bytes:
        """The part of `data` that belongs to the body; nothing is copied until its end."""
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data
        if left == 0:
            self._left = 0
            self.complete = True
            return data
        cut = self._left
        self._left = 0
        self.complete = True
        self.excess += data[cut:]
        return data[:cut]

    def eof(self) -> None:
        """Raises ProtocolError if bytes are missing."""
        if not self.complete:
            raise ProtocolError(self._status, f"The body ended {self._left} bytes early.")


class CloseBody:
    """A response body that ends with its connection. Nobody can tell whether it was cut."""

    __slots__ = ("complete", "excess", "verbatim")

    def __init__(self) -> None:
        self.complete = False
        self.excess = b""
        self.verbatim = False

    def __repr__(self) -> str:
        return f"<CloseBody {'complete' if self.complete else 'open'}>"

    def feed(self, data: bytes) -> bytes:
        """All of `data`."""
        return data

    def eof(self) -> None:
        """The end, by definition."""
        self.complete = True


class ChunkedBody:
    """A body in chunks (RFC 9112 section 7.1). `status` is the one its errors carry.

    At most one unfinished size line, or the trailers, are held; each has its limit.
    """

    __slots__ = (
        "_expected", "_extensions", "_held", "_left", "_limits", "_status", "complete", "excess",
        "verbatim",
    )  # fmt: skip

    def __init__(self, limits: H1Limits, *, status: int = 400) -> None:
        self._limits = limits
        self._status = status
        self._expected = _SIZE
        self._left = 0  # bytes of the present chunk
        self._held = b""
        self._extensions = 0
        self.complete = False
        self.excess = b""
        self.verbatim = False

    def __repr__(self) -> str:
        expected = ("size", "data", "end of data", "trailers")[self._expected]
        return f"<ChunkedBody {'complete' if self.complete else expected}>"

    def feed(self, data: bytes) -> bytes:
        """The payload in `data`. Raises ProtocolError."""
        if self._expected == _SIZE and not self._held:
            match = _PLAIN_SIZE.match(data)
            if match is not None:
                start = match.end()
                end = start + int(match[1], 16)
                if end > start and end + 2 == len(data) and data.endswith(b"\r\n"):
                    self.verbatim = True
                    return data[start:end]
        return self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        self.verbatim = False
        if self.complete:
            self.excess += data
            return b""
        whole = self._expected == _SIZE and not self._held and data != b""
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        at, size = 0, len(data)
        while at < size:
            if self._expected == _DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._expected = _DATA_END
            elif self._expected == _DATA_END:
                end = data[at : at + 2]
                if end == b"\r":
                    self._held = end
                    break
                if end != b"\r\n":
                    raise ProtocolError(self._status, "A chunk is longer than its size.")
                at += 2
                self._expected = _SIZE
            elif self._expected == _SIZE:
                plain, at = self._read_size(data, at)
                whole = whole and plain
            else:
                self._read_trailers(data[at:])
                break
        self.verbatim = whole and self._expected == _SIZE and not self._held
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_size(self, data: bytes, at: int) -> tuple[bool, int]:
        """Take a size line: had it no extension, and where does it end."""
        most = self._limits.chunk_line + 2
        match = _SIZE_LINE.match(data, at, at + most)
        if match is None:
            begun = data[at : at + most]
            if len(begun) == most or _SIZE_BEGUN.fullmatch(begun) is None:
                raise ProtocolError(self._status, "A chunk's size line is malformed or too long.")
            self._held = begun
            return False, len(data)
        if match[2] is not None:
            self._extensions += len(match[2])
            if self._extensions > self._limits.chunk_extensions:
                raise ProtocolError(self._status, "There are too many chunk extensions.")
        self._left = int(match[1], 16)
        self._expected = _DATA if self._left else _TRAILERS
        return match[2] is None, match.end()

    def _read_trailers(self, rest: bytes) -> None:
        most = self._limits.trailers
        end = -2 if rest.startswith(b"\r\n") else rest.find(b"\r\n\r\n", 0, most + 2)
        if end == -1:
            if len(rest) >= most + 2:
                raise ProtocolError(self._status, f"The trailers are over {most} bytes.")
            check_unfinished(rest, 0)
            self._held = rest
            return
        try:
            read_fields(split_lines(rest[: end + 2]), self._limits)
        except ProtocolError as error:
            raise ProtocolError(self._status, error.message) from None
        self.complete = True
        self.excess = rest[end + 4 :]

    def eof(self) -> None:
        """Raises ProtocolError if the last chunk has not come."""
        if not self.complete:
            raise ProtocolError(self._status, "The body ended before its last chunk.")
