"""Every fault, as the bytes and times that it makes of a stream and of a whole answer."""

import json

import pytest

from kproxy.sim import anthropic, openai
from kproxy.sim.edits import EDITS
from kproxy.sim.faults import FAULTS
from kproxy.sim.params import SimParams
from kproxy.sim.show import Ending
from tests.fakes.simulated import HELLO, events, played, said, script, unchunked

# Six tokens: the first after 0.2 s, then one each 10 ms; the answer ends at 0.25 s.
TEXT = script().text
WHOLE = json.loads(played().body)
WIRES = pytest.mark.parametrize("wire", [openai, anthropic])
ELSEWHERE = {
    "echo",
    "tokens",
    "pace",
    "reasoning",
    "no-usage",
    "once",
    "flap",
    "flap-seconds",
    "ok",
}


def stream(*faults, **fields):
    return played(*faults, stream=True, **fields)


def status(found):
    return int(found.data.split(b" ", 2)[1])


def fields(found):
    head = found.data.partition(b"\r\n\r\n")[0].decode("latin-1")
    return dict(line.split(": ", 1) for line in head.split("\r\n")[1:])


def tokens(found):
    return [event for event in events(found.body) if b"content" in json.dumps(event).encode()]


def at(found, text):
    """When the first beat comes that holds the text."""
    return next(when for when, data in found.beats if text in data)


def test_every_fault_acts_somewhere():
    assert set(EDITS) | ELSEWHERE == set(FAULTS)
    assert not set(EDITS) & ELSEWHERE


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("streamed", [True, False])
@WIRES
def test_every_fault_plays_on_every_wire(name, streamed, wire):
    found = played(name, wire=wire, stream=streamed)
    times = [when for when, _ in found.beats]
    assert times == sorted(times)


@pytest.mark.parametrize("name", ["refuse", "reset"])
def test_reset_before_the_head(name):
    assert stream(name) == ([], b"", Ending.RESET)


def test_reset_after_some_tokens():
    found = stream("reset=2")
    assert said(found.body) == "".join(script().pieces[:2])
    assert found.ending is Ending.RESET


def test_silence_for_ever_and_for_a_while():
    assert stream("silence") == ([], b"", Ending.HANG)
    found = stream("silence=3")
    usual = stream("ok")
    assert found.data == usual.data
    assert [when for when, _ in found.beats] == pytest.approx([when + 3 for when, _ in usual.beats])
    assert played("silence=3").beats[0][0] == pytest.approx(3.25)


def test_silence_after_the_head():
    found = stream("head-silence")
    assert found.body == b""
    assert (len(found.beats), found.beats[0][0], found.ending) == (1, 0.0, Ending.HANG)
    found = stream("head-silence=3")
    assert said(found.body) == TEXT
    assert found.beats[1][0] == 3.0
    found = played("head-silence")
    assert int(fields(found)["content-length"]) == len(played().body)
    assert found.body == b""


def test_slow_first_token():
    found = stream("slow-first-token=5")
    assert found.data == stream().data
    assert found.beats[0][0] == 0
    assert b'"role"' in found.beats[1][1]
    assert found.beats[1][0] == 0
    assert found.beats[2][0] == pytest.approx(5)
    assert found.beats[3][0] == pytest.approx(5.01)
    assert played("slow-first-token=5").beats[0][0] == pytest.approx(5.05)
    assert stream("slow-first-token").beats[2][0] == pytest.approx(20)
    assert stream("slow-first-token=0").beats == stream("ok").beats


@WIRES
@pytest.mark.parametrize("word", ["comments", "empty"])
def test_slow_first_token_with_signs_of_life(word, wire):
    found = stream(f"slow-first-token=4,{word}", wire=wire)
    assert [when for when, _ in found.beats[1:6]] == pytest.approx([0, 1, 2, 3, 4])
    extras = {data for _, data in found.beats[2:5]}
    assert len(extras) == 1
    extra = unchunked(extras.pop())
    if wire is openai and word == "comments":
        assert extra == b": keep-alive\n\n"
    elif wire is openai:
        assert events(extra)[0]["choices"][0]["delta"] == {"content": ""}
    elif word == "comments":
        assert events(extra) == [{"type": "ping"}]
    else:
        assert events(extra)[0]["delta"] == {"type": "text_delta", "text": ""}


def test_stall():
    found = stream("stall=2,7")
    assert found.data == stream().data
    usual = [when for when, _ in stream("ok").beats]
    late = [when for when, _ in found.beats]
    assert late[:4] == usual[:4]  # head, role, two tokens
    assert late[4:] == pytest.approx([when + 7 for when in usual[4:]])
    assert at(stream("stall"), b"[DONE]") == pytest.approx(30.25)
    assert played("stall=2,7").beats[-1][0] == pytest.approx(7.25)


@pytest.mark.parametrize(
    ("fault", "count"), [("cut=2", 2), ("cut=0", 0), ("cut", 3), ("cut=99", 6)]
)
def test_cut(fault, count):
    found = stream(fault)
    assert said(found.body) == "".join(script().pieces[:count])
    assert not found.data.endswith(b"0\r\n\r\n")
    assert b'finish_reason":"' not in found.data
    assert found.ending is Ending.CLOSE


def test_cut_by_reset():
    assert stream("cut=2,rst").ending is Ending.RESET
    assert stream("cut=2,fin").ending is Ending.CLOSE


def test_cut_of_a_whole_answer_lacks_bytes_of_its_length():
    found = played("cut=3")
    whole = played().body
    assert int(fields(found)["content-length"]) == len(whole)
    assert found.body == whole[: len(whole) // 2]
    assert found.ending is Ending.CLOSE


def test_malformed():
    found = stream("malformed=2")
    assert found.data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    broken = [event for event in events(found.body) if isinstance(event, bytes)]
    assert len(broken) == 1
    kept = (*script().pieces[:2], *script().pieces[3:])
    assert said(found.body) == "".join(kept)
    whole = played("malformed")
    assert int(fields(whole)["content-length"]) == len(whole.body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(whole.body)


def test_bad_framing():
    found = stream("bad-framing=2")
    assert said(found.body) == "".join(script().pieces[:2])
    assert found.data.endswith(b"zz\r\n")
    assert found.ending is Ending.CLOSE
    assert played("bad-framing").data.endswith(b"zz\r\n")


@WIRES
def test_error_event(wire):
    found = stream("error-event=2", wire=wire)
    assert "error" in events(found.body)[-1]
    assert found.data.endswith(b"0\r\n\r\n")
    assert (status(found), found.ending) == (200, Ending.KEEP)
    whole = played("error-event", wire=wire)
    assert status(whole) == 200
    assert "error" in json.loads(whole.body)


def test_error_event_before_the_first_token():
    found = events(stream("error-event").body)
    assert len(found) == 2
    assert "error" in found[1]


def test_error_event_after_some_tokens():
    found = stream("error-event=2")
    assert said(found.body) == "".join(script().pieces[:2])
    assert found.beats[-2][0] == pytest.approx(0.21)


def test_no_done():
    found = stream("no-done")
    assert found.body == stream().body.removesuffix(b"data: [DONE]\n\n")
    assert found.data.endswith(b"0\r\n\r\n")
    assert b"message_stop" not in stream("no-done", wire=anthropic).data
    assert played("no-done").body == played().body


@WIRES
def test_no_finish(wire):
    reason = b"finish_reason" if wire is openai else b"stop_reason"
    assert b'"%b":"' % reason in stream(wire=wire).data
    assert b'"%b":"' % reason not in stream("no-finish", wire=wire).data
    whole = played("no-finish", wire=wire)
    assert b'"%b":null' % reason in whole.body
    assert int(fields(whole)["content-length"]) == len(whole.body)


def test_no_finish_spares_the_text():
    text = 'Say {"finish_reason":"stop"} and {"stop_reason":"end_turn"}'
    messages = [{"role": "user", "content": text}]
    found = played("no-finish", "echo", messages=messages)
    assert json.loads(found.body)["choices"][0]["message"]["content"] == text


def test_no_usage():
    options = {"include_usage": True}
    assert b"prompt_tokens" in stream(stream_options=options).data
    assert b"prompt_tokens" not in stream("no-usage", stream_options=options).data
    assert "usage" not in json.loads(played("no-usage").body)


def test_empty():
    assert stream("empty").data.endswith(b"\r\n\r\n0\r\n\r\n")
    assert stream("empty").body == b""
    assert stream("empty=done").body == b"data: [DONE]\n\n"
    assert fields(played("empty"))["content-length"] == "0"


def test_till_close():
    found = stream("till-close")
    assert found.body == stream().body
    assert fields(found)["connection"] == "close"
    assert not {"content-length", "transfer-encoding"} & set(fields(found))
    assert found.ending is Ending.CLOSE


@WIRES
@pytest.mark.parametrize("code", [400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504, 529])
def test_statuses(code, wire):
    found = stream(str(code), wire=wire)
    assert status(found) == code
    assert json.loads(found.body)["error"]["message"]
    assert found.ending is Ending.KEEP
    assert [when for when, _ in found.beats] == [0, 0]
    assert ("retry-after" in fields(found)) == (code == 429)


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        ("429", "1"),
        ("429=7", "7"),
        ("429=0", "0"),
        ("429=1.2", "2"),
        ("503=9", "9"),
        ("529=3", "3"),
    ],
)
def test_retry_after(fault, after):
    assert fields(played(fault))["retry-after"] == after


def test_context_length():
    error = json.loads(played("context-length").body)["error"]
    assert (error["code"], error["type"]) == ("context_length_exceeded", "invalid_request_error")
    assert status(played("context-length=10")) == 400
    assert status(played("context-length=1000")) == 200


def test_content_filter():
    found = stream("content-filter")
    assert status(found) == 400
    assert json.loads(found.body)["error"]["code"] == "content_filter"
    found = events(stream("content-filter=2").body)
    assert found[-2]["choices"][0]["finish_reason"] == "content_filter"
    assert json.loads(played("content-filter=2", wire=anthropic).body)["stop_reason"] == "refusal"


def test_no_prefill():
    assert status(played("no-prefill")) == 200
    messages = [*HELLO, {"role": "assistant", "content": "I"}]
    assert status(played("no-prefill", messages=messages)) == 400
    assert status(played(messages=messages)) == 200


def test_html():
    found = stream("html")
    assert (status(found), fields(found)["content-type"]) == (200, "text/html; charset=utf-8")
    assert found.body.startswith(b"<!DOCTYPE html>")
    assert status(played("html=502")) == 502


@pytest.mark.parametrize("streamed", [True, False])
def test_wrong_lengths(streamed):
    body = played(stream=streamed).body
    found = played("long-length", stream=streamed)
    assert int(fields(found)["content-length"]) == len(body) + 10
    assert (found.body, found.ending) == (body, Ending.CLOSE)
    assert played("long-length=3,hang", stream=streamed).ending is Ending.HANG
    found = played("short-length=7", stream=streamed)
    assert int(fields(found)["content-length"]) == len(body) - 7
    assert (found.body, found.ending) == (body, Ending.KEEP)


def test_slow_loris():
    found = stream("slow-loris=0.5")
    assert found.data == stream().data
    assert [(when, len(data)) for when, data in found.beats[:3]] == [(0, 1), (0.5, 1), (1, 1)]
    assert stream("slow-loris").beats[2][0] == 2


def test_bytes_before_the_head():
    assert not stream("garbage").data.startswith(b"HTTP/")
    assert stream("garbage").data.endswith(stream().data)
    found = stream("early-hints").data
    assert found.startswith(b"HTTP/1.1 103 Early Hints\r\n")
    assert found.endswith(stream().data)


def test_huge_head():
    assert len(stream("huge-head=2048").data) == len(stream().data) + 2048
    assert len(played("huge-head").data) == len(played().data) + (1 << 20)


def test_faults_add_up_in_their_order():
    found = played(
        "tokens=60", "stall=10,5", "cut=40", stream=True, params=SimParams(jitter=0, tokens="6")
    )
    assert len(tokens(found)) == 41  # with the chunk that carries the role
    assert found.beats[11][0] == pytest.approx(0.15 + 9 * 0.015)
    assert found.beats[12][0] == pytest.approx(0.15 + 10 * 0.015 + 5)
    assert found.ending is Ending.CLOSE
