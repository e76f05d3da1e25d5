"""One non-blocking socket in the hub: receive, send and relay without a scope or a task per chunk.

Problem: readiness is edge triggered (see hub.py), so a wake-up that is not consumed never comes
again. And a relay must stop reading while its caller is slow, notice a caller that leaves although
nobody reads from it, and keep a deadline on every wait, all without a task switch per chunk.

The obvious way is two tasks and a memory channel per stream, with `move_on_after` around each read:
some 130 us a chunk. Our way:

1. *Try first, wait second.* A task parks only after a system call said "would block", or after a
   read that emptied the socket with no edge since. An edge that arrives while nobody is parked is
   remembered in one flag.
2. *A short read means empty*, except that an end of stream may hide behind it: the edge carries
   both at once. So after the peer has ended, reading goes on until the empty read. On TLS a short
   read means nothing, and more besides: see secure.py.
3. *`pump` parks the owner* and lets the source's edges call `stage.take` and send the result. When
   the sink is full the rest is kept, reading stops, and the sink's next writable edge continues.
   Cancelling the owner detaches the callbacks in the same instant.
4. *Deadlines are one timer per link* (see waitable.py), moved for every wait. A wait towards a slow
   reader is bounded by `stall` seconds without progress besides.

What we do not do: read ahead, buffer more than the one piece that the sink did not take, or close
politely. `close` is immediate.
"""

import contextlib
import socket
import struct
from collections.abc import Callable
from typing import cast

import trio

from kproxy.transport.duplex import Broken, Channel, Expired, Stage
from kproxy.transport.hub import GONE, READABLE, WRITABLE, Hub
from kproxy.transport.pump import RECEIVE_SIZE, Pump, Sink
from kproxy.transport.waitable import Waitable
from kproxy.wire.proxy import NOBODY

__all__ = ["Link"]

STALL = 60.0
"""Seconds a peer may take no byte before a send gives up (reliability limits, slow reader)."""

FAIRNESS = 32
"""Operations that succeed at once before the task yields, so that no fast peer starves others."""


class Link(Waitable):
    """A connected socket. The task that calls `receive` and `send_all` owns it.

    `peer`: of an accepted connection, whose it is. `protocol`: what TLS negotiated by ALPN (RFC
    7301), as `h2`; empty where nothing was.
    """

    __slots__ = (
        "_busy", "_fd", "_inflow", "_outflow", "_sock", "_torn", "_watcher", "hub", "peer",
        "protocol", "readable", "recv", "send", "sent", "stall",
    )  # fmt: skip

    def __init__(self, hub: Hub, sock: socket.socket) -> None:
        super().__init__(hub.timers)
        sock.setblocking(False)
        self.hub = hub
        self.recv = sock.recv  # bound once: the hot path calls them for every chunk
        self.send = sock.send
        self._sock = sock
        self._fd = sock.fileno()
        self.peer = NOBODY
        self.protocol = ""
        self._outflow: Pump | None = None  # the relay that reads here
        self._inflow: Pump | None = None  # the relay that writes here
        self._watcher: Callable[[], None] | None = None
        self.readable = True  # there may be bytes: an edge came, and no read has emptied it
        self._busy = 0
        self.stall = STALL
        self._torn = False
        self.sent = 0  # bytes that the kernel took
        hub.register(self._fd, self._edge)

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else "ended" if self._left else "open"
        return f"<Link fd={self._fd} {state}>"

    @property
    def peer_ended(self) -> bool:
        """Whether the peer has ended its side, as far as the hub has heard."""
        return self._left

    @property
    def spoken(self) -> bool:
        """See `Carrier.spoken`: whatever is said here can be received."""
        return False

    @property
    def torn(self) -> bool:
        """Whether bytes are left over from a send that has ended, see `Duplex.torn`."""
        return self._torn

    # --- the hub's side

    def _edge(self, mask: int) -> None:
        if mask & GONE:
            self._left = True
        if mask & (READABLE | GONE):
            self.readable = True
            if self._outflow is not None:
                self._outflow.source_ready()
            elif self._reader is not None:
                self._wake_reader()
            elif self._watcher is not None:
                self._watcher()
            elif self._blind and self._gone is not None:
                self._look_ahead()
        if self._inflow is not None:
            if mask & (WRITABLE | GONE):
                self._inflow.sink_ready()
        elif self._writer is not None and mask & (WRITABLE | GONE):
            self._wake_writer()
        if mask & GONE:
            self._tell_gone()

    def _expire(self) -> None:
        super()._expire()
        if self._outflow is not None:
            self._outflow.source_expired()
        if self._inflow is not None:
            self._inflow.fail(Expired(self))

    # --- the owner's side

    def receive_nowait(self) -> bytes | None:
        """Some bytes, b"" at the end of the stream, None where it would wait. Raises Broken."""
        try:
            data = self.recv(RECEIVE_SIZE)
        except BlockingIOError:
            self.readable = False
            return None
        except OSError as error:
            raise Broken(self, str(error)) from None
        self.readable = len(data) == RECEIVE_SIZE or self._left
        return data

    def send_nowait(self, data: bytes | memoryview) -> int:
        """How many bytes the kernel took; 0 where it would wait. Raises Broken."""
        try:
            sent = self.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Broken(self, str(error)) from None
        self.sent += sent
        return sent

    async def receive(self) -> bytes:
        """Some bytes; b"" at the end of the peer's stream. Raises Broken, Expired."""
        while not self.readable or (data := self.receive_nowait()) is None:
            self._busy = 0
            await self.wait_readable()
        self._busy += 1
        if self._busy >= FAIRNESS:
            await self._be_fair()
        return data

    async def send_all(self, data: bytes) -> None:
        """Hand over all of `data`. Raises Broken, and Expired where the peer takes nothing."""
        sent = self.send_nowait(data)
        if sent == len(data):
            self._busy += 1
            if self._busy >= FAIRNESS:
                await self._be_fair()
            return
        rest = memoryview(data)[sent:]
        outer = self._when
        sent = 1
        try:
            while rest:
                if sent:  # else it was woken for nothing
                    self.deadline = min(outer, trio.current_time() + self.stall)
                await self.wait_writable()
                if self._late:  # though there were room: a slow reader would put it off for ever
                    raise Expired(self)
                sent = self.send_nowait(rest)
                rest = rest[sent:]
        finally:
            self.deadline = outer
            self._torn = bool(rest)

    async def _be_fair(self) -> None:
        self._busy = 0
        await trio.lowlevel.checkpoint()

    async def pump(self, sink: Channel, stage: Stage, gap: float) -> None:
        """Relay to `sink`, a `pump.Sink`, until the stage is finished; see `Duplex.pump`."""
        await Pump(self, cast("Sink", sink), stage, gap).run()

    def flow_out(self, pump: Pump | None) -> None:
        """For Pump: it reads here; edges and deadline are its own (None: the owner's again)."""
        self._outflow = pump

    def flow_in(self, pump: Pump | None, *, torn: bool = False) -> None:
        """For Pump: it writes here, likewise; and whether it has left something over."""
        self._inflow = pump
        self._torn = torn

    def watch(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` on every edge that may bring bytes or the end (None: stop)."""
        self._watcher = callback

    # --- the end

    def end(self, *, cut: bool = False) -> bool:
        """Say that nothing more will be sent, and go on receiving; see `Duplex.end`."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        return True

    def release(self) -> socket.socket:
        """Take the socket out of the hub, open; this link is as good as closed."""
        self.hub.unregister(self._fd)
        self._fd = -1
        self._timer.cancel()
        return self._sock

    def reset(self) -> None:
        """Close with a RST, so that the peer sees a broken connection."""
        if self._fd >= 0:
            linger = struct.pack("ii", 1, 0)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()

    def close(self) -> None:
        """Close at once; whoever waits on this link gets Broken. Idempotent."""
        if self._fd < 0:
            return
        self.hub.unregister(self._fd)
        self._fd = -1
        self._timer.cancel()
        self._gone = self._watcher = None
        self.readable = True  # whoever waits finds out
        self._sock.close()
        for pump in (self._outflow, self._inflow):
            if pump is not None:
                pump.fail(Broken(self, "closed"))
        self._wake()
