"""What can be said on an HTTP/1.1 connection, as values; the same vocabulary for every wire."""

import enum
from dataclasses import dataclass, field

__all__ = [
    "Closed",
    "Data",
    "EndOfMessage",
    "Headers",
    "NeedData",
    "ProtocolError",
    "RequestEvent",
    "RequestHead",
    "ResponseHead",
]

Headers = list[tuple[bytes, bytes]]
"""Field lines in order; names lower-case, values without surrounding white space."""


class NeedData(enum.Enum):
    """Nothing more can be read out of what has been received."""

    NEED_DATA = enum.auto()


class Closed(enum.Enum):
    """No further request will come: the peer ended, or its last request was the last one."""

    CLOSED = enum.auto()


@dataclass(slots=True)
class RequestHead:
    """A request's first line and fields, already checked against RFC 9112.

    `target` is the request target as it came, or `*`; an absolute form is turned into the origin
    form, and its authority into the Host field. `content_length` is None for a chunked body and 0
    for no body. `expect_continue` says that the peer waits for a 100 before it sends the body.
    """

    method: bytes
    target: bytes
    headers: Headers
    content_length: int | None
    keep_alive: bool
    expect_continue: bool
    http_10: bool = False
    index: dict[bytes, bytes] | None = field(default=None, repr=False, compare=False)
    """The fields by name, where no name repeats: the scan has it anyway and `get` is hot."""

    def get(self, name: bytes) -> bytes | None:
        """The first field of that lower-case name, or None."""
        return _first(self.headers, name) if self.index is None else self.index.get(name)


@dataclass(slots=True)
class ResponseHead:
    """A provider's status line and fields. Informational (1xx) heads are never reported."""

    status: int
    headers: Headers
    content_length: int | None  # None: chunked, or until the connection ends
    chunked: bool
    keep_alive: bool
    index: dict[bytes, bytes] | None = field(default=None, repr=False, compare=False)

    def get(self, name: bytes) -> bytes | None:
        """The first field of that lower-case name, or None."""
        return _first(self.headers, name) if self.index is None else self.index.get(name)


@dataclass(slots=True)
class Data:
    """A piece of a message body, framing removed."""

    data: bytes


class EndOfMessage(enum.Enum):
    """The body, trailers included, has been read to its end."""

    END = enum.auto()


RequestEvent = RequestHead | Data | EndOfMessage | NeedData | Closed


class ProtocolError(Exception):
    """The peer broke the protocol. `status` is what a server answers (RFC 9110 section 15)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def _first(headers: Headers, name: bytes) -> bytes | None:
    for key, value in headers:
        if key == name:
            return value
    return None
