"""Orders: from signals, and carried out."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kproxy.orders import End, Hangup, Order, by_signals, carry_out


async def test_signals_renew_drain_and_cut() -> None:
    with by_signals() as told:
        for number, order in (
            (signal.SIGHUP, Order.RENEW),
            (signal.SIGTERM, Order.DRAIN),
            (signal.SIGHUP, Order.RENEW),
            (signal.SIGINT, Order.CUT),
            (signal.SIGTERM, Order.CUT),
        ):
            signal.raise_signal(number)
            assert await anext(told) is order


class Listening:
    """What is told to a listener and to the renewal, in order, with the time."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []

    def _note(self, what: str) -> None:
        self.told.append((what, trio.current_time()))

    def drain(self) -> None:
        self._note("drain")

    def cut(self) -> None:
        self._note("cut")

    def hurry(self) -> None:
        self._note("hurry")

    def ask(self) -> bool:
        self._note("ask")
        return True


async def carried(orders: list[tuple[float, Order]]) -> list[tuple[str, float]]:
    """What these orders, given at these times, come to with a patience of 10 seconds."""
    send, receive = trio.open_memory_channel[Order](0)  # 0: handed over

    @contextmanager
    def source() -> Iterator[AsyncIterator[Order]]:
        yield receive

    listening, begun = Listening(), trio.current_time()
    end = End(trio.Event(), trio.Event())

    async def note_hurry() -> None:
        await end.hurried.wait()
        listening.hurry()

    async with trio.open_nursery() as nursery:
        hangup = Hangup([listening.ask], lambda: 10.0)
        await nursery.start(carry_out, source, listening, end, hangup)
        nursery.start_soon(note_hurry)
        for at, order in orders:
            await trio.sleep_until(begun + at)
            await send.send(order)
            await wait_all_tasks_blocked()
        await trio.sleep(60)
        assert end.draining.is_set()
        nursery.cancel_scope.cancel()
    return [(what, when - begun) for what, when in listening.told]


@pytest.mark.parametrize(
    ("orders", "told"),
    [
        ([(1, Order.DRAIN)], [("drain", 1), ("cut", 11)]),
        ([(1, Order.DRAIN), (3, Order.CUT)], [("drain", 1), ("cut", 3), ("hurry", 3)]),
        ([(1, Order.CUT)], [("drain", 1), ("cut", 1), ("hurry", 1)]),
        ([(1, Order.RENEW), (2, Order.CUT)], [("ask", 1), ("drain", 2), ("cut", 2), ("hurry", 2)]),
        (
            [(1, Order.DRAIN), (12, Order.RENEW), (13, Order.CUT), (14, Order.CUT)],
            [("drain", 1), ("cut", 11), ("ask", 12), ("hurry", 13)],
        ),
        (
            [(1, Order.DRAIN), (2, Order.DRAIN), (3, Order.RENEW), (4, Order.CUT)],
            [("drain", 1), ("ask", 3), ("cut", 4), ("hurry", 4)],
        ),
    ],
)
async def test_carried_out(
    orders: list[tuple[float, Order]], told: list[tuple[str, float]], autojump_clock: object
) -> None:
    assert await carried(orders) == told
