"""A fault is told at once, then at most once a minute, with how often it came meanwhile."""

import pytest

from kproxy.errors import Fault, FaultKind
from kproxy.telemetry.faultlog import QUIET, FaultLog

DOWN = Fault(FaultKind.CONNECT, "connection refused or unreachable")
BAD_KEY = Fault(FaultKind.CREDENTIAL, "HTTP 401", status=401)


def test_the_first_is_told_and_the_flood_is_not(caplog: pytest.LogCaptureFixture) -> None:
    log = FaultLog()
    for step in range(1_000):
        log.note("acme", "m", DOWN, step * QUIET / 1_000)
    assert caplog.messages == ["acme/m: connect: connection refused or unreachable"]
    log.note("acme", "m", DOWN, QUIET)
    assert caplog.messages[1].endswith("(999 more since it was last told)")


def test_each_kind_and_endpoint_is_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    log = FaultLog()
    for provider in ("acme", "other"):
        for fault in (DOWN, BAD_KEY):
            log.note(provider, "m", fault, 0.0)
    assert len(caplog.messages) == 4
