"""A line for each flood, while there are few; the rest is counted."""

import logging

import pytest

from kproxy.downstream.floodlog import EVERY, MOST, FloodLog
from kproxy.wire.h2_frames import Code, H2Error

FLOOD = H2Error(Code.ENHANCE_YOUR_CALM, "too many PING frames")
LINE = "ended an HTTP/2 connection of 10.0.0.9:1: too many PING frames"


def test_lines_are_few_and_say_how_many_there_were(caplog: pytest.LogCaptureFixture) -> None:
    floods = FloodLog()
    for _ in range(MOST + 7):
        floods.note("10.0.0.9:1", FLOOD, 1_000.0)
    assert caplog.messages == [LINE] * MOST
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    caplog.clear()
    floods.note("10.0.0.9:1", FLOOD, 1_000.0 + EVERY)
    floods.note("10.0.0.9:1", FLOOD, 1_000.0 + EVERY)
    floods.note("10.0.0.9:1", FLOOD, 1_000.0 + 2 * EVERY)
    assert caplog.messages == [
        f"{LINE} (7 more such connections since the last line)",
        f"{LINE} (1 more such connections since the last line)",
    ]
    caplog.clear()
    for _ in range(MOST + 1):
        floods.note("10.0.0.9:1", FLOOD, 1_000_000.0)
    assert len(caplog.messages) == MOST, "rest does not add up without end"


def test_a_bad_client_is_no_flood(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    floods = FloodLog()
    for _ in range(MOST):
        floods.note("unix", H2Error(Code.PROTOCOL_ERROR, "this is no HTTP/2"), 1.0)
    assert {record.levelname for record in caplog.records} == {"INFO"}
    caplog.clear()
    floods.note("unix", FLOOD, 1.0)
    assert caplog.records[0].levelname == "WARNING"
