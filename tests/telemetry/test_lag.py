"""The loop's lateness is what one wake-up shows."""

import trio
from trio.testing import MockClock

from kproxy.telemetry.lag import LATE, LOOKS, PERIOD, LoopLag


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


async def test_it_stands_when_every_look_of_a_second_was_late(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    lag = LoopLag()
    nursery.start_soon(lag.run)
    seen = []
    for late in (*[0.3] * (LOOKS + 1), 0.1, *[0.3] * LOOKS):
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(PERIOD + late)
        await trio.testing.wait_all_tasks_blocked()
        seen.append(round(lag.standing, 6))
    assert seen == [0, 0, 0, 0.3, 0.3, 0.1, 0.1, 0.1, 0.1, 0.3]
    nursery.cancel_scope.cancel()
