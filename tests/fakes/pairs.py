"""Connected pairs of everything that implements `Duplex`, for tests of what is promised to all.

A socket pair never leaves the kernel's memory: what one end wrote, the other can read at once, so
the virtual clock is exact for it as well.
"""

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
import trustme

from kproxy.transport.duplex import Duplex
from kproxy.transport.hub import Hub
from kproxy.transport.link import Link
from kproxy.transport.secure import SecureLink
from tests.fakes.duplex import duplex_pair
from tests.fakes.tls import client_context, server_context

__all__ = ["Copy", "Pair", "everything", "links", "memory", "secure"]

Pair = tuple[Duplex, Duplex]


@asynccontextmanager
async def memory() -> AsyncIterator[Callable[[], Pair]]:
    """Pairs of fakes."""
    yield duplex_pair


@asynccontextmanager
async def links(*, tls: bool = False) -> AsyncIterator[Callable[[], Pair]]:
    """Pairs of links in one running hub."""
    hub = Hub()
    made: list[Link] = []
    connect = secure_pair if tls else plain_pair

    def pair() -> Pair:
        left, right = connect(hub)
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


@asynccontextmanager
async def secure() -> AsyncIterator[Callable[[], Pair]]:
    """The same over TLS."""
    async with links(tls=True) as make:
        yield make


def plain_pair(hub: Hub) -> tuple[Link, Link]:
    left, right = socket.socketpair()
    return Link(hub, left), Link(hub, right)


def secure_pair(hub: Hub) -> tuple[Link, Link]:
    ca, (ours, theirs) = trustme.CA(), socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    options = {"do_handshake_on_connect": False, "suppress_ragged_eofs": False}
    server = server_context(ca).wrap_socket(ours, server_side=True, **options)
    client = client_context(ca).wrap_socket(theirs, server_hostname="localhost", **options)
    waiting = [client, server]
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    return SecureLink(hub, server), SecureLink(hub, client)


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
