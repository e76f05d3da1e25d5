"""Whether the other side is still there: times in, when to ask and by when it must have answered.

No answer is the end of a connection that is silently dead; asked too often we would be a flood.
"""

import math

__all__ = ["SELDOM", "Proof"]

SELDOM = 1.0
"""Seconds between two of our PINGs; more would look like a flood."""


class Proof:
    """Of one connection, that owes a sign of life from the start: its SETTINGS. `seconds`: how long
    that, or an answer to a PING, may take. `due`: by when there must be one; inf: none is owed."""

    __slots__ = ("_asked", "due", "seconds")

    def __init__(self, seconds: float, now: float) -> None:
        self.seconds = seconds
        self.due = now + seconds
        self._asked = -math.inf

    def ask(self, now: float) -> bool:
        """Whether to ask now; it is taken as done."""
        if self.due < math.inf or now - self._asked < SELDOM:
            return False
        self._asked, self.due = now, now + self.seconds
        return True

    def given(self) -> None:
        """There was a sign of life."""
        self.due = math.inf

    def doubt(self, now: float) -> float:
        """For how many seconds a PING has had no answer; 0: none is owed to one."""
        return now - self._asked if -math.inf < self._asked and self.due < math.inf else 0.0
