"""Callers who give up at any moment, hundreds of them: no stream and no slot is lost."""

import math
import random  # noqa: TID251 - the storm is seeded, each test has its own

import pytest
import trio
from trio.testing import MockClock

from kproxy.errors import Fault
from kproxy.transport.duplex import Broken
from kproxy.wire.h2_frames import Code
from tests.fakes.h2_provider import Turn, codes, lease, site, whole

HEAD = b"POST /v1 HTTP/1.1\r\nhost: there\r\ncontent-length: 6\r\n\r\n"


@pytest.mark.parametrize("seed", range(4))
async def test_a_storm_of_cancellations_leaves_no_stream(
    autojump_clock: MockClock, seed: int
) -> None:
    """Callers who give up at any moment, at providers that answer, reset and leave."""
    chance = random.Random(seed)
    ends = {"fault": 0, "cancelled": 0, "whole": 0, "broken": 0}

    async def play(turn: Turn) -> None:
        await turn.asked()
        await trio.sleep(chance.uniform(0, 0.03))
        if turn.over:
            return
        if chance.random() < 0.1:
            await turn.cut(chance.choice((Code.REFUSED_STREAM, Code.INTERNAL_ERROR)))
            return
        await turn.head()
        for _ in range(3):
            await trio.sleep(0.005)
            if turn.over:
                return
            await turn.data(turn.body)
        await turn.data(b"", end=True)
        if chance.random() < 0.02:
            turn.server.link.close()

    async with site(play, connect=0.01, limit=30) as made:
        made.provider.settings = {codes.MAX_CONCURRENT_STREAMS: 8}

        async def call(number: int) -> None:
            word = b"%06d" % number
            with trio.move_on_after(chance.uniform(0, 0.1)) as scope:
                try:
                    found = await made.pool.acquire(trio.current_time() + chance.uniform(0, 0.05))
                except Fault:
                    ends["fault"] += 1
                    return
                try:
                    await found.link.send_all(HEAD + word)
                    assert await whole(found) == word * 3
                    ends["whole"] += 1
                except (Broken, EOFError):
                    ends["broken"] += 1
                finally:
                    found.close()
            ends["cancelled"] += scope.cancelled_caught

        for turn in range(20):
            async with trio.open_nursery() as callers:
                for number in range(40):
                    callers.start_soon(call, 40 * turn + number)
        assert min(ends.values()) > 20, ends
        await trio.sleep(2)  # what lingers
        assert all(one.open_streams == 0 for one in made.provider.servers if one.ended == math.inf)
        statistics = made.pool.statistics()
        assert (statistics.leased, statistics.lingering) == (0, 0)
        held = [await lease(made, trio.current_time() + 9) for _ in range(30)]
        assert made.pool.statistics().leased == 30
        for one in held:
            one.close()
