"""An answer that faults may still change, and how it is framed in the end: parts in, bytes out.

`play.py` makes a `Show` when a fault is asked for, `edits.py` changes it, `framed` turns it into
bytes for the socket (RFC 9112 sections 6 and 7). What a wire has to offer is declared here as well.
Pure: times are seconds after the request's arrival.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from kproxy.errors import Rejected
from kproxy.sim.asked import Asked
from kproxy.sim.script import Script

__all__ = [
    "EVENTS", "JSON", "Beat", "Ending", "Framing", "Part", "Parts", "Play", "Rendered", "Show",
    "Wire", "chunk", "framed", "head", "ident_line",
]  # fmt: skip

JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"

_REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 408: b"Request Timeout", 413: b"Content Too Large",
    422: b"Unprocessable Content", 429: b"Too Many Requests",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 529: b"Overloaded",
}  # fmt: skip

Beat = tuple[float, bytes]
"""Seconds after the request's arrival, and bytes for the socket."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The parts of one stream. Every part is whole events, ready to be framed.

    preamble: what comes before the first token. tokens: one element for each of the script's
    tokens, made when it is taken. finish: the finish reason. usage: b"" where none is sent.
    done: the end marker. empty: an event that carries no token. comment: what keeps a connection
    alive and says nothing.
    """

    preamble: bytes
    tokens: Iterator[bytes]
    finish: bytes
    usage: bytes
    done: bytes
    empty: bytes
    comment: bytes


class Wire(Protocol):
    """What a wire's module offers; `openai` and `anthropic` are the two."""

    @property
    def ID_FIELD(self) -> bytes: ...  # noqa: N802
    def read(self, body: bytes, root: bytes) -> Asked: ...
    def reply(self, script: Script, asked: Asked, usage: bool) -> bytes: ...
    def render(self, script: Script, asked: Asked, usage: bool) -> Rendered: ...
    def problem(self, error: Rejected, ident: str) -> bytes: ...
    def error_event(self, ident: str) -> bytes: ...


class Ending(enum.Enum):
    """What happens to the connection after the last byte."""

    KEEP = enum.auto()
    CLOSE = enum.auto()
    RESET = enum.auto()
    HANG = enum.auto()  # stay silent until the caller leaves


class Play(NamedTuple):
    """The bytes of one answer, made as they are taken. Times never fall."""

    beats: Iterator[Beat]
    ending: Ending


class Part(enum.Enum):
    """What a piece of an unframed answer is."""

    PREAMBLE = enum.auto()
    TOKEN = enum.auto()
    FINISH = enum.auto()
    USAGE = enum.auto()
    DONE = enum.auto()
    EXTRA = enum.auto()  # something a fault has put in
    WHOLE = enum.auto()  # a JSON body
    RAW = enum.auto()  # goes out as it is, without a frame


class Framing(enum.Enum):
    """How the caller learns where the body ends."""

    LENGTH = enum.auto()
    CHUNKED = enum.auto()
    OPEN = enum.auto()  # with the connection


Parts = Iterator[tuple[float, Part, bytes]]


@dataclass(slots=True)
class Show:
    """An answer that is not framed yet.

    rendered: None where the answer is one JSON body. before: bytes in front of the head. head_gap:
    seconds between single bytes of the head, 0 for all at once. silent: nothing at all is sent.
    """

    asked: Asked
    script: Script
    wire: Wire
    rendered: Rendered | None
    parts: Parts
    framing: Framing
    content_type: bytes
    head_at: float
    status: int = 200
    fields: bytes = b""
    before: bytes = b""
    silent: bool = False
    head_gap: float = 0.0
    length_error: int = 0
    unended: bool = False  # leave the end of a chunked body out
    ending: Ending = Ending.KEEP


def head(status: int, content_type: bytes, fields: bytes) -> bytes:
    """A response head; `fields` are whole lines, framing included."""
    return b"HTTP/1.1 %d %b\r\nserver: kproxy-sim\r\ncontent-type: %b\r\n%b\r\n" % (
        status,
        _REASONS.get(status, b"Status"),
        content_type,
        fields,
    )


def ident_line(wire: Wire, ident: str) -> bytes:
    """The field that names the request."""
    return b"%b: req_%b\r\n" % (wire.ID_FIELD, ident.encode())


def chunk(data: bytes) -> bytes:
    """One chunk; nothing for no data, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def framed(show: Show) -> Iterator[Beat]:
    """The show as bytes for the socket."""
    if show.silent:
        return
    parts = show.parts
    lines = show.fields + ident_line(show.wire, show.script.ident)
    chunked = show.framing is Framing.CHUNKED
    if chunked:
        lines = b"transfer-encoding: chunked\r\n" + lines
    elif show.framing is Framing.LENGTH:
        known = list(parts)
        length = sum([len(data) for _, part, data in known if part is not Part.RAW])
        lines = b"content-length: %d\r\n" % max(0, length + show.length_error) + lines
        parts = iter(known)
    if show.framing is Framing.OPEN:
        lines += b"connection: close\r\n"
    start = show.before + head(show.status, show.content_type, lines)
    now = show.head_at
    if show.head_gap:
        for number in range(len(start)):
            yield now, start[number : number + 1]
            now += show.head_gap
    else:
        yield now, start
    for at, part, data in parts:
        now = max(now, at)
        if data:
            yield now, chunk(data) if chunked and part is not Part.RAW else data
    if chunked and not show.unended:
        yield now, b"0\r\n\r\n"
