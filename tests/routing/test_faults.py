"""The table of faults is total, and says what it must of each."""

import pytest

from kproxy.downstream.respond import error_event, to_answer
from kproxy.errors import BrokenStream, Exhausted, Fault, FaultKind
from kproxy.routing.faults import POLICIES, TIMERS, accrues, may_repeat
from kproxy.routing.plan import Timeouts


def test_every_kind_has_a_row_and_every_row_a_kind() -> None:
    assert set(POLICIES) == set(FaultKind)


@pytest.mark.parametrize("kind", FaultKind)
def test_what_the_caller_sees_of_it(kind: FaultKind) -> None:
    """Nothing of the provider's: 503 where nobody else answered, one error event in a stream."""
    fault = Fault(kind, "why")
    alone = to_answer(Exhausted((("acme/m", fault),)))
    assert alone.status == 503
    assert b"all_models_unavailable" in alone.body
    assert b"acme/m: why" in alone.body
    assert error_event(BrokenStream(fault)).count(b'"error"') == 1


@pytest.mark.parametrize(
    ("kind", "status", "again"),
    [
        (FaultKind.UNAVAILABLE, 500, True),
        (FaultKind.UNAVAILABLE, 529, True),
        (FaultKind.UNAVAILABLE, 408, True),
        (FaultKind.UNAVAILABLE, 405, False),
        (FaultKind.RATE_LIMITED, 429, True),
        (FaultKind.NOT_FOUND, 404, False),
        (FaultKind.CREDENTIAL, 401, False),
        (FaultKind.RESET, None, True),
        (FaultKind.POOL_TIMEOUT, None, False),
    ],
)
def test_what_may_be_asked_again(kind: FaultKind, status: int | None, again: bool) -> None:
    assert may_repeat(Fault(kind, "", status=status)) is again


FULL = Timeouts(60.0, 20.0, 10.0)


@pytest.mark.parametrize("kind", FaultKind)
def test_a_timer_counts_only_with_half_of_its_time(kind: FaultKind) -> None:
    """A hasty caller, or one whose time was used up by others, closes no endpoint to the rest."""
    policy, fault = POLICIES[kind], Fault(kind, "")
    assert accrues(fault, FULL, FULL) is policy.accrues
    assert accrues(fault, Timeouts(30.0, 10.0, 5.0), FULL) is policy.accrues
    hasty = Timeouts(29.9, 9.9, 4.9)
    assert accrues(fault, hasty, FULL) is (policy.accrues and not policy.timer)


def test_every_timer_has_its_fault() -> None:
    assert {kind for kind, policy in POLICIES.items() if policy.timer} == set(TIMERS)
    assert set(TIMERS.values()) == set(Timeouts.__struct_fields__)
