"""Whose silence it was, when a slow caller takes again what a stream has to give."""

import pytest
import trio
from trio.testing import MockClock

from kproxy.wire.frame import LAST_CHUNK
from tests.fakes.h2_provider import Turn, site
from tests.transport.test_h2_call import Copy, Narrow, calling


@pytest.mark.parametrize("pause", [3, 10])
async def test_a_caller_who_is_slow_for_longer_than_a_gap(
    autojump_clock: MockClock, pause: float
) -> None:
    """The provider waits for its window all the while, and goes on within the gap."""
    body = bytes(range(256)) * 1_000

    async def play(turn: Turn) -> None:
        await turn.head()
        await turn.data(body[:60_000])
        engine = turn.server.engine
        while not turn.over and engine.local_flow_control_window(turn.stream) < 50_000:
            await turn.server.news()
        await trio.sleep(1)
        await turn.data(body[60_000:], end=True)

    async with site(play) as made:
        call = await calling(made)
        sink = Narrow(room=100)
        async with trio.open_nursery() as relay:
            relay.start_soon(call.pump, sink, Copy(), 5)
            await trio.sleep(pause)
            sink.widen()
        assert sink.got.endswith(LAST_CHUNK)
        call.close()
