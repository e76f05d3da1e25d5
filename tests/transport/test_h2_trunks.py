"""Which connection a request goes to: shared, another one, or none yet."""

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.errors import Fault, FaultKind
from kproxy.transport.duplex import Broken
from kproxy.transport.h2_call import H2Call
from kproxy.transport.h2_trunk import TrunkParams
from kproxy.transport.h2_trunks import Trunks
from kproxy.transport.pool import Lease
from kproxy.transport.timers import Timers
from kproxy.wire.h2_frames import Code
from kproxy.wire.limits import H1Limits
from tests.fakes.cancel import cancelled_at
from tests.fakes.h2_frames import settings
from tests.fakes.h2_provider import (
    REQUEST,
    SECURE,
    H2Provider,
    Turn,
    answering,
    codes,
    lease,
    site,
    whole,
)


async def silent(turn: Turn) -> None:
    await turn.asked()


# --- sharing


async def test_requests_that_come_together_share_a_connection(autojump_clock: MockClock) -> None:
    async with site(answering(b"x", wait=1), connect=1) as made:
        start = trio.current_time()
        got: list[bytes] = []

        async def ask() -> None:
            got.append(await whole(await lease(made)))

        async with trio.open_nursery() as callers:
            for _ in range(50):
                callers.start_soon(ask)
            await trio.sleep(1.5)
            assert made.pool.statistics().leased == 50
        assert got == [b"x"] * 50
        assert (made.provider.dialled, trio.current_time() - start) == (1, 2)
        assert made.pool.statistics().shared == len(made.trunks) == 1


async def test_who_finds_no_room_opens_another(autojump_clock: MockClock) -> None:
    async with site(answering(b"x", wait=1)) as made:
        made.provider.settings = {codes.MAX_CONCURRENT_STREAMS: 2}
        (await lease(made)).close()  # it has told its limit
        await wait_all_tasks_blocked()
        leases = [await lease(made) for _ in range(5)]
        await wait_all_tasks_blocked()
        assert [one.open_streams for one in made.provider.servers] == [2, 2, 1]
        assert [await whole(one) for one in leases] == [b"x"] * 5
        again = await lease(made)
        await wait_all_tasks_blocked()
        assert made.provider.servers[0].open_streams == 1, "the first one that has room"
        await whole(again)


async def test_the_gate_counts_requests(autojump_clock: MockClock) -> None:
    async with site(silent, limit=2) as made:
        held = [await lease(made) for _ in range(2)]
        start = trio.current_time()
        with pytest.raises(Fault) as fault:
            await lease(made, start + 3)
        assert (fault.value.kind, trio.current_time() - start) == (FaultKind.POOL_TIMEOUT, 3)
        for one in held:
            one.close()


async def test_a_provider_that_is_not_ready(autojump_clock: MockClock) -> None:
    """It allows no stream: one waits, in order, within one's deadline, and opens no more."""
    async with site(answering(b"x")) as made:
        made.provider.settings = {codes.MAX_CONCURRENT_STREAMS: 0}
        first = await made.pool.acquire(math.inf)
        first.close()
        await wait_all_tasks_blocked()
        start = trio.current_time()
        order: list[tuple[int | FaultKind, float]] = []

        async def ask(number: int, deadline: float) -> None:
            try:
                found = await lease(made, start + deadline)
            except Fault as fault:
                order.append((fault.kind, trio.current_time() - start))
            else:
                order.append((number, trio.current_time() - start))
                await whole(found)

        async with trio.open_nursery() as callers:
            for number, deadline in enumerate((3, math.inf, math.inf, math.inf), 1):
                callers.start_soon(ask, number, deadline)
                await wait_all_tasks_blocked()
            await trio.sleep(5)
            assert (made.pool.queued, made.pool.wait(trio.current_time())) == (True, 5)
            (server,) = made.provider.servers
            server.engine.update_settings({codes.MAX_CONCURRENT_STREAMS: 1})
            await server.send()
        assert order == [(FaultKind.POOL_TIMEOUT, 3), (2, 5), (3, 5), (4, 5)]
        assert (made.provider.dialled, made.pool.queued) == (1, False)
        assert made.pool.wait(trio.current_time()) == 0


async def test_a_limit_that_falls_below_what_is_under_way(autojump_clock: MockClock) -> None:
    async with site(answering(b"x", wait=2)) as made:
        first = await lease(made)
        second = await made.pool.acquire(math.inf)
        await made.provider.servers[0].send(settings((codes.MAX_CONCURRENT_STREAMS, 1)))
        await wait_all_tasks_blocked()
        with pytest.raises(Broken) as error:
            await second.link.send_all(REQUEST)
        assert (error.value.kind, error.value.untouched) == (FaultKind.CONNECT, True)
        second.close()
        assert await whole(first) == b"x"


# --- connecting


async def test_a_fault_is_shared(autojump_clock: MockClock) -> None:
    async with site(silent, connect=1) as made:
        made.provider.refuses = True
        start, faults = trio.current_time(), []

        async def ask() -> None:
            with pytest.raises(Fault) as fault:
                await lease(made)
            faults.append((fault.value.kind, trio.current_time() - start))

        async with trio.open_nursery() as callers:
            for _ in range(5):
                callers.start_soon(ask)
        assert faults == [(FaultKind.CONNECT, 1)] * 5
        assert made.provider.dialled == 1


async def test_who_opened_it_leaves(autojump_clock: MockClock) -> None:
    async with site(answering(b"x"), connect=2) as made, trio.open_nursery() as callers:
        start = trio.current_time()
        first = trio.CancelScope()

        async def leave() -> None:
            with first:
                await lease(made)

        callers.start_soon(leave)
        await wait_all_tasks_blocked()
        callers.start_soon(trio.sleep, 1)
        await trio.sleep(1)

        async def stay() -> None:
            assert await whole(await lease(made)) == b"x"
            assert trio.current_time() - start == 2, "what was begun is not thrown away"

        callers.start_soon(stay)
        await wait_all_tasks_blocked()
        first.cancel()


async def test_who_opened_it_has_less_time(autojump_clock: MockClock) -> None:
    """One's patience is not another's."""
    async with site(answering(b"x"), connect=1) as made, trio.open_nursery() as callers:
        start = trio.current_time()

        async def leave() -> None:
            with pytest.raises(Fault) as fault:
                await lease(made, start + 0.5)
            assert fault.value.kind is FaultKind.CONNECT_TIMEOUT
            assert trio.current_time() - start == 0.5

        async def stay() -> None:
            assert await whole(await lease(made, start + 30)) == b"x"
            assert (trio.current_time() - start, made.provider.dialled) == (1, 1)

        callers.start_soon(leave)
        await wait_all_tasks_blocked()
        callers.start_soon(stay)


async def test_nobody_is_left_for_it(autojump_clock: MockClock) -> None:
    """One of HTTP/2 is there for the next; one of HTTP/1.1 is closed."""
    async with site(answering(b"x"), connect=1) as made:
        for protocol, left in (("http/1.1", 0), ("h2", 1)):
            made.provider.protocol = protocol
            made.trunks._alone = False
            with pytest.raises(Fault):
                await lease(made, trio.current_time() + 0.5)
            await trio.sleep(1)
            assert (made.provider.open, len(made.trunks)) == (left, left)
        assert await whole(await lease(made)) == b"x"
        assert made.provider.dialled == 2


async def test_their_owner_ends_while_connecting(autojump_clock: MockClock) -> None:
    async with site(silent, connect=1) as made, trio.open_nursery() as callers:

        async def ask() -> None:
            with pytest.raises(Fault) as fault:
                await lease(made)
            assert fault.value.kind is FaultKind.CONNECT

        for _ in range(2):
            callers.start_soon(ask)
        await wait_all_tasks_blocked()
        made.stop()


@pytest.mark.parametrize(("deadline", "seconds"), [(math.inf, 5), (3, 3)])
async def test_connecting_takes_too_long(
    autojump_clock: MockClock, deadline: float, seconds: float
) -> None:
    async with site(silent, connect=9) as made, trio.open_nursery() as callers:
        start = trio.current_time()

        async def ask() -> None:
            with pytest.raises(Fault) as fault:
                await lease(made, start + deadline)
            assert fault.value.kind is FaultKind.CONNECT_TIMEOUT
            assert trio.current_time() - start == seconds

        for _ in range(3):
            callers.start_soon(ask)


async def test_nobody_takes_it_over(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A process that is ending: the connection is closed."""
    provider, timers = H2Provider(nursery, silent), Timers()

    async def keep(_: object) -> None:
        await trio.sleep_forever()

    trunks = Trunks(provider.dial, keep, timers, TrunkParams(H1Limits()), connect=5)
    with pytest.raises(Fault) as fault:
        await trunks.take(SECURE, trio.current_time() + 3)
    assert fault.value.kind is FaultKind.CONNECT_TIMEOUT
    with trio.move_on_after(1):
        await trunks.take(SECURE, math.inf)
    await wait_all_tasks_blocked()
    assert (provider.open, len(trunks), provider.dialled) == (0, 0, 0)


@pytest.mark.parametrize("step", range(1, 12))
async def test_cancelled_anywhere(autojump_clock: MockClock, step: int) -> None:
    async with site(answering(b"x"), connect=1, limit=1) as made:

        async def story() -> None:
            found = await made.pool.acquire(math.inf)
            try:
                await found.link.send_all(REQUEST)
                await whole(found)
            finally:
                found.close()

        await cancelled_at(step, story)
        await wait_all_tasks_blocked()
        assert await whole(await lease(made, trio.current_time() + 9)) == b"x"


# --- HTTP/1.1 after all


async def test_a_provider_that_chooses_http_1(autojump_clock: MockClock) -> None:
    """Its connections are each one's own, opened at the same time, and kept as ever."""
    async with site(silent, connect=1) as made:
        made.provider.protocol = "http/1.1"
        start = trio.current_time()
        links: list[Lease] = []

        async def ask() -> None:
            links.append(await made.pool.acquire(math.inf))

        async with trio.open_nursery() as callers:
            for _ in range(4):
                callers.start_soon(ask)
        assert trio.current_time() - start == 2, "the first has tried, the others follow together"
        assert not any(isinstance(one.link, H2Call) for one in links)
        assert made.provider.dialled == 4
        made.provider.protocol = "h2"
        more = [await made.pool.acquire(math.inf) for _ in range(3)]
        assert all(isinstance(one.link, H2Call) for one in more)
        assert made.provider.dialled == 5
        for one in (*links, *more):
            one.close()


async def test_a_provider_that_asks_for_http_1(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.asked()
        await turn.cut(Code.HTTP_1_1_REQUIRED)

    async with site(play) as made:
        first = await lease(made)
        with pytest.raises(Broken) as error:
            await first.link.receive()
        assert error.value.untouched
        first.close()
        made.provider.protocol = "http/1.1"
        second = await made.pool.acquire(math.inf)
        assert not isinstance(second.link, H2Call)
        assert made.trunks.refused
        second.close()


# --- stale ones


async def test_a_fresh_one_has_been_heard_of(autojump_clock: MockClock) -> None:
    async with site(answering(b"x")) as made:
        first = await lease(made)
        assert not first.reused
        await whole(first)
        second = await lease(made)
        assert second.reused
        await whole(second)
        await trio.sleep(0.5)
        await whole(await lease(made, fresh=True))
        assert made.provider.dialled == 1
        await trio.sleep(2)
        await whole(await lease(made, fresh=True))
        assert made.provider.dialled == 2, "that one may be dead"


async def test_a_connection_in_use_is_not_taken_for_a_stale_one(autojump_clock: MockClock) -> None:
    async with site(silent) as made:
        first = await lease(made)
        second = await lease(made)
        assert (first.reused, second.reused) == (False, False)
        first.close()
        second.close()


# --- the end


async def test_closed_it_ends_with_its_last_call(autojump_clock: MockClock) -> None:
    async with site(answering(b"x", wait=3)) as made:
        found = await lease(made)
        made.pool.close()
        await trio.sleep(1)
        assert made.provider.open == 1
        assert await whole(found) == b"x"
        await wait_all_tasks_blocked()
        assert made.provider.open == 0
        assert repr(made.trunks) == "<Trunks []>"


async def test_closed_while_connecting(autojump_clock: MockClock) -> None:
    async with site(answering(b"x", wait=3), connect=1) as made:

        async def ask() -> None:
            assert await whole(await lease(made)) == b"x"

        async with trio.open_nursery() as callers:
            callers.start_soon(ask)
            await wait_all_tasks_blocked()
            made.pool.close()
