"""What was said on a connection and waits for the link: bytes in, at any time and from anybody;
the link takes them in order.

The link is tried at once. What it does not take is kept in one buffer, and one task, `run`, waits
for the link with it. `eased` is called whenever some of it was taken.
"""

from collections.abc import Callable

import trio

from kproxy.transport.duplex import Duplex

__all__ = ["PIECE", "Outlet"]

PIECE = 16_384
"""Bytes sent at once while others wait: who takes so many in `stall` seconds is slow, not stuck."""


class Outlet:
    """See the module. The link is its owner's to close."""

    __slots__ = ("_buffer", "_eased", "_less", "_link", "_more", "_running")

    def __init__(self, link: Duplex, eased: Callable[[], None]) -> None:
        self._link = link
        self._eased = eased
        self._buffer = bytearray()
        self._running = False  # `run` has bytes of its own
        self._more = trio.Event()  # for `run`
        self._less = trio.Event()  # for `ease`

    def __len__(self) -> int:
        return len(self._buffer)

    def send(self, data: bytes) -> None:
        """Hand over what the link takes, keep the rest. Raises Broken, and forgets all then."""
        self._buffer += data
        if self._running or not self._buffer:
            return
        try:
            sent = self._link.send_nowait(bytes(self._buffer))
        except BaseException:
            self._buffer.clear()
            raise
        del self._buffer[:sent]
        if self._buffer:
            self._more.set()

    async def run(self) -> None:
        """Wait for the link with what it did not take. Raises Broken, Expired."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            self._running = True
            try:
                while self._buffer:
                    piece = bytes(self._buffer[:PIECE])
                    await self._link.send_all(piece)
                    del self._buffer[: len(piece)]  # more may have come behind it
                    self._less.set()
                    self._eased()
                self._eased()  # `send` may have been faster
            finally:
                self._running = False

    async def ease(self, size: int) -> None:
        """Until no more than `size` bytes wait."""
        while len(self._buffer) > size:
            self._less = trio.Event()
            await self._less.wait()
