"""What bench/seen.py makes of answers: the good, the cut, the nonsensical."""

from decimal import Decimal

import pytest

from bench.seen import see
from tests.fakes.caller import Answer

EVENTS = {"content-type": "text/event-stream"}
TOKEN = 'data: {"choices": [{"index": 0, "delta": {"content": "Sea"}}]}\n\n'
OTHER = 'data: {"choices": [{"index": 1, "delta": {"content": "Lake"}}]}\n\n'
END = 'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
TOLD = (
    'data: {"choices": [], "usage": {"prompt_tokens": 1}, "x_kairosroute": {"cost_usd": 0.1}}\n\n'
)
FAILED = 'data: {"error": {"message": "m", "code": "bad", "type": "t"}}\n\n'
DONE = "data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("events", "framed", "short"),
    [
        (TOKEN + END + DONE, True, "whole"),
        (TOKEN + END.replace("stop", "length") + DONE, True, "ends: length"),
        (TOKEN, False, "cut off"),
        (TOKEN + END + DONE, False, "ends without saying so"),
        (TOKEN + DONE, True, "ends without saying so"),
        (TOKEN + END, True, "ends without saying so"),
        (TOKEN + FAILED, False, "error event"),
        (TOKEN + FAILED + DONE, True, "error event and [DONE]"),
        (TOKEN + "data: {\n\n" + END + DONE, True, "nonsense in the stream"),
        ("data: 7\n\n" + END + DONE, True, "nonsense in the stream"),
    ],
)
def test_a_stream(events: str, framed: bool, short: str) -> None:
    seen = see(Answer(200, EVENTS, events.encode(), framed), 0.5)
    assert (seen.short, seen.seconds) == (short, 0.5)


def test_what_a_stream_says() -> None:
    seen = see(Answer(200, EVENTS, (TOKEN + OTHER + TOKEN + END + TOLD + DONE).encode()), 0.5)
    assert seen.text == "SeaSea"
    assert seen.usage == {"prompt_tokens": 1}
    assert seen.extension == {"cost_usd": Decimal("0.1")}
    assert not seen.errors


def test_only_an_error_at_the_end_is_the_last() -> None:
    assert see(Answer(200, EVENTS, (TOKEN + FAILED).encode(), False), 0).last
    assert not see(Answer(200, EVENTS, (FAILED + TOKEN).encode(), False), 0).last


def test_a_whole_answer() -> None:
    body = b'{"choices": [{"index": 0, "message": {"content": "Sea"}, "finish_reason": "stop"}]}'
    seen = see(Answer(200, {}, body), 0.5)
    assert (seen.text, seen.short) == ("Sea", "whole")
    assert see(Answer(200, {}, body, whole=False), 0.5).short == "cut off"
    assert see(Answer(200, {}, b"<html>"), 0.5).short == "nonsense in the stream"


def test_a_refusal() -> None:
    body = FAILED.removeprefix("data: ").encode()
    assert see(Answer(400, {}, body), 0.5).short == "400 bad"
    assert see(Answer(502, {}, b"<html>"), 0.5).short == "502"
