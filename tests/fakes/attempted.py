"""Attempts at a scripted provider, and how they end.

In: what the provider plays. Out: an open attempt, a body, or the fault and when it came; in the
end no slot is out and no connection open.
"""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kproxy.errors import Fault, FaultKind
from kproxy.transport.pool import PoolStatistics
from kproxy.upstream.attempt import Attempt, Timing
from tests.fakes.scripted import Reached, head

__all__ = ["AT_REST", "CHUNKED", "KEPT", "attempt", "failure", "keep", "opened", "whole"]

CHUNKED = head(200, b"transfer-encoding: chunked")
KEPT = PoolStatistics(leased=0, idle=1, lingering=0)
AT_REST = PoolStatistics(leased=0, idle=0, lingering=0)


def attempt(reached: Reached, total: float = 60, first: float = 20, gap: float = 5) -> Attempt:
    """An attempt with deadlines this many seconds from now."""
    now = trio.current_time()
    return Attempt(reached.endpoint, "m", Timing(now, now + total, now + first, gap))


async def opened(reached: Reached, **seconds: float) -> Attempt:
    """An attempt whose head has come. Closed if it does not."""
    one = attempt(reached, **seconds)
    await one.open(reached.endpoint.request(b"{}", []))
    return one


async def whole(one: Attempt) -> bytes:
    """The body of a whole answer, as `api/whole.py` reads it."""
    try:
        await one.open(one.endpoint.request(b"{}", []))
        body = await one.read_whole()
        one.finish()
    finally:
        one.close()
    return body


async def failure(reached: Reached, **seconds: float) -> tuple[FaultKind, float]:
    """The kind of the fault and after how many seconds, before a head or inside a whole answer."""
    start = trio.current_time()
    with pytest.raises(Fault) as fault:
        await whole(attempt(reached, **seconds))
    await wait_all_tasks_blocked()
    assert reached.pool.statistics() == AT_REST
    assert reached.provider.open == 0
    return fault.value.kind, trio.current_time() - start


async def keep(reached: Reached) -> None:
    """Carry one request, so that a connection is kept."""
    one = await opened(reached)
    await one.read_whole()
    one.finish()
    assert reached.pool.statistics() == KEPT
