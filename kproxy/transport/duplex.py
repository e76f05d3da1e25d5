"""The small interface through which every room sees a socket.

Two things implement it: `Link` over a real socket, and the in-memory pair of the tests. Whatever
engine carries bytes faster (house plan 4.2b) is a change behind this interface. A `Channel` is the
part of it that an exchange needs of its caller; a stream of HTTP/2 is one as well. A `Carrier` is
the part that a request to a provider needs, and a stream of HTTP/2 to a provider is one of those.
"""

from collections.abc import Callable
from typing import Protocol

from kproxy.errors import FaultKind
from kproxy.wire.proxy import Peer

__all__ = ["Broken", "Carrier", "Channel", "Duplex", "Expired", "Stage"]


class Broken(Exception):
    """The connection of `link` is gone: reset by the peer, or closed by us.

    `kind`: what that is for an attempt at a provider. `untouched`: the peer has not looked at what
    was sent there, and it may be sent elsewhere.
    """

    def __init__(
        self,
        link: "Channel | Carrier",
        reason: str,
        kind: FaultKind = FaultKind.RESET,
        *,
        untouched: bool = False,
    ) -> None:
        super().__init__(reason)
        self.link = link
        self.kind = kind
        self.untouched = untouched


class Expired(Exception):
    """A deadline passed while waiting on `link`."""

    def __init__(self, link: "Channel | Carrier") -> None:
        super().__init__("deadline passed")
        self.link = link


class Stage(Protocol):
    """What a relay does with bytes on their way; synchronous, so that it costs no task switch."""

    finished: bool
    """Set by `take` when nothing more shall be read from the source."""

    def take(self, data: bytes) -> bytes:
        """Bytes from the source (b"": its end) to bytes for the sink (b"": none).

        What it raises ends the relay and reaches the task that runs it.
        """
        ...


class Channel(Protocol):
    """Bytes from and to one peer, owned by one task."""

    deadline: float
    """Absolute time (trio's clock, seconds) at which a waiting receive or send raises Expired."""

    on_gone: Callable[[], None] | None
    """Called once when the peer ends its side or the connection breaks, unread bytes or not."""

    @property
    def peer(self) -> Peer:
        """Whose connection it is."""
        ...

    @property
    def sent(self) -> int:
        """Bytes that were handed over so far."""
        ...

    @property
    def torn(self) -> bool:
        """Whether a send or a pump towards here has ended with bytes left over: what follows them
        would be taken for something else."""
        ...

    async def receive(self) -> bytes:
        """Some bytes; b"" at the end of the peer's stream. Raises Broken, Expired."""
        ...

    def receive_nowait(self) -> bytes | None:
        """Like `receive`, but None where it would wait."""
        ...

    async def send_all(self, data: bytes) -> None:
        """Hand all of `data` to the kernel, waiting while the peer is slow.

        Raises Broken, and Expired after `stall` seconds without progress or at the deadline.
        """
        ...

    def send_nowait(self, data: bytes) -> int:
        """How many bytes of `data` could be handed over without waiting. Raises Broken.

        Those that could not come first in whatever is sent next.
        """
        ...


class Carrier(Protocol):
    """What carries one request to a provider, and its answer back; owned by one task."""

    deadline: float
    """See `Channel`."""

    on_gone: Callable[[], None] | None
    """See `Channel`."""

    @property
    def peer_ended(self) -> bool:
        """Whether the peer has already ended its side, as far as we have heard."""
        ...

    @property
    def spoken(self) -> bool:
        """Whether the peer has spoken since the request, also where nothing of it can be received:
        what ends then is no connection that was closed before."""
        ...

    async def send_all(self, data: bytes) -> None:
        """See `Channel.send_all`. A whole request is sent at once."""
        ...

    async def receive(self) -> bytes:
        """See `Channel.receive`."""
        ...

    def receive_nowait(self) -> bytes | None:
        """See `Channel.receive_nowait`."""
        ...

    async def pump(self, sink: "Channel", stage: Stage, gap: float) -> None:
        """Receive, `stage.take`, send to `sink`, until the stage is finished.

        `gap` is the longest silence in seconds; this link's deadline at the call bounds the whole.
        Raises what the stage raises, and Broken and Expired whose `link` says which side it was.
        """
        ...

    def watch(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` whenever bytes or an end may be there to read (None: stop)."""
        ...

    def close(self) -> None:
        """Close at once, whatever is unsent; idempotent."""
        ...


class Duplex(Channel, Carrier, Protocol):
    """One connected stream of bytes in each direction, owned by one task."""

    @property
    def protocol(self) -> str:
        """What TLS has negotiated by ALPN (RFC 7301), as `h2`; empty where nothing was."""
        ...

    def end(self, *, cut: bool = False) -> bool:
        """Say that nothing more will be sent, and go on receiving; idempotent.

        `cut`: what was sent is not whole, and over TLS nothing may say otherwise. False while a
        word of TLS waits for room; it is sent when there is some. What TLS receives after an end is
        good for nothing but to wait for the peer's.
        """
        ...
