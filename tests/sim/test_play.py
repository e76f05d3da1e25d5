"""The short way and the way of faults make the same bytes; HTTP/1.0 gets no chunks."""

import json

import pytest

from kproxy.errors import Rejected
from kproxy.sim import anthropic, openai
from kproxy.sim.play import refuse, whole
from kproxy.sim.show import Ending
from tests.fakes.simulated import CLOCK, WEATHER, asked, openai_tools, played, script

WIRES = pytest.mark.parametrize("wire", [openai, anthropic])


@WIRES
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("extra", [{}, {"max_tokens": 2}, {"model": "m!tokens=0"}])
def test_both_ways_are_equal(wire, streamed, extra):
    short = played(wire=wire, stream=streamed, **extra)
    long = played("ok", wire=wire, stream=streamed, **extra)
    assert short.data == long.data
    assert short.ending is long.ending is Ending.KEEP
    assert short.beats[0][0] == long.beats[0][0]
    assert short.beats[-1][0] == long.beats[-1][0]


def test_both_ways_are_equal_for_tools_and_usage():
    fields = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": openai_tools(WEATHER, CLOCK),
    }
    assert played(**fields).data == played("ok", **fields).data


@WIRES
def test_a_whole_answer_comes_at_its_end(wire):
    found = played(wire=wire)
    assert found.beats == [(script(wire=wire).end, found.data)]
    assert found.data == whole(asked(wire), script(wire=wire), wire)


def test_one_beat_for_each_token():
    found = played(stream=True)
    assert [at for at, _ in found.beats] == [0.0, *script().times, script().end]


@pytest.mark.parametrize("streamed", [True, False])
def test_http_10(streamed):
    found = played(stream=streamed, http_10=True)
    assert b"transfer-encoding" not in found.data
    assert found.ending is Ending.CLOSE
    assert found.body == played(stream=streamed).body


@WIRES
def test_refusals(wire):
    error = Rejected(404, "", "Nothing here.", close=True)
    error.headers = ((b"allow", b"GET"),)
    answer = refuse(wire, error, "7")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
    lines = head.split(b"\r\n")
    assert {b"allow: GET", b"connection: close", b"content-length: %d" % len(body)} <= set(lines)
    assert json.loads(body)["error"]["message"] == "Nothing here."
