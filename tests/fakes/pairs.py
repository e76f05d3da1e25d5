"""Connected pairs of everything that implements `Duplex`, for tests of what is promised to all.

A socket pair never leaves the kernel's memory: what one end wrote, the other can read at once, so
the virtual clock is exact for it as well.
"""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from kproxy.transport.duplex import Duplex
from kproxy.transport.hub import Hub
from kproxy.transport.link import Link
from tests.fakes.duplex import duplex_pair

__all__ = ["Copy", "Pair", "everything", "links", "memory"]

Pair = tuple[Duplex, Duplex]


@asynccontextmanager
async def memory() -> AsyncIterator[Callable[[], Pair]]:
    """Pairs of fakes."""
    yield duplex_pair


@asynccontextmanager
async def links() -> AsyncIterator[Callable[[], Pair]]:
    """Pairs of links in one running hub."""
    hub = Hub()
    made: list[Link] = []

    def pair() -> Pair:
        left, right = (Link(hub, one) for one in socket.socketpair())
        made.extend((left, right))
        return left, right

    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        try:
            yield pair
        finally:
            for link in made:
                link.close()
            nursery.cancel_scope.cancel()
    assert hub.statistics().sockets == 0
    hub.close()


class Copy:
    """A stage that passes everything and finishes with the source, or after `last`."""

    def __init__(self, last: bytes = b"") -> None:
        self.finished = False
        self._last = last

    def take(self, data: bytes) -> bytes:
        self.finished = not data or data == self._last
        return data


async def everything(end: Duplex, into: bytearray) -> None:
    while data := await end.receive():
        into += data
