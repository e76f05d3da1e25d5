"""The gate, the stack of idle connections, lingering, and slots that come back however it ends."""

import math
import random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.errors import Fault, FaultKind
from kproxy.transport.dial import Origin
from kproxy.transport.pool import LINGER, LINGER_BYTES, Lease, Pool, PoolParams, PoolStatistics
from kproxy.transport.timers import Timers
from kproxy.wire.chunked import Body, ChunkedBody, CloseBody, LengthBody
from kproxy.wire.limits import H1Limits
from tests.fakes.duplex import MemoryDuplex
from tests.fakes.provider import ORIGIN, ScriptedProvider

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
        return await self.pool.acquire(deadline, fresh=fresh)

    def theirs(self, number: int = -1) -> MemoryDuplex:
        """The provider's end of a connection."""
        return self.provider.connections[number].link

    def closed(self) -> list[float]:
        """When each connection was closed by us."""
        return [one.closed for one in self.provider.connections]


@pytest.fixture
async def room(autojump_clock: MockClock, nursery: trio.Nursery) -> Room:
    return Room(nursery, PoolParams(limit=2, connect=5, idle=60))


def whole() -> Body:
    return LengthBody(0)


def open_body(data: bytes = b"") -> ChunkedBody:
    body = ChunkedBody(H1Limits())
    body.feed(data)
    return body


# --- keeping


async def test_a_complete_answer_keeps_its_connection(room: Room) -> None:
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
    room: Room, body: Body, keep_alive: bool
) -> None:
    (await room.lease()).finish(body, keep_alive)
    assert room.pool.statistics() == AT_REST
    assert room.closed() == [trio.current_time()]


async def test_the_warmest_connection_is_taken_first(room: Room) -> None:
    one, two = await room.lease(), await room.lease()
    one.finish(whole(), keep_alive=True)
    two.finish(whole(), keep_alive=True)
    assert (await room.lease()).link is two.link
    assert (await room.lease()).link is one.link


async def test_a_lease_is_returned_once(room: Room) -> None:
    lease = await room.lease()
    lease.finish(whole(), keep_alive=True)
    lease.finish(whole(), keep_alive=True)
    lease.close()
    assert room.pool.statistics() == PoolStatistics(leased=0, idle=1, lingering=0)
    other = await room.lease()
    other.close()
    other.finish(whole(), keep_alive=True)
    assert room.pool.statistics() == AT_REST


async def test_an_idle_connection_expires_at_its_time(room: Room) -> None:
    start = trio.current_time()
    one, two = await room.lease(), await room.lease()
    one.finish(whole(), keep_alive=True)
    await trio.sleep(10)
    two.finish(whole(), keep_alive=True)
    await trio.sleep(200)
    assert [at - start for at in room.closed()] == [60, 70]
    assert room.pool.statistics() == AT_REST


async def test_use_makes_an_idle_connection_young_again(room: Room) -> None:
    start = trio.current_time()
    for _ in range(3):
        (await room.lease()).finish(whole(), keep_alive=True)
        await trio.sleep(50)
    await trio.sleep(100)
    assert [at - start for at in room.closed()] == [160]


async def test_an_expired_connection_is_not_handed_out_before_the_reaper_came(room: Room) -> None:
    (await room.lease()).finish(whole(), keep_alive=True)
    (await room.lease()).finish(whole(), keep_alive=True)
    await trio.sleep_until(trio.current_time() + 60)  # the reaper is due in this very instant
    assert not (await room.lease()).reused
    assert len(room.provider.connections) == 2


async def test_a_provider_that_closes_an_idle_connection(room: Room) -> None:
    lease = await room.lease()
    lease.finish(whole(), keep_alive=True)
    room.theirs().close()
    assert room.pool.statistics() == AT_REST
    assert not (await room.lease()).reused


@pytest.mark.parametrize("act", ["end", "reset"])
async def test_a_provider_that_leaves_before_the_answer_is_returned(room: Room, act: str) -> None:
    lease = await room.lease()
    getattr(room.theirs(), act)()
    lease.finish(whole(), keep_alive=True)
    assert room.pool.statistics() == AT_REST


async def test_unasked_bytes_close_an_idle_connection_at_once(room: Room) -> None:
    (await room.lease()).finish(whole(), keep_alive=True)
    room.theirs().send_nowait(b"HTTP/1.1 200 OK\r\n\r\n")
    assert room.pool.statistics() == AT_REST


async def test_bytes_that_came_too_early_are_never_handed_on(room: Room) -> None:
    lease = await room.lease()
    room.theirs().send_nowait(b"HTTP/1.1 200 OK\r\n\r\n")
    lease.finish(whole(), keep_alive=True)
    assert not (await room.lease()).reused


async def test_an_edge_without_bytes_costs_no_connection(room: Room) -> None:
    """TLS sends tickets and keys that are not ours to read."""
    lease = await room.lease()
    lease.finish(whole(), keep_alive=True)
    assert isinstance(lease.link, MemoryDuplex)
    lease.link._news()  # as the hub tells a link of a readable edge
    assert (await room.lease()).link is lease.link


async def test_a_fresh_connection_leaves_the_kept_ones(room: Room) -> None:
    (await room.lease()).finish(whole(), keep_alive=True)
    fresh = await room.lease(fresh=True)
    assert not fresh.reused
    assert room.pool.statistics() == PoolStatistics(leased=1, idle=1, lingering=0)


async def test_kept_and_leased_together_stay_within_the_limit(room: Room) -> None:
    one, two = await room.lease(), await room.lease()
    one.finish(whole(), keep_alive=True)
    two.finish(whole(), keep_alive=True)
    fresh = await room.lease(fresh=True)
    assert room.closed() == [trio.current_time(), math.inf, math.inf]
    fresh.finish(whole(), keep_alive=True)
    assert room.pool.statistics() == PoolStatistics(leased=0, idle=2, lingering=0)


# --- the gate


async def test_a_slot_is_held_until_the_body_ends(room: Room, nursery: trio.Nursery) -> None:
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


async def test_who_came_first_is_served_first(room: Room, nursery: trio.Nursery) -> None:
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


async def test_a_deadline_that_has_passed_takes_no_place_in_the_queue(room: Room) -> None:
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


# --- lingering


async def test_a_terminator_that_comes_late_keeps_the_connection(room: Room) -> None:
    lease = await room.lease()
    lease.finish(open_body(b"2\r\nhi"), keep_alive=True)
    assert room.pool.statistics() == PoolStatistics(leased=1, idle=0, lingering=1)
    for piece in (b"\r\n", b"0\r", b"\n\r\n"):
        room.theirs().send_nowait(piece)
        await wait_all_tasks_blocked()
    assert room.pool.statistics() == PoolStatistics(leased=0, idle=1, lingering=0)
    assert (await room.lease()).link is lease.link


async def test_a_terminator_that_has_come_already_costs_no_wait(room: Room) -> None:
    lease = await room.lease()
    room.theirs().send_nowait(LAST)
    lease.finish(open_body(), keep_alive=True)
    assert room.pool.statistics() == PoolStatistics(leased=0, idle=1, lingering=0)


async def test_a_terminator_that_never_comes_costs_the_connection(room: Room) -> None:
    start = trio.current_time()
    (await room.lease()).finish(open_body(), keep_alive=True)
    await trio.sleep(LINGER * 3)
    assert [at - start for at in room.closed()] == [LINGER]
    assert room.pool.statistics() == AT_REST


async def test_a_connection_that_is_kept_meanwhile_does_not_prolong_the_lingering(
    room: Room,
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
async def test_a_rest_that_is_no_end_costs_the_connection(room: Room, rest: bytes) -> None:
    (await room.lease()).finish(open_body(), keep_alive=True)
    room.theirs().send_nowait(rest)
    await wait_all_tasks_blocked()
    room.theirs().send_nowait(b"x") if not room.theirs().peer.closed else None
    assert room.pool.statistics() == AT_REST


@pytest.mark.parametrize("act", ["end", "close", "reset"])
@pytest.mark.parametrize("late", [False, True])
async def test_a_provider_that_leaves_while_we_linger(room: Room, act: str, late: bool) -> None:
    lease = await room.lease()
    if late:
        lease.finish(open_body(), keep_alive=True)
    getattr(room.theirs(), act)()
    if not late:
        lease.finish(open_body(), keep_alive=True)
    assert room.pool.statistics() == AT_REST


async def test_a_lingering_slot_is_handed_on_when_it_is_over(room: Room) -> None:
    start = trio.current_time()
    (await room.lease()).finish(open_body(), keep_alive=True)
    await room.lease()
    third = await room.lease()
    assert (trio.current_time() - start, third.reused) == (LINGER, False)


# --- the end


async def test_closing_closes_what_nobody_holds_and_keeps_nothing_more(room: Room) -> None:
    now = trio.current_time()
    idle, held = await room.lease(), await room.lease()
    idle.finish(whole(), keep_alive=True)
    room.pool.close()
    assert room.closed() == [now, math.inf]
    held.finish(whole(), keep_alive=True)
    assert room.closed() == [now, now]
    assert room.pool.statistics() == AT_REST


async def test_closing_ends_the_lingering(room: Room) -> None:
    (await room.lease()).finish(open_body(), keep_alive=True)
    room.pool.close()
    assert room.pool.statistics() == AT_REST
    assert room.closed() == [trio.current_time()]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("hold", [0.0, 0.5], ids=["cancelled anywhere", "cancelled at the gate"])
async def test_a_storm_of_cancellations_loses_no_slot(
    autojump_clock: MockClock, nursery: trio.Nursery, seed: int, hold: float
) -> None:
    """What leaves httpcore's pool of 10 with no slot at all (house plan, section 7)."""
    room = Room(nursery, PoolParams(limit=10, connect=0.02, idle=0.2), connect=0.01)
    chance = random.Random(seed)
    ends = {"faults": 0, "cancelled": 0, "done": 0}

    async def call() -> None:
        with trio.move_on_after(chance.uniform(0, 0.06)) as scope:
            try:
                lease = await room.lease(trio.current_time() + chance.uniform(0, 0.06))
            except Fault:
                ends["faults"] += 1
                return
            try:
                await trio.sleep(chance.choice((0, 0.01, 0.02, hold)))
                body = chance.choice((LengthBody(0), open_body(), open_body(LAST + b"x")))
                lease.finish(body, keep_alive=chance.random() < 0.8)
            finally:
                lease.close()
            ends["done"] += 1
        ends["cancelled"] += scope.cancelled_caught

    for _ in range(60):
        async with trio.open_nursery() as callers:
            for _ in range(40):
                callers.start_soon(call)
    assert min(ends.values()) > 50, ends
    await trio.sleep(LINGER + 0.2)
    assert room.pool.statistics() == AT_REST
    assert room.provider.at_rest()
    leases = [await room.lease(trio.current_time() + 1) for _ in range(10)]
    assert room.pool.statistics().leased == len(leases)
