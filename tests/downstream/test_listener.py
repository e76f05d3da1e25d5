"""Real callers on the loopback interface: served, drained, cut, and refused audibly."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from kproxy.downstream.connection import ConnectionParams
from kproxy.downstream.exchange import BodyLimits, Exchange, ExchangeState
from kproxy.downstream.listener import Listener, ListenerParams
from kproxy.downstream.respond import Answer
from kproxy.transport.accept import AcceptLimits, open_listeners
from kproxy.transport.entry import Bound
from kproxy.transport.hub import Hub
from kproxy.wire.h1 import ENGINES
from kproxy.wire.limits import H1Limits
from tests.fakes.duplex import duplex_pair
from tests.fakes.talk import REQUEST_ID, Scripted, answer, get, post

pytestmark = pytest.mark.loopback

CLOSE = "connection: close"
LARGE = b"x" * 50_000_000


@dataclass
class Site:
    """A running listener and how to reach it."""

    listener: Listener
    port: int
    nursery: trio.Nursery

    async def call(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def all_closed(self) -> None:
        """Until no connection is open; one that is still busy keeps this waiting."""
        self.listener.drain()
        await self.listener.wait_over()


@asynccontextmanager
async def listening(
    handler: Scripted, *, stall: float = 60.0, **fields: object
) -> AsyncIterator[Site]:
    """A listener in a hub of its own; at the end nothing may be left of either."""
    hub = Hub()
    sockets = open_listeners("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    params = ListenerParams(ConnectionParams(**fields), AcceptLimits(), stall)  # type: ignore[arg-type]
    listener = Listener(hub, [Bound(one) for one in sockets], handler, params)
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        await nursery.start(listener.serve)
        yield Site(listener, port, nursery)
        listener.cut()
        await listener.wait_over()
        nursery.cancel_scope.cancel()
    assert listener.statistics() == (0, 0)
    assert hub.statistics().sockets == 0
    hub.close()


async def heard(stream: trio.SocketStream, expected: bytes) -> bool:
    """Whether exactly that comes next, ids aside."""
    got = b""
    while len(REQUEST_ID.sub(b"", got)) < len(expected):
        data = await stream.receive_some()
        if not data:
            break
        got += data
    return REQUEST_ID.sub(b"", got) == expected


class Waiting(Scripted):
    """`/wait` is answered when the test says so."""

    def __init__(self) -> None:
        super().__init__(wait=self.wait)
        self.begun = trio.Event()
        self.go = trio.Event()
        self.over = trio.Event()

    async def wait(self, exchange: Exchange) -> None:
        self.begun.set()
        try:
            await self.go.wait()
        finally:
            self.over.set()
        await exchange.respond(Answer(200, [], b"waited"))


@pytest.mark.parametrize("engine", ENGINES)
async def test_callers_are_served_beside_each_other(engine: str) -> None:
    handler = Waiting()
    async with listening(handler, engine=engine) as site:
        first, second = await site.call(), await site.call()
        async with first, second:
            await first.send_all(get("/wait"))
            await handler.begun.wait()
            for _ in range(2):
                await second.send_all(post(b"body"))
                assert await heard(second, answer(b"/body"))
            handler.go.set()
            assert await heard(first, answer(b"waited"))
            assert site.listener.statistics() == (2, 0)
        await site.all_closed()


async def test_a_caller_who_leaves_ends_the_work() -> None:
    handler = Waiting()
    async with listening(handler) as site:
        async with await site.call() as stream:
            await stream.send_all(get("/wait") + get("/unread"))
            await handler.begun.wait()
        await handler.over.wait()
        await site.all_closed()
        assert handler.seen == [("/wait", ExchangeState.WAITING, 0)]


async def test_a_half_closed_caller_is_answered_where_that_is_set() -> None:
    async with listening(Scripted(), half_close=True) as site, await site.call() as stream:
        await stream.send_all(post(b"1") + post(b"2"))
        await stream.send_eof()
        assert await heard(stream, answer(b"/1") + answer(b"/2"))
        assert await stream.receive_some() == b""


async def test_a_caller_who_takes_nothing_is_dropped() -> None:
    begun = trio.Event()

    async def large(exchange: Exchange) -> None:
        begun.set()
        await exchange.respond(Answer(200, [], LARGE))

    handler = Scripted(large=large)
    async with listening(handler, stall=0.05) as site, await site.call() as stream:
        await stream.send_all(get("/large"))
        await begun.wait()
        await site.all_closed()
        assert handler.seen == [("/large", ExchangeState.DONE, 200)]


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_413_arrives_although_the_caller_still_sends(engine: str) -> None:
    """The caller writes all of its 50 MB before it reads: no write may fail, no byte be lost."""

    def send_then_read(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(post(LARGE))
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65_536), b""))

    handler = Scripted()
    async with listening(handler, engine=engine, body=BodyLimits(size=1_000)) as site:
        got = await trio.to_thread.run_sync(send_then_read, site.port)
        assert got.startswith(b"HTTP/1.1 413 ")
        assert got.endswith(b'"code":"request_too_large"}}')
        await site.all_closed()


class TestDrain:
    async def test_with_nobody_there_it_is_over_at_once(self) -> None:
        async with listening(Scripted()) as site:
            site.listener.drain()
            await site.listener.wait_over()

    async def test_idle_ones_close_busy_ones_finish_new_ones_are_refused(self) -> None:
        handler = Waiting()
        async with listening(handler) as site:
            silent, idle, busy = [await site.call() for _ in range(3)]
            async with silent, idle, busy:
                await idle.send_all(get("/1"))
                assert await heard(idle, answer(b"/1"))
                await busy.send_all(get("/wait") + get("/never"))
                await handler.begun.wait()
                site.listener.drain()
                assert await silent.receive_some() == b""
                assert await idle.receive_some() == b""
                with pytest.raises(OSError, match="all attempts to connect"):
                    await site.call()
                handler.go.set()
                assert await heard(busy, answer(b"waited", CLOSE))
                assert await busy.receive_some() == b""
            await site.listener.wait_over()
            assert [target for target, _, _ in handler.seen] == ["/1", "/wait"]

    async def test_one_accepted_before_and_begun_after_is_not_forgotten(self) -> None:
        async with listening(Scripted()) as site:
            link, caller = duplex_pair()
            caller.send_nowait(get("/1"))
            site.listener.drain()
            site.nursery.start_soon(site.listener._serve_link, link)
            assert REQUEST_ID.sub(b"", await caller.receive()) == answer(b"/1", CLOSE)
            assert await caller.receive() == b""
            caller.close()

    async def test_a_cut_ends_the_rest(self) -> None:
        handler = Waiting()
        async with listening(handler) as site, await site.call() as stream:
            await stream.send_all(get("/wait"))
            await handler.begun.wait()
            site.listener.drain()
            await trio.testing.wait_all_tasks_blocked()
            assert not handler.over.is_set()
            site.listener.cut()
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 503 ")
            assert handler.over.is_set()
            assert await stream.receive_some() == b""
            await stream.aclose()
            await site.listener.wait_over()

    async def test_a_cancelled_listener_is_over_too(self) -> None:
        hub, sockets = Hub(), open_listeners("127.0.0.1", 0)
        params = ListenerParams(ConnectionParams(), AcceptLimits())
        listener = Listener(hub, [Bound(one) for one in sockets], Scripted(), params)
        async with trio.open_nursery() as nursery:
            await nursery.start(hub.run)
            await nursery.start(listener.serve)
            nursery.cancel_scope.cancel()
        await listener.wait_over()
        assert hub.statistics().sockets == 0
        hub.close()


async def test_other_limits_are_for_connections_from_now_on() -> None:
    async with listening(Scripted()) as site, await site.call() as old:
        await old.send_all(get("/1"))
        assert await heard(old, answer(b"/1"))
        h1 = H1Limits(request_line=16)
        site.listener.change(ListenerParams(ConnectionParams(h1=h1), AcceptLimits()))
        async with await site.call() as new:
            long = get("/" + "x" * 20)
            await new.send_all(long)
            assert (await new.receive_some()).startswith(b"HTTP/1.1 414 ")
            await old.send_all(long)
            assert await heard(old, answer(b"/" + b"x" * 20))
