"""A pool with the scripted provider behind it, for tests of the pool alone.

In: a nursery and the pool's limits. Out: leases, the provider's ends, and when each was closed.
"""

import math

import trio

from kproxy.transport.pool import Lease, Pool, PoolParams, PoolStatistics
from kproxy.transport.timers import Timers
from kproxy.wire.chunked import Body, ChunkedBody, LengthBody
from kproxy.wire.limits import H1Limits
from tests.fakes.duplex import MemoryDuplex
from tests.fakes.scripted import ORIGIN, ScriptedProvider

__all__ = ["AT_REST", "LAST", "Room", "open_body", "whole"]

LAST = b"0\r\n\r\n"
AT_REST = PoolStatistics(leased=0, idle=0, lingering=0)


class Room:
    """A pool, the provider behind it, and time."""

    def __init__(self, nursery: trio.Nursery, params: PoolParams, connect: float = 0) -> None:
        self.provider = ScriptedProvider(nursery, [[]] * 3000, connect)
        self.timers = Timers()
        nursery.start_soon(self.timers.run)
        self.pool = Pool(ORIGIN, self.provider.dial, self.timers, params)

    async def lease(self, deadline: float = math.inf, *, fresh: bool = False) -> Lease:
        """See `Pool.acquire`."""
        return await self.pool.acquire(deadline, fresh=fresh)

    def theirs(self, number: int = -1) -> MemoryDuplex:
        """The provider's end of a connection."""
        return self.provider.connections[number].link

    def closed(self) -> list[float]:
        """When each connection was closed by us."""
        return [one.closed for one in self.provider.connections]


def whole() -> Body:
    """The body of an answer without one."""
    return LengthBody(0)


def open_body(data: bytes = b"") -> ChunkedBody:
    """A chunked body that has been read so far."""
    body = ChunkedBody(H1Limits())
    body.feed(data)
    return body
