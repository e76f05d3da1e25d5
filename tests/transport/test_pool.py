"""The gate, and the stack of idle connections."""

import math
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.errors import Fault, FaultKind
from kproxy.transport.dial import Origin
from kproxy.transport.pool import Lease, Pool, PoolParams, PoolStatistics
from kproxy.transport.timers import Timers
from kproxy.wire.chunked import Body, CloseBody, LengthBody
from tests.fakes.duplex import MemoryDuplex
from tests.fakes.pooled import AT_REST, Room, open_body, whole
from tests.fakes.scripted import ORIGIN, ScriptedProvider


@pytest.fixture
async def room(nursery: trio.Nursery) -> Room:
    return Room(nursery, PoolParams(limit=2, connect=5, idle=60))


# --- keeping


async def test_a_complete_answer_keeps_its_connection(
    room: Room, autojump_clock: MockClock
) -> None:
    first = await room.lease()
    assert not first.reused
    assert room.pool.statistics() == PoolStatistics(leased=1, idle=0, lingering=0)
    first.finish(whole(), keep_alive=True)
    assert room.pool.statistics() == PoolStatistics(leased=0, idle=1, lingering=0)
    again = await room.lease()
    assert again.reused
    assert again.link is first.link
    again.close()
    assert room.pool.statistics() == AT_REST
    assert room.closed() == [trio.current_time()]


@pytest.mark.parametrize(
    ("body", "keep_alive"),
    [
        pytest.param(LengthBody(0), False, id="the provider closes"),
        pytest.param(CloseBody(), False, id="it ends with the connection"),
        pytest.param(open_body(b"0\r\n\r\nHTTP/1.1"), True, id="bytes behind the end"),
    ],
)
async def test_what_cannot_be_kept_is_closed_at_once(
    room: Room, autojump_clock: MockClock, body: Body, keep_alive: bool
) -> None:
    (await room.lease()).finish(body, keep_alive)
    assert room.pool.statistics() == AT_REST
    assert room.closed() == [trio.current_time()]


async def test_the_warmest_connection_is_taken_first(room: Room, autojump_clock: MockClock) -> None:
    one, two = await room.lease(), await room.lease()
    one.finish(whole(), keep_alive=True)
    two.finish(whole(), keep_alive=True)
    assert (await room.lease()).link is two.link
    assert (await room.lease()).link is one.link


async def test_a_lease_is_returned_once(room: Room, autojump_clock: MockClock) -> None:
    lease = await room.lease()
    lease.finish(whole(), keep_alive=True)
    lease.finish(whole(), keep_alive=True)
    lease.close()
    assert room.pool.statistics() == PoolStatistics(leased=0, idle=1, lingering=0)
    other = await room.lease()
    other.close()
    other.finish(whole(), keep_alive=True)
    assert room.pool.statistics() == AT_REST


async def test_an_idle_connection_expires_at_its_time(
    room: Room, autojump_clock: MockClock
) -> None:
    start = trio.current_time()
    one, two = await room.lease(), await room.lease()
    one.finish(whole(), keep_alive=True)
    await trio.sleep(10)
    two.finish(whole(), keep_alive=True)
    await trio.sleep(200)
    assert [at - start for at in room.closed()] == [60, 70]
    assert room.pool.statistics() == AT_REST


async def test_use_makes_an_idle_connection_young_again(
    room: Room, autojump_clock: MockClock
) -> None:
    start = trio.current_time()
    for _ in range(3):
        (await room.lease()).finish(whole(), keep_alive=True)
        await trio.sleep(50)
    await trio.sleep(100)
    assert [at - start for at in room.closed()] == [160]


async def test_an_expired_connection_is_not_handed_out_before_the_reaper_came(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    provider = ScriptedProvider(nursery, [[]] * 2)
    pool = Pool(ORIGIN, provider.dial, Timers(), PoolParams(idle=60))  # timers that nobody runs
    (await pool.acquire(math.inf)).finish(whole(), keep_alive=True)
    await trio.sleep(59)
    again = await pool.acquire(math.inf)
    assert again.reused
    again.finish(whole(), keep_alive=True)
    await trio.sleep(60)
    assert not (await pool.acquire(math.inf)).reused
    assert provider.open == 1


async def test_a_provider_that_closes_an_idle_connection(
    room: Room, autojump_clock: MockClock
) -> None:
    lease = await room.lease()
    lease.finish(whole(), keep_alive=True)
    room.theirs().close()
    assert room.pool.statistics() == AT_REST
    assert not (await room.lease()).reused


@pytest.mark.parametrize("act", ["end", "reset"])
async def test_a_provider_that_leaves_before_the_answer_is_returned(
    room: Room, autojump_clock: MockClock, act: str
) -> None:
    lease = await room.lease()
    getattr(room.theirs(), act)()
    lease.finish(whole(), keep_alive=True)
    assert room.pool.statistics() == AT_REST


async def test_unasked_bytes_close_an_idle_connection_at_once(
    room: Room, autojump_clock: MockClock
) -> None:
    (await room.lease()).finish(whole(), keep_alive=True)
    room.theirs().send_nowait(b"HTTP/1.1 200 OK\r\n\r\n")
    assert room.pool.statistics() == AT_REST


async def test_bytes_that_came_too_early_are_never_handed_on(
    room: Room, autojump_clock: MockClock
) -> None:
    lease = await room.lease()
    room.theirs().send_nowait(b"HTTP/1.1 200 OK\r\n\r\n")
    lease.finish(whole(), keep_alive=True)
    assert not (await room.lease()).reused


async def test_an_edge_without_bytes_costs_no_connection(
    room: Room, autojump_clock: MockClock
) -> None:
    """TLS sends tickets and keys that are not ours to read."""
    lease = await room.lease()
    lease.finish(whole(), keep_alive=True)
    assert isinstance(lease.link, MemoryDuplex)
    lease.link._news()  # as the hub tells a link of a readable edge
    assert (await room.lease()).link is lease.link


async def test_a_fresh_connection_leaves_the_kept_ones(
    room: Room, autojump_clock: MockClock
) -> None:
    (await room.lease()).finish(whole(), keep_alive=True)
    fresh = await room.lease(fresh=True)
    assert not fresh.reused
    assert room.pool.statistics() == PoolStatistics(leased=1, idle=1, lingering=0)


async def test_kept_and_leased_together_stay_within_the_limit(
    room: Room, autojump_clock: MockClock
) -> None:
    one, two = await room.lease(), await room.lease()
    one.finish(whole(), keep_alive=True)
    two.finish(whole(), keep_alive=True)
    fresh = await room.lease(fresh=True)
    assert room.closed() == [trio.current_time(), math.inf, math.inf]
    fresh.finish(whole(), keep_alive=True)
    assert room.pool.statistics() == PoolStatistics(leased=0, idle=2, lingering=0)


# --- the gate


async def test_a_slot_is_held_until_the_body_ends(
    room: Room, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    start = trio.current_time()
    leases = [await room.lease() for _ in range(2)]
    with pytest.raises(Fault) as fault:
        await room.lease(deadline=start + 3)
    assert fault.value.kind is FaultKind.POOL_TIMEOUT
    assert trio.current_time() == start + 3
    taken: list[Lease] = []

    async def wait() -> None:
        taken.append(await room.lease())

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    assert taken == []
    leases[0].finish(whole(), keep_alive=True)
    await wait_all_tasks_blocked()
    assert [lease.link for lease in taken] == [leases[0].link]


async def test_who_came_first_is_served_first(
    room: Room, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    leases = [await room.lease() for _ in range(2)]
    served: list[int] = []

    async def wait(number: int) -> None:
        lease = await room.lease()
        served.append(number)
        lease.finish(whole(), keep_alive=True)

    for number in range(5):
        nursery.start_soon(wait, number)
        await wait_all_tasks_blocked()
    leases[0].close()
    await wait_all_tasks_blocked()
    assert served == [0, 1, 2, 3, 4]


async def test_a_deadline_that_has_passed_takes_no_place_in_the_queue(
    room: Room, autojump_clock: MockClock
) -> None:
    leases = [await room.lease() for _ in range(2)]
    with pytest.raises(Fault):
        await room.lease(deadline=trio.current_time() - 1)
    for lease in leases:
        lease.close()
    assert room.pool.statistics() == AT_REST


async def test_connecting_has_its_own_deadline(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    room = Room(nursery, PoolParams(limit=1, connect=5), connect=9)
    for deadline, at in ((100, 5), (3, 3)):
        start = trio.current_time()
        with pytest.raises(Fault) as fault:
            await room.lease(start + deadline)
        assert fault.value.kind is FaultKind.CONNECT_TIMEOUT
        assert trio.current_time() - start == at
    assert room.pool.statistics() == AT_REST


async def test_a_dial_that_fails_returns_its_slot(autojump_clock: MockClock) -> None:
    async def refuse(_: Origin, __: float) -> MemoryDuplex:
        await trio.lowlevel.checkpoint()
        raise Fault(FaultKind.CONNECT, "refused")

    pool = Pool(ORIGIN, refuse, Timers(), PoolParams(limit=1))
    for _ in range(3):
        with pytest.raises(Fault):
            await pool.acquire(math.inf)
    assert pool.statistics() == AT_REST


# --- the end


async def test_closing_closes_what_nobody_holds_and_keeps_nothing_more(
    room: Room, autojump_clock: MockClock
) -> None:
    now = trio.current_time()
    idle, held = await room.lease(), await room.lease()
    idle.finish(whole(), keep_alive=True)
    room.pool.close()
    assert room.closed() == [now, math.inf]
    held.finish(whole(), keep_alive=True)
    assert room.closed() == [now, now]
    assert room.pool.statistics() == AT_REST


async def test_closing_ends_the_lingering(room: Room, autojump_clock: MockClock) -> None:
    (await room.lease()).finish(open_body(), keep_alive=True)
    room.pool.close()
    assert room.pool.statistics() == AT_REST
    assert room.closed() == [trio.current_time()]


async def test_how_long_the_first_in_the_queue_has_waited(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    room = Room(nursery, PoolParams(limit=1))
    lease = await room.lease()
    assert room.pool.wait(trio.current_time()) == 0
    for deadline in (2.5, 9.0):
        nursery.start_soon(_give_up, room, deadline)
        await trio.sleep(1)
    assert room.pool.wait(trio.current_time()) == 2
    await trio.sleep(1)
    assert room.pool.wait(trio.current_time()) == 2, "the first one has left"
    lease.close()
    await trio.testing.wait_all_tasks_blocked()
    assert room.pool.wait(trio.current_time()) == 0


async def _give_up(room: Room, deadline: float) -> None:
    with suppress(Fault):
        (await room.lease(deadline)).close()
