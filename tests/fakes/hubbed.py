"""A hub at work for real sockets, and dialling in it that must fail.

In: where to dial. Out: links in the hub, or the fault. The hub must be empty in the end.
"""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from kproxy.errors import Fault
from kproxy.transport.dial import Origin, dialler
from kproxy.transport.hub import Hub

__all__ = ["fault_of", "hubbed", "until"]


@asynccontextmanager
async def hubbed() -> AsyncIterator[tuple[Hub, trio.Nursery]]:
    """A running hub; no socket is left in it at the end."""
    hub = Hub()
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        yield hub, nursery
        nursery.cancel_scope.cancel()
    assert hub.statistics().sockets == 0
    hub.close()


async def fault_of(
    hub: Hub, origin: Origin, context: ssl.SSLContext | None = None, seconds: float = 30
) -> Fault:
    """How dialling fails."""
    with pytest.raises(Fault) as fault:
        await dialler(hub, context)(origin, trio.current_time() + seconds)
    return fault.value


async def until(fact: Callable[[], object]) -> None:
    """Let the other tasks run until `fact()` is true; for facts that nobody announces."""
    while True:
        if fact():
            return
        await trio.lowlevel.checkpoint()
