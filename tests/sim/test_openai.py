"""OpenAI's wire as its reference has it: request fields, JSON, events, tool calls, errors."""

import json

import pytest

from kproxy.errors import Rejected
from kproxy.sim import openai
from tests.fakes.simulated import (
    CLOCK,
    HELLO,
    ROOT,
    WEATHER,
    asked,
    events,
    openai_tools,
    played,
    said,
    script,
)

FORCED = {"type": "function", "function": {"name": "get_time"}}
TOOLS = openai_tools(WEATHER, CLOCK)


def whole(**fields):
    return json.loads(openai.reply(script(**fields), asked(**fields), True))


def test_a_whole_answer():
    answer = whole()
    found = script()
    assert list(answer) == [
        "id", "object", "created", "model", "choices", "usage", "service_tier",
        "system_fingerprint",
    ]  # fmt: skip
    assert answer["id"] == "chatcmpl-" + found.ident
    assert (answer["object"], answer["created"]) == ("chat.completion", openai.CREATED)
    assert answer["model"] == "gpt-4.1"
    [choice] = answer["choices"]
    assert choice["message"] == {
        "role": "assistant", "content": found.text, "refusal": None, "annotations": []
    }  # fmt: skip
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    usage = answer["usage"]
    assert usage["prompt_tokens"] == asked().prompt_tokens
    assert usage["completion_tokens"] == 6
    assert usage["total_tokens"] == usage["prompt_tokens"] + 6
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0


def test_the_models_name_comes_back_as_it_was_sent():
    assert whole(model='a"b!ok')["model"] == 'a"b!ok'


def test_the_same_request_gives_the_same_bytes():
    assert openai.reply(script(), asked(), True) == openai.reply(script(), asked(), True)


def test_usage_can_be_left_out():
    assert "usage" not in json.loads(openai.reply(script(), asked(), False))


def test_several_choices():
    answer = whole(n=3)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 18
    found = played(stream=True, n=2)
    indexes = [event["choices"][0]["index"] for event in events(found.body)[:-1]]
    assert indexes == [0, 1] * (len(indexes) // 2)


def test_a_stream():
    found = events(played(stream=True).body)
    assert found[-1] == "[DONE]"
    chunks = found[:-1]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["id"] for chunk in chunks} == {"chatcmpl-" + script().ident}
    assert all(len(chunk["choices"]) == 1 and "usage" not in chunk for chunk in chunks)
    first, *tokens, last = [chunk["choices"][0] for chunk in chunks]
    assert first["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [token["delta"] for token in tokens] == [{"content": one} for one in script().pieces]
    assert [one["finish_reason"] for one in (first, *tokens)] == [None] * 7
    assert (last["delta"], last["finish_reason"]) == ({}, "stop")


def test_a_stream_with_its_usage():
    found = events(played(stream=True, stream_options={"include_usage": True}).body)
    *chunks, usage, done = found
    assert done == "[DONE]"
    assert all(chunk["usage"] is None for chunk in chunks)
    assert usage["choices"] == []
    assert usage["usage"] == whole()["usage"]


def test_streamed_and_whole_answers_say_the_same():
    body = played(stream=True).body
    assert said(body) == whole()["choices"][0]["message"]["content"]


def test_tool_calls_whole():
    [choice] = whole(tools=TOOLS)["choices"]
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "tool_calls"
    first, second = choice["message"]["tool_calls"]
    assert (first["type"], first["function"]["name"]) == ("function", "get_weather")
    assert set(json.loads(first["function"]["arguments"])) == {"city", "unit"}
    assert second["function"] == {"name": "get_time", "arguments": "{}"}


def test_tool_calls_streamed():
    found = events(played(stream=True, tools=TOOLS).body)
    calls = {}
    for event in found[:-1]:
        for call in event["choices"][0]["delta"].get("tool_calls", ()):
            if "id" in call:
                assert call["index"] not in calls
                calls[call["index"]] = {"id": call["id"], "function": dict(call["function"])}
            else:
                assert set(call) == {"index", "function"}
                calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    [choice] = whole(tools=TOOLS)["choices"]
    for call in choice["message"]["tool_calls"]:
        del call["type"]
    assert list(calls.values()) == choice["message"]["tool_calls"]
    assert found[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert found[0]["choices"][0]["delta"]["content"] is None


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["get_weather", "get_time"]),
        ({"tool_choice": "auto"}, ["get_weather", "get_time"]),
        ({"tool_choice": "required"}, ["get_weather", "get_time"]),
        ({"tool_choice": "none"}, []),
        ({"tool_choice": None}, ["get_weather", "get_time"]),
        ({"tool_choice": FORCED}, ["get_time"]),
        ({"parallel_tool_calls": False}, ["get_weather"]),
        ({"messages": [*HELLO, {"role": "tool", "content": "4", "tool_call_id": "x"}]}, []),
    ],
)
def test_which_tools_are_called(fields, names):
    assert [tool.name for tool in asked(tools=TOOLS, **fields).tools] == names


@pytest.mark.parametrize("tools", [None, [], [{"type": "custom", "custom": {"name": "x"}}]])
def test_no_tools_to_call(tools):
    assert asked(tools=tools).tools == ()


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, True),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, True),
        ({"type": "json_schema", "json_schema": {"schema": {"type": "null"}}}, {"type": "null"}),
    ],
)
def test_response_formats(shape, wanted):
    assert asked(response_format=shape).shape == wanted


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": "json"}, "response_format"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function"),
        ({"tools": TOOLS, "tool_choice": {"function": {"name": "none"}}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": 4}, "tool_choice"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 0}, None),
        ({"n": 129}, "n"),
        ({"n": -1}, "n"),
        ({"model": "m!x"}, "model"),
    ],
)
def test_requests_that_are_refused(fields, param):
    if param is None:
        assert asked(**fields).choices == 1
        return
    with pytest.raises(Rejected) as caught:
        asked(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_a_limit_in_either_spelling():
    assert asked(max_tokens=7).limit == 7
    assert asked(max_completion_tokens=8, max_tokens=7).limit == 8
    assert asked(max_tokens=1).limit == 1


def test_reasoning_has_its_own_field():
    fields = {"model": "m!reasoning=2"}
    message = whole(**fields)["choices"][0]["message"]
    assert message["reasoning_content"] == "".join(script(**fields).pieces[:2])
    deltas = [event["choices"][0]["delta"] for event in
              events(played("reasoning=2", stream=True, model="m").body)[1:-2]]  # fmt: skip
    assert [list(delta) for delta in deltas] == [["reasoning_content"]] * 2 + [["content"]] * 4
    assert whole(**fields)["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503, 418])
def test_errors_have_the_shape_that_clients_parse(status):
    error = json.loads(openai.problem(Rejected(status, "", ""), "0"))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"]


def test_an_errors_own_words_win():
    error = Rejected(400, "context_length_exceeded", "Too long.", param="messages")
    assert json.loads(openai.problem(error, "0"))["error"] == {
        "message": "Too long.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }


def test_an_error_event_is_a_data_line():
    [event] = events(openai.error_event("0"))
    assert event["error"]["type"] == "server_error"


def test_models():
    listed = json.loads(openai.models(("a", "b")))
    assert listed["object"] == "list"
    assert [one["id"] for one in listed["data"]] == ["a", "b"]
    assert json.loads(openai.model_object("a"))["object"] == "model"


def test_another_root_is_another_answer():
    assert openai.read(b'{"model":"m","messages":[{"role":"user"}]}', ROOT).digest != (
        openai.read(b'{"model":"m","messages":[{"role":"user"}]}', b"x").digest
    )
