"""What a serving process is told from outside, and by whom: signals in, orders out, carried out.

A process of its own is told by signals. A worker is told by its parent (`workers/child.py`), since
a terminal and a service manager signal every process of a group, and each worker would take what
its parent passes on for the second signal.
"""

import enum
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, NoReturn, Self

import trio

from kproxy.downstream.listener import Listener

__all__ = ["End", "Hangup", "Order", "Orders", "by_signals", "carry_out"]

log = logging.getLogger("kproxy")


class Order(enum.Enum):
    """What to do. One that is given twice is the same as once."""

    RENEW = "renew"  # look at the configuration and the certificates
    DRAIN = "drain"  # nothing new; end when what is under way has ended
    CUT = "cut"  # end now


Orders = Callable[[], AbstractContextManager[AsyncIterator[Order]]]
"""While it is entered, orders arrive; it never ends by itself."""


class _Signals:
    """SIGHUP renews; the first SIGTERM or SIGINT drains, the second cuts."""

    def __init__(self, signals: AsyncIterator[int]) -> None:
        self._signals = signals
        self._next = Order.DRAIN

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Order:
        if await anext(self._signals) == signal.SIGHUP:
            return Order.RENEW
        order, self._next = self._next, Order.CUT
        return order


@contextmanager
def by_signals() -> Iterator[AsyncIterator[Order]]:
    """The signals of a process of its own, as long as this is entered."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        yield _Signals(signals)


class Hangup(NamedTuple):
    """What RENEW calls, and how many seconds a drain may take when it begins."""

    renew: Sequence[Callable[[], object]]
    patience: Callable[[], float]


class End(NamedTuple):
    """How far it has come. `hurried`: whoever gives orders waits for nothing any more."""

    draining: trio.Event
    hurried: trio.Event


async def carry_out(
    orders: Orders,
    listener: Listener,
    end: End,
    hangup: Hangup,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Drain when told to; cut when told to, or when the patience is over. Ends by cancellation: a
    signal that nobody takes would kill the process while it closes its stores."""
    with orders() as told:
        task_status.started()
        while (order := await anext(told)) is Order.RENEW:
            _renew(hangup)
        end.draining.set()
        listener.drain()
        if order is Order.DRAIN:
            log.warning("draining; a second signal cuts what is still running")
            with trio.move_on_after(hangup.patience()) as patience:
                await _until_cut(told, hangup)
            listener.cut()
            if patience.cancelled_caught:
                await _until_cut(told, hangup)
        else:
            listener.cut()
        end.hurried.set()
        while True:
            await anext(told)


async def _until_cut(told: AsyncIterator[Order], hangup: Hangup) -> None:
    while (order := await anext(told)) is not Order.CUT:
        if order is Order.RENEW:
            _renew(hangup)


def _renew(hangup: Hangup) -> None:
    for call in hangup.renew:
        call()
