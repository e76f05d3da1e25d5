"""Every fault's row: what may be done about it, and what it says of the endpoint.

A fault is named where it happens (`transport/dial.py`, `upstream/attempt.py`, the dialects); what
follows from it is decided here, in one table that is total over `FaultKind` (a test walks it). What
the caller sees of every row alike: before the commit point nothing, where another attempt is left;
503 (504 for the request's own deadline) where none is; after it one error event.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from kproxy.errors import Fault, FaultKind
from kproxy.routing.plan import Timeouts

__all__ = ["OPERATOR", "POLICIES", "FaultPolicy", "accrues", "may_repeat"]


class FaultPolicy(NamedTuple):
    """What one kind of fault means.

    `whose`: who can mend it; an operator's is logged as an error. `again`: the same endpoint may be
    asked once more for this request.
    `accrues`: it counts against the endpoint's health. `timer`: one of our own timers ran out.
    `charged`: the provider may have worked on the request, and may bill it.
    """

    whose: str
    again: bool
    accrues: bool
    timer: bool
    charged: bool


PROVIDER, OPERATOR, OURS = "provider", "operator", "ours"


def _row(whose: str, *marks: str) -> FaultPolicy:
    return FaultPolicy(whose, *(name in marks for name in FaultPolicy._fields[1:]))


POLICIES: Mapping[FaultKind, FaultPolicy] = MappingProxyType(
    {
        FaultKind.CONNECT: _row(PROVIDER, "again", "accrues"),
        FaultKind.CONNECT_TIMEOUT: _row(PROVIDER, "again", "accrues"),
        FaultKind.TLS: _row(OPERATOR, "accrues"),  # a certificate does not mend itself in a second
        FaultKind.POOL_TIMEOUT: _row(OURS),
        FaultKind.RESET: _row(PROVIDER, "again", "accrues"),
        FaultKind.CLOSED_EARLY: _row(PROVIDER, "again", "accrues"),
        FaultKind.FIRST_TOKEN_TIMEOUT: _row(PROVIDER, "again", "accrues", "timer", "charged"),
        FaultKind.GAP_TIMEOUT: _row(PROVIDER, "again", "accrues", "timer", "charged"),
        FaultKind.TOTAL_TIMEOUT: _row(PROVIDER, "accrues", "timer", "charged"),
        FaultKind.BAD_FRAMING: _row(PROVIDER, "again", "accrues"),
        FaultKind.BAD_BODY: _row(PROVIDER, "again", "accrues", "charged"),
        FaultKind.TOO_LARGE: _row(PROVIDER, "charged"),  # the limit is ours, the answer may be good
        FaultKind.ERROR_EVENT: _row(PROVIDER, "again", "accrues", "charged"),
        FaultKind.NO_CONTENT: _row(PROVIDER, "again", "accrues", "charged"),
        FaultKind.CREDENTIAL: _row(OPERATOR, "accrues"),
        FaultKind.RATE_LIMITED: _row(PROVIDER, "again", "accrues"),
        FaultKind.NOT_FOUND: _row(OPERATOR, "accrues"),
        FaultKind.UNAVAILABLE: _row(PROVIDER, "again", "accrues"),
        FaultKind.NO_PREFILL: _row(PROVIDER),
        FaultKind.RESTING: _row(PROVIDER),
    }
)

SERVER_ERROR = 500
PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that say: not now. Any other refusal would be repeated word for word."""


def may_repeat(fault: Fault) -> bool:
    """Whether asking the same endpoint again for the same request can help."""
    status = fault.status
    passing = status is None or status >= SERVER_ERROR or status in PASSING
    return passing and POLICIES[fault.kind].again


def accrues(fault: Fault, given: Timeouts, full: Timeouts) -> bool:
    """Whether the endpoint's health is worse for this.

    A timer counts only where the attempt was `given` at least half of the route's `full` time: half
    is what it gets when it shares a deadline with others. Less is the caller's wish, or what others
    have left of the time, and must not close an endpoint that would have answered.
    """
    policy = POLICIES[fault.kind]
    if policy.timer:
        name = TIMERS[fault.kind]
        return policy.accrues and 2 * getattr(given, name) >= getattr(full, name)
    return policy.accrues


TIMERS: Mapping[FaultKind, str] = MappingProxyType(
    {
        FaultKind.FIRST_TOKEN_TIMEOUT: "first_token",
        FaultKind.GAP_TIMEOUT: "gap",
        FaultKind.TOTAL_TIMEOUT: "total",
    }
)
"""The timer whose end each of these is."""
