"""What tasks wait on: a reader and a writer park here, each until its side is woken or the deadline
passes; and who wants to know that the peer is gone is told once.

Whoever is woken tries again first, and parks again where that was for nothing: then a deadline
that has passed raises. So what came in the same instant as the deadline wins.

One timer serves every wait. A deadline is moved for each, most often to later, and that writes
attributes only (see timers.py).
"""

import math
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, cast

import trio

from kproxy.transport.duplex import Carrier, Expired
from kproxy.transport.timers import Timers

__all__ = ["Waitable"]


class Waitable:
    """The base of what is in duplex.py, for one task that receives and one that sends.

    A subclass wakes its sides, says `_left` and `_tell_gone` when the peer is gone, and cancels
    `_timer` in the end.
    """

    __slots__ = ("_gone", "_late", "_left", "_reader", "_timer", "_when", "_writer")

    _blind: ClassVar[bool] = False
    """Whether an end is seen only by who reads: then `_look_ahead` does where nobody else may."""

    def __init__(self, timers: Timers) -> None:
        self._reader: trio.lowlevel.Task | None = None
        self._writer: trio.lowlevel.Task | None = None
        self._gone: Callable[[], None] | None = None
        self._left = False  # the peer is gone
        self._late = False  # the deadline has passed
        self._when = math.inf
        self._timer = timers.timer(self._expire)

    @property
    def deadline(self) -> float:
        """Absolute time (trio's clock, seconds) at which a waiting operation raises Expired."""
        return self._when

    @deadline.setter
    def deadline(self, when: float) -> None:
        self._when = when
        self._late = False
        timer = self._timer
        if when < timer.queued:
            timer.move(when)
        else:
            timer.when = when

    @property
    def on_gone(self) -> Callable[[], None] | None:
        """Called once when the peer is gone; at once if it is already."""
        return self._gone

    @on_gone.setter
    def on_gone(self, callback: Callable[[], None] | None) -> None:
        if callback is not None and self._left:
            callback()
            return
        self._gone = callback
        if self._blind and callback is not None:
            self._look_ahead()

    # --- the side of whom it tells

    def wait_readable(self) -> Coroutine[Any, Any, object]:
        """Park until there may be something to read. Try first. Raises Expired.

        The coroutine is trio's: one of our own around it would be entered twice for each wait.
        """
        if self._late:
            raise Expired(cast("Carrier", self))
        self._reader = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._leave_reader)  # noqa: ASYNC105 - by the caller

    def wait_writable(self) -> Coroutine[Any, Any, object]:
        """Park until there may be room to write, likewise."""
        if self._late:
            raise Expired(cast("Carrier", self))
        self._writer = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._leave_writer)  # noqa: ASYNC105 - by the caller

    def _leave_reader(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _leave_writer(self, _: object) -> trio.lowlevel.Abort:
        self._writer = None
        return trio.lowlevel.Abort.SUCCEEDED

    # --- the side of who tells

    def _wake_reader(self) -> None:
        task, self._reader = self._reader, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _wake_writer(self) -> None:
        task, self._writer = self._writer, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _wake(self) -> None:
        for task in (self._reader, self._writer):
            if task is not None:
                trio.lowlevel.reschedule(task)
        self._reader = self._writer = None

    def _expire(self) -> None:
        """The timer is due."""
        self._late = True
        self._wake()

    def _tell_gone(self) -> None:
        callback, self._gone = self._gone, None
        if callback is not None:
            callback()

    def _look_ahead(self) -> None:
        """Somebody wants to know when the peer leaves, and there may be something to read."""
