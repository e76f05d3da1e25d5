"""The end of a body that comes after its answer: waited for, but not long and not at any price."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.transport.pool import LINGER, LINGER_BYTES, PoolParams, PoolStatistics
from tests.fakes.pooled import AT_REST, LAST, Room, open_body, whole


@pytest.fixture
async def room(nursery: trio.Nursery) -> Room:
    return Room(nursery, PoolParams(limit=2, connect=5, idle=60))


async def test_a_terminator_that_comes_late_keeps_the_connection(
    room: Room, autojump_clock: MockClock
) -> None:
    lease = await room.lease()
    lease.finish(open_body(b"2\r\nhi"), keep_alive=True)
    assert room.pool.statistics() == PoolStatistics(leased=1, idle=0, lingering=1)
    for piece in (b"\r\n", b"0\r", b"\n\r\n"):
        room.theirs().send_nowait(piece)
        await wait_all_tasks_blocked()
    assert room.pool.statistics() == PoolStatistics(leased=0, idle=1, lingering=0)
    assert (await room.lease()).link is lease.link


async def test_a_terminator_that_has_come_already_costs_no_wait(
    room: Room, autojump_clock: MockClock
) -> None:
    lease = await room.lease()
    room.theirs().send_nowait(LAST)
    lease.finish(open_body(), keep_alive=True)
    assert room.pool.statistics() == PoolStatistics(leased=0, idle=1, lingering=0)


async def test_a_terminator_that_never_comes_costs_the_connection(
    room: Room, autojump_clock: MockClock
) -> None:
    start = trio.current_time()
    (await room.lease()).finish(open_body(), keep_alive=True)
    await trio.sleep(LINGER * 3)
    assert [at - start for at in room.closed()] == [LINGER]
    assert room.pool.statistics() == AT_REST


async def test_a_connection_that_is_kept_meanwhile_does_not_prolong_the_lingering(
    room: Room,
    autojump_clock: MockClock,
) -> None:
    start = trio.current_time()
    one, two = await room.lease(), await room.lease()
    one.finish(open_body(), keep_alive=True)
    two.finish(whole(), keep_alive=True)
    await trio.sleep(100)
    assert [at - start for at in room.closed()] == [LINGER, 60]


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(LAST + b"HTTP/1.1 200", id="bytes behind the end"),
        pytest.param(b"zz\r\n", id="broken framing"),
        pytest.param(b"10000\r\n" + b"x" * LINGER_BYTES, id="more than anyone will read"),
    ],
)
async def test_a_rest_that_is_no_end_costs_the_connection(
    room: Room, autojump_clock: MockClock, rest: bytes
) -> None:
    (await room.lease()).finish(open_body(), keep_alive=True)
    room.theirs().send_nowait(rest)
    await wait_all_tasks_blocked()
    assert room.pool.statistics() == AT_REST


@pytest.mark.parametrize("act", ["end", "close", "reset"])
@pytest.mark.parametrize("late", [False, True])
async def test_a_provider_that_leaves_while_we_linger(
    room: Room, autojump_clock: MockClock, act: str, late: bool
) -> None:
    lease = await room.lease()
    if late:
        lease.finish(open_body(), keep_alive=True)
    getattr(room.theirs(), act)()
    if not late:
        lease.finish(open_body(), keep_alive=True)
    assert room.pool.statistics() == AT_REST


async def test_a_lingering_slot_is_handed_on_when_it_is_over(
    room: Room, autojump_clock: MockClock
) -> None:
    start = trio.current_time()
    (await room.lease()).finish(open_body(), keep_alive=True)
    await room.lease()
    third = await room.lease()
    assert (trio.current_time() - start, third.reused) == (LINGER, False)
