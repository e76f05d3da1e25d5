"""Who waits for a stream, and whom room is for when there is some."""

import math
from functools import partial

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.transport.h2_call import H2Call
from kproxy.transport.pool import Lease
from kproxy.wire.h2_frames import Code
from tests.fakes.h2_answers import left
from tests.fakes.h2_provider import answering, codes, lease, site, whole


async def test_room_that_is_not_fresh_is_for_who_takes_it(autojump_clock: MockClock) -> None:
    """Who came first needs a fresh one, and none can be opened yet."""
    async with site(answering(b"x", wait=4)) as made:
        made.provider.settings = {codes.MAX_CONCURRENT_STREAMS: 1}
        first = await lease(made)
        await wait_all_tasks_blocked()
        made.provider.mute = True
        second = await lease(made)  # on a connection that does not say how many it takes
        made.provider.mute = False
        start = trio.current_time()
        got: dict[str, float] = {}

        async def wait(name: str, *, fresh: bool) -> None:
            found = await lease(made, start + 20, fresh=fresh)
            got[name] = trio.current_time() - start
            await whole(found)

        async with trio.open_nursery() as callers:
            callers.start_soon(partial(wait, "fresh", fresh=True))
            await wait_all_tasks_blocked()
            callers.start_soon(partial(wait, "any", fresh=False))
            await trio.sleep(2)
            first.close()
        assert got == {"any": 2, "fresh": 5}
        second.close()


async def test_a_provider_that_asks_for_http_1_while_some_wait(autojump_clock: MockClock) -> None:
    """None of them waits for a stream any more."""
    async with site(answering(b"x")) as made:
        made.provider.settings = {codes.MAX_CONCURRENT_STREAMS: 0}
        (await made.pool.acquire(math.inf)).close()
        await wait_all_tasks_blocked()
        found: list[Lease] = []

        async def wait(*, fresh: bool) -> None:
            found.append(await made.pool.acquire(trio.current_time() + 9, fresh=fresh))

        start = trio.current_time()
        async with trio.open_nursery() as callers:
            for fresh in (False, True, False):
                callers.start_soon(partial(wait, fresh=fresh))
            await wait_all_tasks_blocked()
            made.provider.protocol = "http/1.1"
            await made.provider.servers[0].send(left(0, Code.HTTP_1_1_REQUIRED))
        assert trio.current_time() == start
        assert [isinstance(one.link, H2Call) for one in found] == [False] * 3
        for one in found:
            one.close()
