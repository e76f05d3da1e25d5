"""A plan carried out: in order, until one attempt wins, or nobody is left, or time is up."""

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from kproxy.catalog.load import Model
from kproxy.errors import DeadlineExceeded, Exhausted, Fault, FaultKind, Rejected
from kproxy.routing.plan import AttemptSpec, Plan
from kproxy.upstream.execute import execute

REFUSED = Fault(FaultKind.CONNECT, "refused")
LIMITED = Fault(FaultKind.RATE_LIMITED, "HTTP 429", status=429)
REJECTED = Rejected(400, "context_length_exceeded", "Too long.")

Ending = tuple[float, str | Exception]
"""After how many seconds an attempt ends, and with what it returns or raises."""


class Endings:
    """Begins attempts as scripted; notes when each of them began."""

    def __init__(self, endings: Sequence[Ending]) -> None:
        self._endings = list(endings)
        self._start = trio.current_time()
        self.began: list[tuple[str, float]] = []

    async def begin(self, spec: AttemptSpec) -> str:
        self.began.append((spec.model.provider, trio.current_time() - self._start))
        seconds, ending = self._endings.pop(0)
        await trio.sleep(seconds)
        if isinstance(ending, Exception):
            raise ending
        return ending


def plan(count: int, total: float = 60) -> Plan:
    specs = [AttemptSpec(Model("m", f"p{n}", "m", price=None), None) for n in range(count)]
    return Plan(tuple(specs), total, total, total, "single")


async def carry_out(endings: Endings, count: int, total: float = 60) -> str:
    """The winner's word."""
    return await execute(plan(count, total), trio.current_time() + total, endings.begin)


@pytest.mark.parametrize(
    ("endings", "began"),
    [
        ([(1, "won")], [("p0", 0)]),
        ([(1, REFUSED), (2, "won")], [("p0", 0), ("p1", 1)]),
        ([(1, REFUSED), (2, LIMITED), (3, "won")], [("p0", 0), ("p1", 1), ("p2", 3)]),
    ],
)
async def test_the_next_begins_when_one_has_failed(
    autojump_clock: MockClock, endings: list[Ending], began: list[tuple[str, float]]
) -> None:
    script = Endings(endings)
    assert await carry_out(script, 3) == "won"
    assert script.began == began


async def test_when_all_have_failed_the_group_is_the_cause(autojump_clock: MockClock) -> None:
    with pytest.raises(Exhausted) as exhausted:
        await carry_out(Endings([(1, REFUSED), (1, LIMITED)]), 2)
    assert exhausted.value.faults == (("p0/m", REFUSED), ("p1/m", LIMITED))
    assert str(exhausted.value) == "p0/m: refused; p1/m: HTTP 429"
    cause = exhausted.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert cause.exceptions == (REFUSED, LIMITED)


@pytest.mark.parametrize("error", [REJECTED, ValueError("a fault of ours")])
async def test_what_is_no_fault_ends_the_plan_at_once(
    autojump_clock: MockClock, error: Exception
) -> None:
    script = Endings([(1, REFUSED), (1, error), (1, "never")])
    with pytest.raises(type(error)) as raised:
        await carry_out(script, 3)
    assert raised.value is error
    assert len(script.began) == 2


@pytest.mark.parametrize(
    ("seconds", "began"),
    [((10,), 1), ((4, 6), 2), ((4, 5.5, 0.5), 3), ((11,), 1)],
)
async def test_behind_the_deadline_nothing_begins(
    autojump_clock: MockClock, seconds: tuple[float, ...], began: int
) -> None:
    script = Endings([*((each, REFUSED) for each in seconds), (0, "never")])
    with pytest.raises(DeadlineExceeded) as late:
        await carry_out(script, 5, total=10)
    assert len(script.began) == began
    assert isinstance(late.value.__cause__, ExceptionGroup)
    assert len(late.value.__cause__.exceptions) == began


async def test_one_instant_before_the_deadline_there_is_still_time(
    autojump_clock: MockClock,
) -> None:
    assert await carry_out(Endings([(9.5, REFUSED), (0.5, "won")]), 2, total=10) == "won"


async def test_the_whole_deadline_ends_the_plan(autojump_clock: MockClock) -> None:
    over = Fault(FaultKind.TOTAL_TIMEOUT, "no answer within the request's deadline")
    script = Endings([(10, over), (0, "never")])
    with pytest.raises(DeadlineExceeded, match="no answer within"):
        await carry_out(script, 2, total=10)
    assert len(script.began) == 1


async def test_cancelling_starts_nothing_more(autojump_clock: MockClock) -> None:
    script = Endings([(10, REFUSED), (0, "never")])
    with trio.move_on_after(3) as scope:
        await carry_out(script, 2)
    assert scope.cancelled_caught
    assert len(script.began) == 1
