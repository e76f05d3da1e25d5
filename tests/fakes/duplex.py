"""Both ends of a connection in memory, with deadlines on the virtual clock.

Implements `kproxy.transport.duplex.Duplex`; `tests/transport/test_duplex.py` holds it to the same
contract as a real link. In two things it is harsher than a kernel, so that faults show:

1. A send waits until the peer has taken every byte (lockstep), so missing backpressure shows.
2. Closing with unread bytes resets the connection, and the reset destroys what the peer has not
   taken yet (RFC 9112 section 9.6), so a missing lingering close shows.

Both ends of a pair are owned by the test.
"""

import math
from collections.abc import Callable

import trio

from kproxy.transport.duplex import Broken, Channel, Expired, Stage
from kproxy.wire.proxy import Peer


class MemoryDuplex:
    """One end. `sent` counts the bytes that the other took; `read_size` is its largest read."""

    protocol = ""  # as of a `Link`

    def __init__(self) -> None:
        self.stall = 60.0
        self.read_size = 65_536
        self.closed = False
        self._sent = 0
        self.other: MemoryDuplex
        self._deadline = math.inf
        self._waits: dict[trio.CancelScope, float] = {}  # and how long each may last at most
        self._gone: Callable[[], None] | None = None
        self._watcher: Callable[[], None] | None = None
        self._inbox = bytearray()
        self._torn = False
        self._ended = False  # by the peer
        self._reset = False  # by the peer
        self._lot = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "ended" if self._ended else "open"
        return f"<MemoryDuplex {state}, {len(self._inbox)} unread>"

    @property
    def deadline(self) -> float:
        return self._deadline

    @deadline.setter
    def deadline(self, when: float) -> None:
        self._deadline = when
        for scope, longest in self._waits.items():
            scope.deadline = min(when, longest)

    @property
    def on_gone(self) -> Callable[[], None] | None:
        return self._gone

    @on_gone.setter
    def on_gone(self, callback: Callable[[], None] | None) -> None:
        if callback is not None and self._ended:
            callback()
        else:
            self._gone = callback

    @property
    def peer_ended(self) -> bool:
        return self._ended

    @property
    def spoken(self) -> bool:
        return False

    @property
    def peer(self) -> Peer:
        return Peer("192.0.2.1", 4_000)

    @property
    def sent(self) -> int:
        return self._sent

    @property
    def torn(self) -> bool:
        return self._torn

    @property
    def unread(self) -> int:
        """Bytes that have come and were not received."""
        return len(self._inbox)

    def watch(self, callback: Callable[[], None] | None) -> None:
        self._watcher = callback

    def _news(self) -> None:
        self._lot.unpark_all()
        if self._watcher is not None:
            self._watcher()

    async def _wait(self, longest: float = math.inf) -> None:
        with trio.CancelScope(deadline=min(self._deadline, longest)) as scope:
            self._waits[scope] = longest
            try:
                await self._lot.park()
            finally:
                del self._waits[scope]
        if scope.cancelled_caught:
            raise Expired(self)

    def receive_nowait(self) -> bytes | None:
        if self.closed:
            raise Broken(self, "closed")
        if self._reset:
            raise Broken(self, "reset by the peer")
        if self._inbox:
            data = bytes(self._inbox[: self.read_size])
            del self._inbox[: len(data)]
            self.other._sent += len(data)
            self.other._lot.unpark_all()
            return data
        return b"" if self._ended else None

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while (data := self.receive_nowait()) is None:
            await self._wait()
        return data

    def send_nowait(self, data: bytes) -> int:
        if self.closed or self.other.closed or self.other._ended:
            raise Broken(self, "closed")
        if self.other._inbox:
            return 0
        self.other._inbox += data
        self.other._news()
        return len(data)

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        try:
            while data:
                data = data[self.send_nowait(data) :]
                await self._taken()
        finally:
            self._torn = bool(data)

    async def _taken(self) -> None:
        while left := self.other.unread:
            if self.closed or self.other.closed:
                raise Broken(self, "closed")
            longest = trio.current_time() + self.stall
            while self.other.unread == left and not (self.closed or self.other.closed):
                await self._wait(longest)
        if self.closed:
            raise Broken(self, "closed")

    async def pump(self, sink: Channel, stage: Stage, gap: float) -> None:
        until = self.deadline
        while not stage.finished:
            self.deadline = min(until, trio.current_time() + gap)
            out = stage.take(await self.receive())
            if out:
                self.deadline = math.inf
                await sink.send_all(out)

    def end(self, *, cut: bool = False) -> bool:
        if self.other._ended:
            return True
        self.other._ended = True
        self.other._news()
        callback, self.other._gone = self.other._gone, None
        if callback is not None:
            callback()
        return True

    def close(self) -> None:
        self._close(reset=bool(self._inbox))

    def reset(self) -> None:
        """Close so that the peer sees a broken connection, whatever was on its way."""
        self._close(reset=True)

    def _close(self, *, reset: bool) -> None:
        if self.closed:
            return
        self.closed = True
        self._gone = self._watcher = None
        if reset:
            self.other._reset = True
            self.other._inbox.clear()
        self._lot.unpark_all()
        self.other._lot.unpark_all()
        self.end()


def duplex_pair() -> tuple[MemoryDuplex, MemoryDuplex]:
    """Two connected ends."""
    left, right = MemoryDuplex(), MemoryDuplex()
    left.other, right.other = right, left
    return left, right
