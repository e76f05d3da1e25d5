"""Anthropic's Messages wire as its reference has it: fields, JSON, the order of events, errors."""

import json

import pytest

from kproxy.errors import Rejected
from kproxy.sim import anthropic
from tests.fakes.simulated import (
    CLOCK,
    HELLO,
    ROOT,
    WEATHER,
    anthropic_tools,
    asked,
    events,
    played,
    script,
)

TOOLS = anthropic_tools(WEATHER, CLOCK)


def ask(**fields):
    return asked(anthropic, **fields)


def whole(**fields):
    return json.loads(anthropic.reply(script(wire=anthropic, **fields), ask(**fields), True))


def stream(*faults, **fields):
    return played(*faults, wire=anthropic, stream=True, **fields).body


def test_a_whole_answer():
    found = script(wire=anthropic)
    assert whole() == {
        "id": "msg_" + found.ident,
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-20250514",
        "content": [{"type": "text", "text": found.text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": ask().prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 6,
            "service_tier": "standard",
        },
    }


def test_usage_can_be_left_out():
    assert "usage" not in json.loads(anthropic.reply(script(wire=anthropic), ask(), False))
    assert b"output_tokens" not in stream("no-usage")


def test_cached_tokens_are_counted_apart():
    usage = whole(messages=[{"role": "user", "content": "x" * 9000}])["usage"]
    assert usage["cache_read_input_tokens"] > 0
    total = ask(messages=[{"role": "user", "content": "x" * 9000}]).prompt_tokens
    assert usage["cache_read_input_tokens"] + usage["input_tokens"] == total


def test_the_order_of_events():
    body = stream()
    names = [line[7:] for line in body.decode().splitlines() if line.startswith("event: ")]
    found = events(body)
    assert names == [event["type"] for event in found]
    assert names == [
        "message_start", "content_block_start", "ping", *["content_block_delta"] * 6,
        "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    start, block, _, *deltas, _, end, _ = found
    assert start["message"]["content"] == []
    assert start["message"]["stop_reason"] is None
    assert start["message"]["usage"]["input_tokens"] == ask().prompt_tokens
    assert block["content_block"] == {"type": "text", "text": ""}
    assert "".join(one["delta"]["text"] for one in deltas) == script(wire=anthropic).text
    assert end["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert end["usage"] == {"output_tokens": 6}


def test_tool_use_whole():
    answer = whole(tools=TOOLS)
    assert answer["stop_reason"] == "tool_use"
    first, second = answer["content"]
    assert (first["type"], first["name"]) == ("tool_use", "get_weather")
    assert set(first["input"]) == {"city", "unit"}
    assert (second["name"], second["input"]) == ("get_time", {})


def test_tool_use_streamed():
    found = events(stream(tools=TOOLS))
    blocks = []
    open_block = None
    for event in found:
        match event["type"]:
            case "content_block_start":
                assert open_block is None
                open_block = event["index"]
                assert event["content_block"]["input"] == {}
                blocks.append({**event["content_block"], "input": ""})
            case "content_block_delta":
                assert event["index"] == open_block
                assert event["delta"]["type"] == "input_json_delta"
                blocks[-1]["input"] += event["delta"]["partial_json"]
            case "content_block_stop":
                assert event["index"] == open_block
                open_block = None
    assert open_block is None
    for block in blocks:
        block["input"] = json.loads(block["input"])
    assert blocks == whole(tools=TOOLS)["content"]


def test_tool_use_that_is_cut_has_empty_input():
    answer = whole(tools=TOOLS, max_tokens=2)
    assert answer["stop_reason"] == "max_tokens"
    assert answer["content"][0]["input"] == {}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["get_weather", "get_time"]),
        ({"tool_choice": {"type": "auto"}}, ["get_weather", "get_time"]),
        ({"tool_choice": {"type": "any"}}, ["get_weather", "get_time"]),
        ({"tool_choice": {"type": "none"}}, []),
        ({"tool_choice": {"type": "tool", "name": "get_time"}}, ["get_time"]),
        (
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            ["get_weather"],
        ),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, []),
    ],
)
def test_which_tools_are_called(fields, names):
    assert [tool.name for tool in ask(tools=TOOLS, **fields).tools] == names


def test_system_and_images_are_accepted():
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "x"}}
    found = ask(
        system=[{"type": "text", "text": "Be short."}],
        messages=[{"role": "user", "content": [image, {"type": "text", "text": "What is it?"}]}],
    )
    assert found.prompt_tokens > 10


def test_structured_answers():
    wanted = {"type": "json_schema", "schema": {"type": "integer", "minimum": 3, "maximum": 3}}
    answer = whole(output_config={"format": wanted})
    assert answer["content"][0]["text"] == "3"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":"m","messages":[{"role":"user"}]}', "body"),
        (b'{"model":"m","messages":[{"role":"user"}],"max_tokens":0}', "max_tokens"),
        (b'{"model":"m","messages":[],"max_tokens":1}', "messages"),
        (
            b'{"model":"m","messages":[{"role":"user"}],"max_tokens":1,"tools":[{"name":"a"}],'
            b'"tool_choice":{"type":"tool","name":"b"}}',
            "tool_choice",
        ),
    ],
)
def test_requests_that_are_refused(body, param):
    with pytest.raises(Rejected) as caught:
        anthropic.read(body, ROOT)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_a_beginning_is_continued():
    text = script(wire=anthropic).text
    messages = [*HELLO, {"role": "assistant", "content": text[:9]}]
    assert text[:9] + script(wire=anthropic, messages=messages).text == text


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_errors(status, kind):
    body = json.loads(anthropic.problem(Rejected(status, "", ""), "7"))
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["error"]["message"]
    assert body["request_id"] == "req_7"


def test_an_error_event():
    event = anthropic.error_event("7")
    assert event.startswith(b"event: error\ndata: ")
    assert events(event)[0]["error"]["type"] == "overloaded_error"
