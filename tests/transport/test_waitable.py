"""Two sides park on one thing, on the virtual clock: woken, late, cancelled; and who is told."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.transport.duplex import Expired
from kproxy.transport.timers import Timers
from kproxy.transport.waitable import Waitable


class Waited(Waitable):
    """What may be read and written is what the test says; it tells of itself what happened."""

    def __init__(self, timers: Timers) -> None:
        super().__init__(timers)
        self.events: list[str] = []
        self.wake_reader, self.wake_writer = self._wake_reader, self._wake_writer
        self.wake, self.expire = self._wake, self._expire

    async def read(self) -> None:
        await self.wait_readable()
        self.events.append("read")

    async def write(self) -> None:
        await self.wait_writable()
        self.events.append("written")

    def leave(self) -> None:
        self._left = True
        self._tell_gone()

    def _look_ahead(self) -> None:
        self.events.append("looked")


class Blind(Waited):
    _blind = True


@pytest.fixture
async def timers(nursery: trio.Nursery) -> Timers:
    made = Timers()
    nursery.start_soon(made.run)
    return made


@asynccontextmanager
async def both_waiting(timers: Timers) -> AsyncIterator[Waited]:
    """A reader and a writer, parked; they have been woken when it is left."""
    waited = Waited(timers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waited.read)
        nursery.start_soon(waited.write)
        await wait_all_tasks_blocked()
        yield waited


SIDES = pytest.mark.parametrize("side", ["read", "write"])


def wait_of(waited: Waited, side: str) -> Callable[[], object]:
    return waited.wait_readable if side == "read" else waited.wait_writable


class TestWake:
    async def test_each_side_by_itself(self, timers: Timers) -> None:
        async with both_waiting(timers) as waited:
            waited.wake_writer()
            await wait_all_tasks_blocked()
            assert waited.events == ["written"]
            waited.wake_reader()
        assert waited.events == ["written", "read"]

    async def test_both(self, timers: Timers) -> None:
        async with both_waiting(timers) as waited:
            waited.wake()
        assert sorted(waited.events) == ["read", "written"]

    async def test_of_nobody_is_nothing_and_is_not_kept(self, timers: Timers) -> None:
        waited = Waited(timers)
        for wake in (waited.wake_reader, waited.wake_writer, waited.wake):
            wake()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waited.read)
            await wait_all_tasks_blocked()
            assert waited.events == []
            waited.wake_reader()
            waited.wake()  # it is on its way already
        assert waited.events == ["read"]

    @pytest.mark.parametrize("left", ["read", "written"])
    async def test_of_one_side_after_the_other_was_cancelled(
        self, timers: Timers, left: str
    ) -> None:
        waited = Waited(timers)
        cancelled, stays = waited.write, waited.read
        if left == "written":
            cancelled, stays = stays, cancelled
        scope = trio.CancelScope()

        async def go() -> None:
            with scope:
                await cancelled()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go)
            nursery.start_soon(stays)
            await wait_all_tasks_blocked()
            scope.cancel()
            await wait_all_tasks_blocked()
            assert scope.cancelled_caught
            waited.wake()
        assert waited.events == [left]


class TestDeadline:
    @SIDES
    async def test_a_wait_ends_at_it_and_the_next_raises(
        self, timers: Timers, autojump_clock: MockClock, side: str
    ) -> None:
        """Who is woken tries once more in between: what came in that instant wins."""
        waited = Waited(timers)
        waited.deadline = at = trio.current_time() + 5
        await getattr(waited, side)()
        assert trio.current_time() == at
        with pytest.raises(Expired) as late:
            wait_of(waited, side)()
        assert late.value.link is waited  # type: ignore[comparison-overlap]
        assert waited.deadline == at

    async def test_ends_both_sides(self, timers: Timers, autojump_clock: MockClock) -> None:
        waited = Waited(timers)
        waited.deadline = trio.current_time() + 5
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waited.read)
            nursery.start_soon(waited.write)
        assert sorted(waited.events) == ["read", "written"]

    async def test_moved_ends_a_wait_at_the_last_one(
        self, timers: Timers, autojump_clock: MockClock
    ) -> None:
        start = trio.current_time()
        waited = Waited(timers)
        for delay in (5, math.inf, 9, 7, 20, 8):
            waited.deadline = start + delay
        assert waited.deadline == start + 8
        await waited.read()
        assert trio.current_time() == start + 8

    async def test_put_off_queues_nothing(self, timers: Timers, autojump_clock: MockClock) -> None:
        waited = Waited(timers)
        for delay in range(50):
            waited.deadline = trio.current_time() + 5 + delay
        assert timers.statistics() == 1

    @SIDES
    async def test_a_new_one_forgives(
        self, timers: Timers, autojump_clock: MockClock, side: str
    ) -> None:
        waited = Waited(timers)
        waited.expire()
        waited.deadline = at = trio.current_time() + 3
        await getattr(waited, side)()
        assert trio.current_time() == at


class TestGone:
    async def test_is_told_once(self, timers: Timers) -> None:
        waited, calls = Waited(timers), []
        waited.on_gone = lambda: calls.append("gone")
        waited.leave()
        waited.leave()
        assert calls == ["gone"]
        assert waited.on_gone is None

    async def test_and_at_once_where_it_was_before(self, timers: Timers) -> None:
        waited, calls = Waited(timers), []
        waited.leave()
        waited.on_gone = lambda: calls.append("gone")
        assert calls == ["gone"]

    async def test_and_not_to_who_has_gone_himself(self, timers: Timers) -> None:
        waited = Waited(timers)
        waited.on_gone = lambda: pytest.fail("called")
        waited.on_gone = None
        waited.leave()

    async def test_only_the_blind_look_ahead(self, timers: Timers) -> None:
        for waited, events in ((Waited(timers), []), (Blind(timers), ["looked"])):
            waited.on_gone = lambda: None
            waited.on_gone = None
            assert waited.events == events
            waited.leave()
            waited.on_gone = lambda: None  # it is known
            assert waited.events == events
