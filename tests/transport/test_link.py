"""Real sockets in the hub, by socket pairs: edges, ends, deadlines, cancellation."""

import contextlib
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from kproxy.transport.duplex import Broken, Expired
from kproxy.transport.hub import READABLE, Hub
from kproxy.transport.link import FAIRNESS, Link
from tests.fakes.hubbed import until


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Hub, Link, Link]]:
    """A running hub and two connected links."""
    hub = Hub()
    left, right = socket.socketpair()
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        a, b = Link(hub, left), Link(hub, right)
        try:
            yield hub, a, b
        finally:
            a.close()
            b.close()
            nursery.cancel_scope.cancel()
    assert hub.statistics().sockets == 0
    hub.close()


async def test_bytes_that_come_while_parked_and_while_not() -> None:
    async with linked() as (_, a, b), trio.open_nursery() as nursery:
        nursery.start_soon(a.send_all, b"one")
        assert await b.receive() == b"one"
        await a.send_all(b"two")
        assert await b.receive() == b"two"
        assert b.receive_nowait() is None


async def test_an_end_behind_bytes_in_one_edge_is_seen() -> None:
    async with linked() as (_, a, b):
        async with trio.open_nursery() as nursery:
            got: list[bytes] = []

            async def read() -> None:
                while data := await b.receive():
                    got.append(data)

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            a.send_nowait(b"last words")
            a.end()
        assert got == [b"last words"]
        assert b.peer_ended


async def test_a_large_send_waits_for_the_reader_and_loses_nothing() -> None:
    sent = bytes(range(256)) * 40_000  # 10 MB
    async with linked() as (_, a, b), trio.open_nursery() as nursery:
        nursery.start_soon(a.send_all, sent)
        got = bytearray()
        while len(got) < len(sent):
            got += await b.receive()
        assert bytes(got) == sent


async def test_gone_is_told_although_bytes_lie_unread() -> None:
    async with linked() as (_, a, b):
        told = trio.Event()
        b.on_gone = told.set
        a.send_nowait(b"a pipelined request")
        a.close()
        await told.wait()
        assert b.receive_nowait() == b"a pipelined request"


async def test_gone_is_told_at_once_when_it_has_happened_already() -> None:
    async with linked() as (_, a, b):
        heard = trio.Event()
        b.on_gone = heard.set
        a.close()
        await heard.wait()
        calls: list[int] = []
        b.on_gone = lambda: calls.append(1)
        assert calls == [1]


async def test_a_deadline_ends_a_wait_and_only_the_wait() -> None:
    async with linked() as (_, a, b):
        b.deadline = trio.current_time() - 1
        with pytest.raises(Expired) as caught:
            await b.receive()
        assert caught.value.link is b
        b.deadline = math.inf
        await a.send_all(b"still usable")
        assert await b.receive() == b"still usable"


async def test_a_reader_that_takes_nothing_expires_the_sender() -> None:
    async with linked() as (_, a, _b):
        a.stall = 0.0
        with pytest.raises(Expired):
            await a.send_all(b"x" * 50_000_000)
        assert a.deadline == math.inf


async def test_closing_wakes_who_waits() -> None:
    async with linked() as (_, a, _b):
        with pytest.RaisesGroup(Broken):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.receive)
                await trio.testing.wait_all_tasks_blocked()
                a.close()


async def test_a_cancelled_wait_leaves_the_link_usable() -> None:
    async with linked() as (_, a, b):
        with trio.CancelScope() as scope:
            scope.cancel()
            await b.receive()
        assert scope.cancelled_caught
        await a.send_all(b"after")
        assert await b.receive() == b"after"


async def test_a_cancelled_reader_takes_no_wake_from_the_writer() -> None:
    """HTTP/2 ends its reading while its writer waits for room."""
    sent = b"x" * 10_000_000
    async with linked() as (_, a, b), trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def read() -> None:
            with scope:
                await a.receive()

        nursery.start_soon(read)
        nursery.start_soon(a.send_all, sent)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        left = len(sent)
        with trio.fail_after(30):
            while left:
                left -= len(await b.receive())


async def test_a_reader_that_takes_little_does_not_put_off_the_deadline() -> None:
    async with linked() as (_, a, b):
        with pytest.RaisesGroup(Expired):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.send_all, b"x" * 10_000_000)
                await trio.testing.wait_all_tasks_blocked()
                taken = a.sent
                while b.receive_nowait():
                    pass  # there is room now
                a._expire()  # before the edge that tells so
        assert a.sent == taken
        assert a.torn


@pytest.mark.parametrize("way", ["send", "receive"])
async def test_what_need_not_wait_yields_now_and_then(way: str) -> None:
    async with linked() as (_, a, b), trio.open_nursery() as nursery:
        a.end()
        await until(lambda: b.peer_ended)
        others = 0

        async def count() -> None:
            nonlocal others
            while True:
                others += 1
                await trio.lowlevel.checkpoint()

        nursery.start_soon(count)
        for _ in range(FAIRNESS - 1):
            await (b.send_all(b"x") if way == "send" else b.receive())
        assert others == 0
        for _ in range(FAIRNESS + 1):  # yields twice: the first time either may go first
            await (b.send_all(b"x") if way == "send" else b.receive())
        assert others
        nursery.cancel_scope.cancel()


async def test_a_reset_is_broken_or_an_end_never_silence() -> None:
    async with linked() as (_, a, b):
        a.reset()
        told = trio.Event()
        b.on_gone = told.set
        await told.wait()
        with contextlib.suppress(Broken):
            assert await b.receive() == b""


async def test_a_callback_that_raises_does_not_stop_the_hub(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with linked() as (_, a, b):
        called = trio.Event()

        def fail() -> None:
            called.set()
            raise RuntimeError("a fault of ours")

        b.watch(fail)
        a.send_nowait(b"x")
        await called.wait()
        assert "a socket's callback failed" in caplog.text
        b.watch(None)
        await a.send_all(b"y")
        assert await b.receive() == b"xy"


async def test_bytes_that_come_in_the_instant_of_the_deadline_win() -> None:
    async with linked() as (_, a, b), trio.open_nursery() as nursery:
        got: list[bytes] = []

        async def read() -> None:
            got.append(await b.receive())

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        a.send_nowait(b"in time")
        b._edge(READABLE)  # both before the reader has run
        b._expire()
        await trio.testing.wait_all_tasks_blocked()
        assert got == [b"in time"]


async def test_a_send_that_ends_half_way_leaves_the_stream_torn() -> None:
    async with linked() as (_, a, _b):
        with trio.move_on_after(0):
            await a.send_all(b"whole")
        assert not a.torn
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.send_all, b"x" * 10_000_000)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert a.torn
