"""How late the event loop is: a clock in, the seconds by which one wake-up came too late out.

A loop that is late has more to do than it can. It is the earliest sign of overload that a process
has of itself, and it costs four wake-ups a second.
"""

from collections import deque
from typing import NoReturn

import trio

__all__ = ["LoopLag"]

PERIOD = 0.25  # seconds between two looks

LATE = 0.05
"""Seconds of lag from which no work is started that need not be: a hedge at P95 would not win."""


LOOKS = 4
"""How many looks in a row make a standing lateness; a second, when the loop is not late."""


class LoopLag:
    """The last wake-up's lateness. `run` must be running."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.standing = 0.0  # the least of the last looks: one late turn is no overload
        self._last = deque([0.0] * LOOKS, LOOKS)

    async def run(self) -> NoReturn:
        """Look again and again; ends by cancellation."""
        while True:
            due = trio.current_time() + PERIOD
            await trio.sleep_until(due)
            self.seconds = trio.current_time() - due
            self._last.append(self.seconds)
            self.standing = min(self._last)

    def overloaded(self) -> bool:
        """Whether the loop is too late for work that can be left out."""
        return self.seconds > LATE
