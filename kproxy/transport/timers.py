"""Many deadlines, one sleeping task: callbacks in at a time, called from one place.

A cancel scope per deadline costs 14 us and a token stream wants a new deadline for every chunk. So
deadlines are timers in one heap, and one task sleeps until the earliest. Moving a timer *later*,
which is what a stream does all day, only writes an attribute: the old heap entry comes up in its
time, sees that it is early, and goes back. Moving it *earlier* pushes a second entry; the stale one
is recognised when it surfaces. A cancelled timer's entry stays until it is due, or until half of
the heap may be such entries, and is swept. Callbacks are synchronous and short; one that raises is
our own fault, is logged, and ends nobody else's timer.
"""

import heapq
import logging
import math
from collections.abc import Callable
from itertools import count
from typing import NoReturn

import trio

__all__ = ["Timer", "Timers"]

SWEEP_AT = 512
"""Cancelled timers before a sweep is thought of; fewer are not worth the pass."""

log = logging.getLogger("kproxy.timers")


class Timer:
    """A callback that is due at one absolute time of trio's clock; `math.inf` is never."""

    __slots__ = ("_callback", "_timers", "queued", "when")

    def __init__(self, timers: "Timers", callback: Callable[[], None]) -> None:
        self._timers = timers
        self._callback = callback
        self.queued = math.inf  # when this timer's earliest heap entry comes up
        self.when = math.inf

    def move(self, when: float) -> None:
        """Make the timer due at `when` instead. Cheap when that is later than before: where it is
        no earlier than `queued`, writing the attribute `when` is all."""
        self.when = when
        if when < self.queued:
            self.queued = when
            self._timers.push(when, self)

    def cancel(self) -> None:
        """The callback will not be called any more, unless the timer is moved again."""
        self.when = math.inf
        if self.queued != math.inf:
            self._timers.note_cancelled()

    def surface(self, entry: float, now: float) -> None:
        """A heap entry of this timer came up: call, go back to the heap, or forget it."""
        if entry != self.queued:
            return  # an earlier move made this entry stale
        self.queued = math.inf
        if self.when <= now:
            self.when = math.inf
            self._callback()
        elif self.when != math.inf:
            self.move(self.when)


class Timers:
    """The heap and its sleeper. `run` must be running for anything to be called."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._cancelled = 0  # since the heap was last swept
        self._nap = trio.CancelScope()

    def timer(self, callback: Callable[[], None]) -> Timer:
        """A timer that is not due yet."""
        return Timer(self, callback)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """A timer that is due at `when` (trio's clock, seconds)."""
        timer = Timer(self, callback)
        timer.move(when)
        return timer

    def push(self, when: float, timer: Timer) -> None:
        """For Timer: queue one entry, and wake the sleeper in time for it."""
        heapq.heappush(self._heap, (when, next(self._order), timer))
        if when < self._nap.deadline:
            self._nap.deadline = when

    def note_cancelled(self) -> None:
        """For Timer: an entry may be dead. Sweep when most could be: each costs its share once."""
        self._cancelled += 1
        if self._cancelled > SWEEP_AT and 2 * self._cancelled > len(self._heap):
            self._sweep()

    def _sweep(self) -> None:
        """Forget the entries of cancelled timers, which would else stay until they are due."""
        self._cancelled = 0
        kept = []
        for entry in self._heap:
            timer = entry[2]
            if entry[0] != timer.queued:
                continue
            if timer.when == math.inf:
                timer.queued = math.inf
            else:
                kept.append(entry)
        heapq.heapify(kept)
        self._heap = kept

    async def run(self) -> NoReturn:
        """Call what is due, for ever; ends by cancellation."""
        while True:
            due = self._heap[0][0] if self._heap else math.inf
            self._nap = trio.CancelScope(deadline=due)
            with self._nap:
                await trio.sleep_forever()
            now = trio.current_time()
            while self._heap and self._heap[0][0] <= now:
                entry, _, timer = heapq.heappop(self._heap)
                try:
                    timer.surface(entry, now)
                except Exception:
                    log.exception("a timer's callback failed")

    def statistics(self) -> int:
        """How many heap entries there are, stale ones included."""
        return len(self._heap)
