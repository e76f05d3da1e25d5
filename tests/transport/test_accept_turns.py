"""Who has more connections than another process leaves the next one to it, but not for ever."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from kproxy.transport.accept import AcceptLimits, Acceptor, open_listeners
from kproxy.transport.entry import Bound
from kproxy.transport.hub import Hub
from kproxy.transport.link import Link
from tests.fakes.hubbed import until

pytestmark = pytest.mark.loopback


class Turns:
    """As it is told."""

    def __init__(self, *, mine: bool) -> None:
        self.is_mine = mine
        self.asked = 0
        self.had: list[int] = []

    def mine(self, total: int) -> bool:
        self.asked += 1
        return self.is_mine

    def have(self, total: int) -> None:
        self.had.append(total)


async def hold(link: Link) -> None:
    while await link.receive():
        pass


@asynccontextmanager
async def accepting(listener: socket.socket, turns: Turns) -> AsyncIterator[Acceptor]:
    hub = Hub()
    acceptor = Acceptor(hub, [Bound(listener.dup(), turns=turns)], AcceptLimits())
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        await nursery.start(acceptor.serve, hold)
        yield acceptor
        nursery.cancel_scope.cancel()
    hub.close()


async def test_the_others_turn() -> None:
    (listener,) = open_listeners("127.0.0.1", 0)
    port = listener.getsockname()[1]
    busy, free = Turns(mine=False), Turns(mine=True)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(accepting(listener, busy))
        other = await stack.enter_async_context(accepting(listener, free))
        for number in range(1, 9):
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            await until(lambda n=number: one.statistics()[0] + other.statistics()[0] == n)
        assert busy.asked > 0
        took = other.statistics()[0]
        assert took > 0
        assert free.had == list(range(1, took + 1))
    listener.close()


async def test_nobody_else_takes_it() -> None:
    (listener,) = open_listeners("127.0.0.1", 0)
    port = listener.getsockname()[1]
    turns = Turns(mine=False)
    async with AsyncExitStack() as stack:
        alone = await stack.enter_async_context(accepting(listener, turns))
        for number in (1, 2, 3):
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            await until(lambda n=number: alone.statistics()[0] == n)
    listener.close()
    assert turns.had[:3] == [1, 2, 3]


async def test_the_end_comes_while_one_is_left_to_others() -> None:
    (listener,) = open_listeners("127.0.0.1", 0)
    turns = Turns(mine=False)
    address = listener.getsockname()
    async with accepting(listener, turns) as alone:
        stream = await trio.open_tcp_stream(*address[:2])
        await until(lambda: turns.asked > 0 or bool(alone.statistics()[0]))
        alone.stop()
        await stream.aclose()
    listener.close()
