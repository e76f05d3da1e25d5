"""The nested epoll set: every edge to its callback, and to no other socket's."""

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.transport.hub import BATCH, EDGE, GONE, LISTENING, READABLE, WRITABLE, Hub
from tests.fakes.hubbed import until


@asynccontextmanager
async def running() -> AsyncIterator[Hub]:
    """A hub at work, which must be empty in the end."""
    hub = Hub()
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        yield hub
        nursery.cancel_scope.cancel()
    assert hub.statistics().sockets == 0
    hub.close()


class Watched:
    """A socket pair, one end in the hub; the masks that were told for it."""

    def __init__(self, hub: Hub, events: int = EDGE) -> None:
        self.hub = hub
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.fd = self.ours.fileno()
        self.masks: list[int] = []
        self.told = trio.Event()
        self.then: Callable[[], None] = lambda: None
        hub.register(self.fd, self._tell, events)

    def _tell(self, mask: int) -> None:
        self.masks.append(mask)
        self.told.set()
        self.told = trio.Event()
        self.then()

    async def next(self, mask: int) -> None:
        """Wait until an edge with one of these bits has been told."""
        while not any(seen & mask for seen in self.masks):
            await self.told.wait()
        self.masks.clear()

    def close(self) -> None:
        if self.fd >= 0:
            self.hub.unregister(self.fd)
            self.fd = -1
        self.ours.close()
        self.theirs.close()


async def test_readiness_is_told_once_for_each_edge() -> None:
    async with running() as hub:
        one = Watched(hub)
        await one.next(WRITABLE)
        one.theirs.send(b"x")
        await one.next(READABLE)
        other = Watched(hub)
        await other.next(WRITABLE)  # a later batch than the one that could have told again
        assert one.masks == []
        one.theirs.send(b"y")  # unread bytes lie there; new ones are a new edge
        await one.next(READABLE)
        one.close()
        other.close()


async def test_an_end_is_told_while_bytes_lie_unread() -> None:
    async with running() as hub:
        one = Watched(hub)
        one.theirs.send(b"last words")
        one.theirs.close()
        await one.next(GONE)
        assert one.ours.recv(100) == b"last words"
        one.close()


async def test_rearming_tells_the_present_readiness_again() -> None:
    async with running() as hub:
        one = Watched(hub, LISTENING)
        one.theirs.send(b"x")
        await one.next(READABLE)
        hub.rearm(one.fd, LISTENING)
        await one.next(READABLE)
        one.close()


async def test_more_sockets_than_a_batch_are_all_served() -> None:
    async with running() as hub:
        many = [Watched(hub, LISTENING) for _ in range(BATCH + 50)]
        for one in many:
            one.theirs.send(b"x")
        for one in many:
            await one.next(READABLE)
        assert hub.statistics().sockets == BATCH + 50
        for one in many:
            one.close()


async def test_a_number_that_is_taken_over_within_a_batch_gets_no_foreign_edge() -> None:
    """Two sockets are ready; whichever is served first closes the other and reuses its number."""
    async with running() as hub:
        pair = [Watched(hub, LISTENING) for _ in range(2)]
        successor: list[tuple[int, list[int]]] = []
        spare, far = socket.socketpair()

        def replace(other: Watched) -> None:
            number = other.fd
            hub.unregister(number)
            os.dup2(spare.fileno(), number)  # the kernel's choice, made sure
            masks: list[int] = []
            hub.register(number, masks.append, LISTENING)
            successor.append((number, masks))

        pair[0].then = lambda: replace(pair[1])
        pair[1].then = lambda: replace(pair[0])
        for one in pair:
            one.theirs.send(b"x")
        await wait_all_tasks_blocked()
        await until(lambda: successor)
        assert len(pair[0].masks) + len(pair[1].masks) == 1
        ((number, masks),) = successor
        assert masks == []
        far.send(b"y")
        await until(lambda: masks)
        hub.unregister(number)
        for one in pair:
            if one.fd == number:
                one.fd = -1
            one.close()
        spare.close()
        far.close()


async def test_a_callback_that_raises_is_logged_and_the_rest_is_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as hub:
        bad, good = Watched(hub, LISTENING), Watched(hub, LISTENING)

        def fail() -> None:
            raise ValueError("ours")

        bad.then = fail
        for one in (bad, good):
            one.theirs.send(b"x")
        await good.next(READABLE)
        await bad.next(READABLE)
        assert [record.name for record in caplog.records] == ["kproxy.hub"]
        bad.close()
        good.close()


async def test_the_batch_knows_its_time(mock_clock: MockClock) -> None:
    async with running() as hub:
        one = Watched(hub, LISTENING)
        mock_clock.jump(7)
        one.theirs.send(b"x")
        await one.next(READABLE)
        assert hub.now == trio.current_time()
        one.close()


async def test_timers_run_with_the_hub(autojump_clock: MockClock) -> None:
    async with running() as hub:
        due = trio.Event()
        hub.timers.call_at(trio.current_time() + 5, due.set)
        assert hub.statistics().timers == 1
        await due.wait()
        assert hub.statistics().timers == 0
