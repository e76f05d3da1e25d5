"""How late the event loop is goes in; whether one more request may begin comes out.

The problem: with more callers than a process can serve, each turn of its loop takes longer, every
answer comes later, callers give up and ask again, and in the end all the work is for answers that
nobody waits for. The obvious way is a limit on requests under way. But streams that wait for a
provider cost next to nothing and others much, so no number is right.

Our way: what hurts is the wait, so the wait is the measure. A request passes the loop some ten
times before its first token leaves, and waits each time as long as a turn takes: at a quarter of a
second, five times what already stops hedges, kproxy adds as much to the first token as a slow model
does. While even the shortest turn of the last second was longer, a share of new requests is
refused: the one that would bring the turn back to the bound if turns are as long as there is work.
Twice the bound refuses half; a single late turn (a pause of the machine) refuses nobody.

What was admitted goes on, and readiness does not change: a process that is taken out of service for
its load sends that load to the next one.
"""

from kproxy.errors import Rejected

__all__ = ["LATE_TURN", "refused_share", "shed"]

LATE_TURN = 0.25
"""Seconds that a turn of the loop may take, all through a second."""

SPREAD = 3
"""Seconds over which those who were refused come back, so that they do not come together."""


def refused_share(turn: float, bound: float = LATE_TURN) -> float:
    """0 to 1: of the requests that come now. Both are seconds."""
    return 1.0 - bound / turn if turn > bound else 0.0


def shed(turn: float, bound: float, chance: float) -> Rejected | None:
    """The refusal of one request, or None. `chance` is its own, uniform from 0 to 1."""
    share = refused_share(turn, bound)
    if chance >= share:
        return None
    rejected = Rejected(503, "overloaded", "There is more to do than can be done in time.")
    later = 1 + int(SPREAD * chance / share)
    rejected.headers = ((b"retry-after", b"%d" % later),)
    return rejected
