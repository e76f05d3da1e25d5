"""What an HTTP/2 connection says that is more than one request, as values; and how much it may say.

The head of a request is the same `RequestHead` as over HTTP/1.1.
"""

from dataclasses import dataclass, field

from kproxy.wire.events import Headers, ProtocolError, RequestHead
from kproxy.wire.h2_floods import FloodLimits

__all__ = [
    "Answered", "Body", "ClientEvent", "Cut", "Event", "Faulty", "H2Limits", "Leaving", "LeftAt",
    "Opened", "Pong", "Refused", "Reset", "Room",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class H2Limits:
    """`streams` open at one time. `window` and `connection_window`: bytes of bodies that may be on
    their way to us, for one stream and for all; both at least 65,535. `header_list`: bytes of a
    request's fields as RFC 9113 section 6.5.2 counts them; None: as over HTTP/1.1."""

    streams: int = 100
    window: int = 262_144
    connection_window: int = 1_048_576
    header_list: int | None = None
    floods: FloodLimits = field(default_factory=FloodLimits)


@dataclass(slots=True)
class Opened:
    """A request. Its body follows unless `ended`."""

    stream: int
    head: RequestHead
    ended: bool


@dataclass(slots=True)
class Refused:
    """A request that is to be answered with this error; its body is not wanted."""

    stream: int
    error: ProtocolError


@dataclass(slots=True)
class Body:
    """A piece of a body, maybe empty. `size` of it is to be acknowledged, padding included."""

    stream: int
    data: bytes
    size: int
    ended: bool


@dataclass(slots=True)
class Reset:
    """The stream is no more: the peer's wish, or ours for a fault of the peer's."""

    stream: int


@dataclass(slots=True)
class Room:
    """More can be sent on that stream; 0: on any."""

    stream: int


@dataclass(slots=True)
class Leaving:
    """The peer will open no stream any more."""


@dataclass(slots=True)
class Answered:
    """The final head of a response, checked. Its body follows unless `ended`."""

    stream: int
    status: int
    headers: Headers
    ended: bool


@dataclass(slots=True)
class Cut:
    """A provider has reset the stream, with this code (RFC 9113 section 7)."""

    stream: int
    code: int


@dataclass(slots=True)
class Faulty:
    """A provider broke the rules of one stream, which we have reset."""

    stream: int
    reason: str


@dataclass(slots=True)
class LeftAt:
    """A provider's GOAWAY: of the streams above `last` it has looked at none."""

    last: int
    code: int


@dataclass(slots=True)
class Pong:
    """The answer to our PING."""


ClientEvent = Answered | Body | Cut | Faulty | LeftAt | Pong | Room
"""What a client hears."""

Event = Opened | Refused | Body | Reset | Room | Leaving
