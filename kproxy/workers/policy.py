"""What happened to the workers goes in; what the parent does next comes out. Pure.

| phase    | a worker ends                       | asked to end | refuses to start      |
|----------|-------------------------------------|--------------|-----------------------|
| STARTING | another one, at most `tries` times  | DRAINING     | CUTTING: it was said  |
| SERVING  | another one, for ever               | DRAINING     | told; it ends then    |
| DRAINING | the last one's end is everybody's   | CUTTING      | nothing; it ends then |
| CUTTING  | likewise                            | nothing      | likewise              |

1. Who ends after it has served for `steady` seconds is replaced at once. Who ends sooner again and
   again is replaced after a rest that doubles: a fault that comes at every start must not take the
   machine's time, and one that a single request causes must not take the service away.
2. While nobody was ready yet, an operator stands beside it: what is wrong is said, and that is all.
3. A worker that does not end in time is killed. `drain` is how long it drains by itself; the parent
   gives it `grace` more, because cutting and writing down what is left takes a moment.
4. Times are seconds of a steady clock. An event is followed by whatever has become due.
"""

import enum
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from kproxy.orders import Order

__all__ = [
    "FILLING",
    "Announce",
    "Asked",
    "Close",
    "Crew",
    "Do",
    "Ended",
    "Event",
    "Fork",
    "Kill",
    "Leave",
    "Params",
    "Phase",
    "Ready",
    "Refused",
    "Renew",
    "Say",
    "Tell",
    "Tick",
    "Worker",
    "begin",
    "due_at",
    "step",
]


class Params(msgspec.Struct, frozen=True):
    """Seconds, and `tries`: how often a worker may end before it was ever ready."""

    drain: float = 600.0
    grace: float = 10.0
    cut: float = 5.0
    steady: float = 60.0
    first_rest: float = 0.5
    longest_rest: float = 30.0
    tries: int = 3


class Phase(enum.Enum):
    """Of all workers together."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    CUTTING = "cutting"


FILLING = frozenset({Phase.STARTING, Phase.SERVING})


class Worker(msgspec.Struct, frozen=True):
    """One place. `born`: when it was filled; `again`: when it is to be filled, inf: it is not."""

    running: bool = False
    ready: bool = False
    born: float = 0.0
    failures: int = 0  # ends in a row, each soon after its start
    again: float = math.inf


class Crew(msgspec.Struct, frozen=True):
    """All places. `trouble`: why this is no good end; `deadline`: when who is left is killed."""

    workers: tuple[Worker, ...]
    phase: Phase = Phase.STARTING
    deadline: float = math.inf
    trouble: str = ""


class Ready(msgspec.Struct, frozen=True):
    """The worker at this place answers requests."""

    place: int


class Refused(msgspec.Struct, frozen=True):
    """The worker at this place cannot start and says why; it ends by itself."""

    place: int
    why: str


class Ended(msgspec.Struct, frozen=True):
    """The process at this place is gone. `how`: in words; `well`: with status 0."""

    place: int
    how: str
    well: bool


class Asked(msgspec.Struct, frozen=True):
    """SIGTERM or SIGINT."""


class Renew(msgspec.Struct, frozen=True):
    """SIGHUP."""


class Tick(msgspec.Struct, frozen=True):
    """Nothing but time."""


Event = Ready | Refused | Ended | Asked | Renew | Tick


class Fork(msgspec.Struct, frozen=True):
    """Fill this place."""

    place: int


class Tell(msgspec.Struct, frozen=True):
    """Tell the worker at this place."""

    place: int
    order: Order


class Kill(msgspec.Struct, frozen=True):
    """End the process at this place, now."""

    place: int


class Close(msgspec.Struct, frozen=True):
    """Let go of the listening sockets of callers."""


class Announce(msgspec.Struct, frozen=True):
    """Every worker answers, for the first time."""


class Say(msgspec.Struct, frozen=True):
    """One line for the operator."""

    text: str


class Leave(msgspec.Struct, frozen=True):
    """It is over. `trouble`: why that is no good end; empty: it is one."""

    trouble: str


Do = Fork | Tell | Kill | Close | Announce | Say | Leave


def begin(count: int, now: float) -> Crew:
    """So many places, all to be filled at once."""
    return Crew(tuple(Worker(again=now) for _ in range(count)))


def due_at(crew: Crew) -> float:
    """When `step` has something to do though nothing has happened; inf: never."""
    return min(crew.deadline, *(one.again for one in crew.workers))


def step(crew: Crew, event: Event, now: float, params: Params) -> tuple[Crew, list[Do]]:
    """The crew after the event, and what is to be done, in this order."""
    crew, todo = _MOVES[type(event)](crew, event, now, params)
    if crew.phase in FILLING:
        for place, one in enumerate(crew.workers):
            if one.again <= now:
                filled = msgspec.structs.replace(one, running=True, born=now, again=math.inf)
                crew = _put(crew, place, filled)
                todo.append(Fork(place))
        return crew, todo
    if crew.deadline <= now:
        crew = msgspec.structs.replace(
            crew, deadline=math.inf, trouble=crew.trouble or "a worker did not end in time"
        )
        todo += [Kill(place) for place in _running(crew)]
    if not any(one.running for one in crew.workers):
        todo.append(Leave(crew.trouble))
    return crew, todo


def _ready(crew: Crew, event: Ready, now: float, params: Params) -> tuple[Crew, list[Do]]:
    worker = msgspec.structs.replace(crew.workers[event.place], ready=True)
    crew = _put(crew, event.place, worker)
    if crew.phase is not Phase.STARTING or not all(one.ready for one in crew.workers):
        return crew, []
    return msgspec.structs.replace(crew, phase=Phase.SERVING), [Announce()]


def _refused(crew: Crew, event: Refused, now: float, params: Params) -> tuple[Crew, list[Do]]:
    if crew.phase is Phase.STARTING:
        return _give_up(crew, event.why, now, params)
    if crew.phase is Phase.SERVING:
        return crew, [Say(f"worker {event.place + 1} cannot start: {event.why}")]
    return crew, []


def _ended(crew: Crew, event: Ended, now: float, params: Params) -> tuple[Crew, list[Do]]:
    worker = crew.workers[event.place]
    said = f"worker {event.place + 1} {event.how}"
    if crew.phase not in FILLING:
        trouble = crew.trouble or ("" if event.well else said)
        return msgspec.structs.replace(_put(crew, event.place, Worker()), trouble=trouble), []
    lasted = worker.ready and now - worker.born >= params.steady
    failures = 1 if lasted else worker.failures + 1
    if crew.phase is Phase.STARTING and failures >= params.tries:
        return _give_up(_put(crew, event.place, Worker()), said, now, params)
    rest = 0.0 if failures == 1 else _rest(failures, params)
    crew = _put(crew, event.place, Worker(failures=failures, again=now + rest))
    when = "now" if not rest else f"in {rest:g} s"
    return crew, [Say(f"{said}; another one takes its place {when}")]


def _rest(failures: int, params: Params) -> float:
    return min(params.first_rest * 2.0 ** min(failures - 2, 30), params.longest_rest)


def _asked(crew: Crew, event: Asked, now: float, params: Params) -> tuple[Crew, list[Do]]:
    if crew.phase is Phase.CUTTING:
        return crew, []
    if crew.phase is Phase.DRAINING:
        return _end(crew, Phase.CUTTING, now + params.cut)
    return _end(crew, Phase.DRAINING, now + params.drain + params.grace)


def _renew(crew: Crew, event: Renew, now: float, params: Params) -> tuple[Crew, list[Do]]:
    return crew, [Tell(place, Order.RENEW) for place in _running(crew)]


def _nothing(crew: Crew, event: Tick, now: float, params: Params) -> tuple[Crew, list[Do]]:
    return crew, []


def _give_up(crew: Crew, why: str, now: float, params: Params) -> tuple[Crew, list[Do]]:
    crew = msgspec.structs.replace(crew, trouble=why)
    return _end(crew, Phase.CUTTING, now + params.cut)


def _end(crew: Crew, phase: Phase, deadline: float) -> tuple[Crew, list[Do]]:
    """No place is filled any more, and who is there is told."""
    order = Order.DRAIN if phase is Phase.DRAINING else Order.CUT
    closing: list[Do] = [Close()] if crew.phase in FILLING else []
    idle = tuple(msgspec.structs.replace(one, again=math.inf) for one in crew.workers)
    crew = msgspec.structs.replace(crew, workers=idle, phase=phase, deadline=deadline)
    return crew, [*closing, *(Tell(place, order) for place in _running(crew))]


def _put(crew: Crew, place: int, worker: Worker) -> Crew:
    workers = (*crew.workers[:place], worker, *crew.workers[place + 1 :])
    return msgspec.structs.replace(crew, workers=workers)


def _running(crew: Crew) -> list[int]:
    return [place for place, one in enumerate(crew.workers) if one.running]


_MOVES: Mapping[type, Callable[..., tuple[Crew, list[Do]]]] = MappingProxyType(
    {
        Ready: _ready,
        Refused: _refused,
        Ended: _ended,
        Asked: _asked,
        Renew: _renew,
        Tick: _nothing,
    }
)
