"""One stream of an HTTP/2 connection as a `Channel`: a request's body in, a response's body out.

It looks like a socket whose buffer is the window that the peer has left open, so that whatever is
sent there waits as it would for a slow socket, and a relay may end in it (`transport/pump.py`).
Nothing is kept but the pieces of the body that were received and not taken: the window for them
opens again when they are.

What it does not know: frames, and other streams. Those are the connection's, its `Trunk`.
"""

import math
from collections import deque
from typing import Protocol

import trio

from kproxy.transport.duplex import Broken, Expired
from kproxy.transport.pump import Pump
from kproxy.transport.timers import Timers
from kproxy.transport.waitable import Waitable
from kproxy.wire.proxy import Peer

__all__ = ["H2Stream", "Trunk"]


class Trunk(Protocol):
    """What a stream asks of its connection. None of it waits, or raises."""

    timers: Timers
    peer: Peer

    def offer(self, stream: int, data: bytes | memoryview) -> int:
        """Send as much as there is room for; how many bytes that was."""
        ...

    def await_room(self, stream: "H2Stream") -> None:
        """Call `has_room` once, when there may be more of it."""

    def used(self, stream: int, size: int) -> None:
        """Bytes of a body were taken."""


class H2Stream(Waitable):
    """See the module. `stall`: seconds that the peer may leave no room at all."""

    __slots__ = (
        "_ended", "_inbox", "_inflow", "_lost", "_rest", "_trunk", "_until", "id", "peer", "sent",
        "stall", "torn",
    )  # fmt: skip

    def __init__(self, trunk: Trunk, number: int, stall: float) -> None:
        super().__init__(trunk.timers)
        self.id = number
        self.stall = stall
        self.peer = trunk.peer
        self.sent = 0  # bytes of a body
        self.torn = False
        self._trunk = trunk
        self._inbox: deque[tuple[bytes, int]] = deque()
        self._ended = False  # the request is whole
        self._lost = ""  # why the stream is no more
        self._inflow: Pump | None = None  # the relay that ends here
        self._rest = memoryview(b"")  # of what `send_all` sends
        self._until = math.inf  # the deadline of that, whatever the progress

    def __repr__(self) -> str:
        return f"<H2Stream {self.id} {self._lost or ('answering' if self._ended else 'open')}>"

    # --- the connection's side

    def receive_piece(self, data: bytes, size: int, *, ended: bool) -> None:
        """A piece of the body; `size` of the window is taken up by it."""
        if data:
            self._inbox.append((data, size))
        elif size:
            self._trunk.used(self.id, size)
        self._ended = self._ended or ended
        self._wake_reader()

    def lose(self, reason: str) -> None:
        """The stream is no more; idempotent."""
        if self._lost:
            return
        self._lost = reason
        self._left = True
        self._tell_gone()
        if self._inflow is not None:
            self._inflow.fail(Broken(self, reason))
        self._wake()

    def has_room(self) -> None:
        """The peer takes more, maybe. It is sent here, and not by the task that waits, so that
        streams get room in the order in which they asked for it."""
        if self._inflow is not None:
            self._inflow.sink_ready()
        elif self._rest and not self._lost:
            sent = self.send_nowait(self._rest)
            self._rest = self._rest[sent:]
            if not self._rest:
                self._wake_writer()
            elif sent:
                self._move_stall()

    def _expire(self) -> None:
        super()._expire()
        if self._inflow is not None:
            self._inflow.fail(Expired(self))

    # --- the owner's side

    def check(self) -> None:
        """Raises Broken where the stream is no more."""
        if self._lost:
            raise Broken(self, self._lost)

    def receive_nowait(self) -> bytes | None:
        """See `Channel.receive_nowait`. The window opens by what is taken."""
        self.check()
        if self._inbox:
            data, size = self._inbox.popleft()
            self._trunk.used(self.id, size)
            return data
        return b"" if self._ended else None

    async def receive(self) -> bytes:
        """See `Channel.receive`."""
        await trio.lowlevel.checkpoint()
        while (data := self.receive_nowait()) is None:
            await self.wait_readable()
        return data

    def send_nowait(self, data: bytes | memoryview) -> int:
        """See `Channel.send_nowait`."""
        self.check()
        sent = self._trunk.offer(self.id, data)
        self.sent += sent
        if sent < len(data):
            self._trunk.await_room(self)
        return sent

    async def send_all(self, data: bytes) -> None:
        """See `Channel.send_all`."""
        await trio.lowlevel.checkpoint()
        self._rest = memoryview(data)[self.send_nowait(data) :]
        self._until = self._when
        try:
            if self._rest:
                self._move_stall()
            while self._rest:
                await self.wait_writable()
                self.check()
        finally:
            self.torn = bool(self._rest)
            self._rest = memoryview(b"")
            self.deadline = self._until

    def _move_stall(self) -> None:
        self.deadline = min(self._until, trio.current_time() + self.stall)

    def flow_in(self, pump: Pump | None, *, torn: bool = False) -> None:
        """See `pump.Sink`."""
        self._inflow = pump
        self.torn = torn

    def close(self) -> None:
        """The owner is done: what was received is nobody's."""
        self._timer.cancel()
        while self._inbox:
            self._trunk.used(self.id, self._inbox.popleft()[1])
