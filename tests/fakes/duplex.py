"""Both ends of a connection in memory, with deadlines on the virtual clock.

A send waits until the peer has taken every byte (lockstep), so that missing backpressure shows.
Implements `kproxy.transport.duplex.Duplex`; both ends of a pair are owned by the test.
"""

import math
from collections.abc import Callable

import trio

from kproxy.transport.duplex import Broken, Duplex, Expired, Stage


class MemoryDuplex:
    """One end. `sent` counts the bytes that the peer has taken from it."""

    def __init__(self) -> None:
        self.deadline = math.inf
        self.stall = 60.0
        self.closed = False
        self.sent = 0
        self.peer: MemoryDuplex
        self._gone: Callable[[], None] | None = None
        self._watcher: Callable[[], None] | None = None
        self._inbox = bytearray()
        self._ended = False  # by the peer
        self._lot = trio.lowlevel.ParkingLot()

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

    def watch(self, callback: Callable[[], None] | None) -> None:
        self._watcher = callback

    def _news(self) -> None:
        self._lot.unpark_all()
        if self._watcher is not None:
            self._watcher()

    async def _wait(self, until: float) -> None:
        with trio.CancelScope(deadline=until) as scope:
            await self._lot.park()
        if scope.cancelled_caught:
            raise Expired(self)

    def receive_nowait(self) -> bytes | None:
        if self.closed:
            raise Broken(self, "closed")
        if self._inbox:
            data = bytes(self._inbox)
            self._inbox.clear()
            self.peer.sent += len(data)
            self.peer._lot.unpark_all()
            return data
        return b"" if self._ended else None

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while (data := self.receive_nowait()) is None:
            await self._wait(self.deadline)
        return data

    def send_nowait(self, data: bytes) -> int:
        if self.closed or self.peer.closed:
            raise Broken(self, "closed")
        if self.peer._inbox:
            return 0
        self.peer._inbox += data
        self.peer._news()
        return len(data)

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        while data:
            data = data[self.send_nowait(data) :]
            while self.peer._inbox and not self.closed and not self.peer.closed:
                await self._wait(min(self.deadline, trio.current_time() + self.stall))

    async def pump(self, sink: Duplex, stage: Stage, gap: float) -> None:
        until = self.deadline
        while not stage.finished:
            self.deadline = min(until, trio.current_time() + gap)
            out = stage.take(await self.receive())
            if out:
                await sink.send_all(out)

    def end(self) -> None:
        if not self.peer._ended:
            self.peer._ended = True
            self.peer._news()
            callback, self.peer._gone = self.peer._gone, None
            if callback is not None:
                callback()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._lot.unpark_all()
            self.peer._lot.unpark_all()
            self.end()

    reset = close


def duplex_pair() -> tuple[MemoryDuplex, MemoryDuplex]:
    """Two connected ends."""
    left, right = MemoryDuplex(), MemoryDuplex()
    left.peer, right.peer = right, left
    return left, right
