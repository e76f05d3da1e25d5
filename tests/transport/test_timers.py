"""Timers on the virtual clock: called once, at their time, however often they are moved."""

import math

import pytest
import trio
from trio.testing import MockClock

from kproxy.transport.timers import Timers


@pytest.fixture
async def timers(nursery: trio.Nursery) -> Timers:
    made = Timers()
    nursery.start_soon(made.run)
    return made


async def test_due_timers_are_called_in_order_at_their_time(
    timers: Timers, autojump_clock: MockClock
) -> None:
    start, calls = trio.current_time(), []
    for delay in (3.0, 1.0, 2.0):
        timers.call_at(
            start + delay, lambda delay=delay: calls.append((delay, trio.current_time()))
        )
    await trio.sleep(10)
    assert calls == [(delay, start + delay) for delay in (1.0, 2.0, 3.0)]


async def test_moving_later_calls_once_at_the_last_time(
    timers: Timers, autojump_clock: MockClock
) -> None:
    start, calls = trio.current_time(), []
    timer = timers.call_at(start + 1, lambda: calls.append(trio.current_time()))
    for step in range(50):
        timer.move(start + 1 + step)
    assert timers.statistics() == 1  # moving later only writes an attribute
    await trio.sleep(100)
    assert calls == [start + 50]


async def test_moving_earlier_wakes_the_sleeper(timers: Timers, autojump_clock: MockClock) -> None:
    start, calls = trio.current_time(), []
    timer = timers.call_at(start + 60, lambda: calls.append(trio.current_time()))
    await trio.sleep(1)
    timer.move(start + 2)
    await trio.sleep(100)
    assert calls == [start + 2]


async def test_moving_back_and_forth_leaves_no_second_call(
    timers: Timers, autojump_clock: MockClock
) -> None:
    start, calls = trio.current_time(), []
    timer = timers.call_at(start + 10, lambda: calls.append(trio.current_time()))
    timer.move(start + 5)
    timer.move(start + 20)
    await trio.sleep(100)
    assert calls == [start + 20]
    assert timers.statistics() == 0


async def test_cancelled_timers_are_never_called(timers: Timers, autojump_clock: MockClock) -> None:
    timer = timers.call_at(trio.current_time() + 1, lambda: pytest.fail("called"))
    timer.cancel()
    assert timer.when == math.inf
    await trio.sleep(100)


async def test_a_callback_may_set_its_own_timer_again(
    timers: Timers, autojump_clock: MockClock
) -> None:
    start, calls = trio.current_time(), []

    def again() -> None:
        calls.append(trio.current_time() - start)
        if len(calls) < 3:
            timer.move(trio.current_time() + 1)

    timer = timers.call_at(start + 1, again)
    await trio.sleep(100)
    assert calls == [1, 2, 3]


async def test_cancelled_timers_do_not_pile_up(timers: Timers, autojump_clock: MockClock) -> None:
    start, calls = trio.current_time(), []
    kept = timers.call_at(start + 5, lambda: calls.append(trio.current_time()))
    for _ in range(100_000):
        timers.call_at(start + 600, lambda: pytest.fail("called")).cancel()
    assert timers.statistics() < 2_000
    await trio.sleep(1_000)
    assert calls == [start + 5]
    assert kept.when == math.inf


async def test_timers_that_were_put_off_for_ever_and_cancelled_do_not_pile_up(
    timers: Timers, autojump_clock: MockClock
) -> None:
    """A link does so: no deadline behind its last answer, then it is closed."""
    for _ in range(10_000):
        timer = timers.call_at(trio.current_time() + 600, lambda: pytest.fail("called"))
        timer.move(math.inf)
        timer.cancel()
    assert timers.statistics() < 2_000
    await trio.sleep(1_000)
    assert timers.statistics() == 0


async def test_a_callback_that_raises_ends_no_other_timer(
    timers: Timers, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    start, calls = trio.current_time(), []
    timers.call_at(start + 1, lambda: 1 / 0)
    timers.call_at(start + 2, lambda: calls.append(trio.current_time()))
    await trio.sleep(10)
    assert calls == [start + 2]
    assert "a timer's callback failed" in caplog.text
