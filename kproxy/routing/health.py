"""Verdicts on an endpoint go in; whether it is asked again, and when, comes out.

A `Breaker` is the health of one model at one provider, or of one provider's credential. It opens
after some consecutive failures, rests, and then lets one request through as a probe:

| state     | ADMIT                            | SUCCESS | FAILURE                    | ABANDONED |
|-----------|----------------------------------|---------|----------------------------|-----------|
| CLOSED    | admits                           | forgets | counts; at the limit: OPEN | nothing   |
| OPEN      | refuses while it rests, else     | refuses | refuses                    | refuses   |
|           | HALF_OPEN with the probe         |         |                            |           |
| HALF_OPEN | refuses: the probe is out, but   | CLOSED  | OPEN, rests twice as long  | OPEN      |
|           | not for longer than a rest       |         |                            |           |

1. HALF_OPEN means that the probe is out. It is the only one for as long as a rest would be; if it
   has no verdict by then, the next request is the probe, and the old one's verdict is of an old
   turn. Otherwise one caller with a long request could keep a healthy endpoint from all the
   others. A probe that ends without a verdict goes back to OPEN with its rest over.
2. A verdict counts in the turn in which its attempt was admitted; the breaker's turn changes with
   its state. Twenty attempts that were under way when it opened may still fail: that is the trouble
   it opened for, and must not lengthen the rest or fail the probe. One of them may still succeed:
   the endpoint was well when it began, which is older news than the failures. And a failure that
   arrives after the breaker closed again is from before the recovery.
3. A penalty (Retry-After) is the provider's word on when to come back. It stands beside the state:
   no success ends it.
4. A probe's success closes the breaker, but the next rest is short again only after an answer that
   was admitted when it was closed: who answers probes and fails all else is left alone for longer.
5. `now` is in seconds of a steady clock. Who was admitted hands the permit back, whatever happened.
"""

import enum
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

__all__ = [
    "LONGEST_PENALTY",
    "MOVES",
    "ROUNDING",
    "Breaker",
    "BreakerParams",
    "BreakerState",
    "Event",
    "Permit",
    "Standing",
    "Verdict",
]

LONGEST_PENALTY = 3_600.0
"""Seconds. A provider that asks for more is asked again after this."""

ROUNDING = 0.01
"""Seconds. Two processes' clocks are set against each other, so their times differ a little."""


class BreakerState(enum.Enum):
    """Whether an endpoint is asked: as always, not at all, or by one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"

    __hash__ = object.__hash__  # each of them is one object; Enum hashes its name, in Python


class Event(enum.Enum):
    """What a breaker is told. All but ADMIT are verdicts."""

    ADMIT = "admit"  # a request would like to be sent
    SUCCESS = "success"
    FAILURE = "failure"
    ABANDONED = "abandoned"  # no verdict: the caller left, or another attempt won

    __hash__ = object.__hash__


Verdict = Literal[Event.SUCCESS, Event.FAILURE, Event.ABANDONED]


class BreakerParams(msgspec.Struct, frozen=True):
    """How many consecutive failures open a breaker, and the seconds it rests.

    A rest that a failed probe follows is doubled, up to the longest. Raises ValueError for what is
    no such number.
    """

    failures: int = 3
    rest: float = 5.0
    longest_rest: float = 60.0

    def __post_init__(self) -> None:
        if self.failures < 1:
            raise ValueError("a breaker opens after at least one failure")
        if not 0 < self.rest <= self.longest_rest < math.inf:
            raise ValueError("a breaker's rest is not positive, or not within the longest")


class Permit(msgspec.Struct, frozen=True):
    """Leave to send one request. It goes back to its breaker with the verdict."""

    probe: bool
    turn: int  # of the breaker, when it was given


class Standing(msgspec.Struct, frozen=True):
    """A breaker at one moment. `open_until` is the known end of a rest or a penalty, if any."""

    state: BreakerState
    open_until: float | None

    def resting(self, now: float) -> bool:
        """Whether a request would be refused: by a rest, a penalty, or a probe that is out."""
        return self.open_until is not None and now < self.open_until


class Breaker:
    """The health of one endpoint: `admit`, then `ended` with the permit, for every attempt.

    For a credential a 401 is `open_now` and a failure, in either order; any other answer is a
    success, and no answer says nothing of it: abandoned.
    """

    __slots__ = (
        "_failures",
        "_params",
        "_penalty",
        "_probing",
        "_rest",
        "_state",
        "_turn",
        "_until",
    )

    def __init__(self, params: BreakerParams) -> None:
        self._params = params
        self._state = BreakerState.CLOSED
        self._turn = 0
        self._failures = 0  # consecutive, in this turn
        self._rest = params.rest  # the next one
        self._until = -math.inf
        self._probing = -math.inf  # until when the probe that is out is the only one
        self._penalty = -math.inf

    def admit(self, now: float) -> Permit | None:
        """Leave to send one request now, or None."""
        if now < self._penalty:
            return None
        move = MOVES[self._state, Event.ADMIT]
        return move(self, now) if move is not None else None

    def ended(self, permit: Permit, verdict: Verdict, now: float) -> None:
        """The attempt with this permit is over. A verdict of an earlier turn moves nothing."""
        move = MOVES[self._state, verdict]
        if permit.turn == self._turn and move is not None:
            move(self, now)

    def reform(self, params: BreakerParams) -> None:
        """Other numbers from now on; a rest that has begun stays as long as it was."""
        if params != self._params:
            self._params, self._rest = params, params.rest

    def penalise(self, until: float, now: float) -> None:
        """Rest until then, in whatever state, at most an hour. The latest penalty's end counts."""
        self._penalty = max(self._penalty, min(until, now + LONGEST_PENALTY))

    def open_now(self, now: float, rest: float) -> None:
        """Rest at once, for a fault that no repetition mends (a 401). A probe's success ends it.

        While a probe is out there is no other before that end, and if it fails none either.
        """
        self._until = max(self._until, now + rest)
        if self._state is BreakerState.CLOSED:
            self._become(BreakerState.OPEN)

    def rests(self, now: float) -> tuple[float, float]:
        """The ends of a rest and of a penalty that are still to come, else 0: for other processes.

        What is told of an endpoint that a probe is on its way to is the rest before it.
        """
        return (
            self._until if self._until > now else 0.0,
            self._penalty if self._penalty > now else 0.0,
        )

    def heed(self, until: float, penalty: float, now: float) -> bool:
        """Rest as another process does, see `rests`. Whether anything is different now.

        Its failures are not ours: the next rest stays as long as it was. Nor is the end of it: who
        was told to rest sends a probe of its own then.
        """
        if max(until - max(self._until, now), penalty - max(self._penalty, now)) < ROUNDING:
            return False
        if penalty > now:
            self.penalise(penalty, now)
        if until > now:
            self.open_now(now, until - now)
        return True

    def standing(self, now: float) -> Standing:
        """What a plan and `GET /v1/performance` show."""
        until = max(self._until, self._penalty, self._probing)
        return Standing(self._state, until if now < until else None)

    def _become(self, state: BreakerState) -> None:
        self._state = state
        if state is not BreakerState.HALF_OPEN:
            self._probing = -math.inf
        self._turn += 1
        self._failures = 0

    def _admitted(self, now: float) -> Permit:
        return Permit(probe=False, turn=self._turn)

    def _probe(self, now: float) -> Permit | None:
        """A probe, once the rest is over, and the probe before it has been out for as long."""
        if now < max(self._until, self._probing):
            return None
        self._probing = now + self._rest
        self._become(BreakerState.HALF_OPEN)
        return Permit(probe=True, turn=self._turn)

    def _forget(self, now: float) -> None:
        self._failures = 0
        self._rest = self._params.rest

    def _count(self, now: float) -> None:
        self._failures += 1
        if self._failures >= self._params.failures:
            self._open(now)

    def _open(self, now: float) -> None:
        self._until = max(self._until, now + self._rest)
        self._rest = min(2 * self._rest, self._params.longest_rest)
        self._become(BreakerState.OPEN)

    def _close(self, now: float) -> None:
        self._until = -math.inf
        self._become(BreakerState.CLOSED)

    def _give_back(self, now: float) -> None:
        self._become(BreakerState.OPEN)


Move = Callable[[Breaker, float], Permit | None]

MOVES: Mapping[tuple[BreakerState, Event], Move | None] = MappingProxyType(
    {
        (BreakerState.CLOSED, Event.ADMIT): Breaker._admitted,
        (BreakerState.CLOSED, Event.SUCCESS): Breaker._forget,
        (BreakerState.CLOSED, Event.FAILURE): Breaker._count,
        (BreakerState.CLOSED, Event.ABANDONED): None,
        (BreakerState.OPEN, Event.ADMIT): Breaker._probe,
        (BreakerState.OPEN, Event.SUCCESS): None,
        (BreakerState.OPEN, Event.FAILURE): None,
        (BreakerState.OPEN, Event.ABANDONED): None,
        (BreakerState.HALF_OPEN, Event.ADMIT): Breaker._probe,
        (BreakerState.HALF_OPEN, Event.SUCCESS): Breaker._close,
        (BreakerState.HALF_OPEN, Event.FAILURE): Breaker._open,
        (BreakerState.HALF_OPEN, Event.ABANDONED): Breaker._give_back,
    }
)
"""Every state and event: the move, or None where the event moves nothing."""
