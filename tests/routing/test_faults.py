"""The table of faults is total, and says what it must of each."""

import pytest

from kproxy.downstream.respond import error_event, to_answer
from kproxy.errors import BrokenStream, Exhausted, Fault, FaultKind
from kproxy.routing.faults import POLICIES, accrues, may_repeat


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


def test_a_hasty_caller_closes_no_endpoint_to_others() -> None:
    for kind, policy in POLICIES.items():
        fault = Fault(kind, "")
        assert accrues(fault, hurried=False) is policy.accrues
        assert accrues(fault, hurried=True) is (policy.accrues and not policy.timer)
    timers = {kind for kind, policy in POLICIES.items() if policy.timer}
    assert timers == {
        FaultKind.FIRST_TOKEN_TIMEOUT, FaultKind.GAP_TIMEOUT, FaultKind.TOTAL_TIMEOUT,
    }  # fmt: skip
