"""The loop's lateness is what one wake-up shows."""

import trio
from trio.testing import MockClock

from kproxy.telemetry.lag import LATE, PERIOD, LoopLag


async def test_lateness_is_seen_and_passes(mock_clock: MockClock, nursery: trio.Nursery) -> None:
    lag = LoopLag()
    nursery.start_soon(lag.run)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(PERIOD)
    await trio.testing.wait_all_tasks_blocked()
    assert (lag.seconds, lag.overloaded()) == (0, False)
    mock_clock.jump(PERIOD + LATE + 1)
    await trio.testing.wait_all_tasks_blocked()
    assert (lag.seconds, lag.overloaded()) == (LATE + 1, True)
    mock_clock.jump(PERIOD)
    await trio.testing.wait_all_tasks_blocked()
    assert not lag.overloaded()
    nursery.cancel_scope.cancel()
