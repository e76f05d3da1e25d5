"""Views of replies and chunks: tolerant of what is missing, strict about what is not JSON."""

import contextlib
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.schema.reply import Output, decode_chunk, decode_reply, read_usage


def chunk_of(delta: object, **more: object) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": delta, **more}]}).encode()


def delta_of(delta: object) -> Output:
    choices = decode_chunk(chunk_of(delta)).choices
    assert choices is not None
    assert choices[0].delta is not None
    return choices[0].delta


def test_a_whole_reply() -> None:
    reply = decode_reply(
        json.dumps(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "model": "gpt-4.1-2025-04-14",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "hé"},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {
                    "prompt_tokens": 9,
                    "completion_tokens": 2,
                    "total_tokens": 11,
                    "prompt_tokens_details": {"cached_tokens": 4},
                    "completion_tokens_details": {"reasoning_tokens": 1},
                    "prompt_cache_hit_tokens": 4,
                },
                "x_kairosroute": {"a": 1},
            },
            ensure_ascii=False,
        ).encode()
    )
    assert reply.model == "gpt-4.1-2025-04-14"
    assert reply.choices is not None
    message = reply.choices[0].message
    assert message is not None
    assert (message.role, message.text) == ("assistant", "hé")
    assert reply.choices[0].finish_reason == "stop"
    usage = read_usage(reply.usage)
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 4
    assert bytes(reply.x_kairosroute) == b'{"a": 1}'
    assert not reply.has_error


@pytest.mark.parametrize("decode", [decode_reply, decode_chunk])
@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"choices":null,"usage":null,"error":null,"model":null,"x_kairosroute":null}',
        b'{"choices":[]}',
        b'{"choices":[{"index":null,"delta":null,"message":null,"finish_reason":null}]}',
        b'{"usage":{"prompt_tokens":null,"prompt_tokens_details":null}}',
        b'{"usage":{"prompt_tokens":12.0,"completion_tokens":3}}',
    ],
)
def test_tolerated(decode: object, body: bytes) -> None:
    assert not decode(body).has_error  # type: ignore[operator]


@pytest.mark.parametrize("decode", [decode_reply, decode_chunk])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"choices":{}}',
        b'{"choices":[1]}',
        b'{"choices":[{"index":0',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b'{"x":' + b"[" * 100_000,
    ],
)
def test_malformed(decode: object, body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(body)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("delta", "has_output", "size"),
    [
        ({}, False, 0),
        ({"role": "assistant"}, False, 0),
        ({"role": "assistant", "content": ""}, False, 0),
        ({"role": "assistant", "content": None, "tool_calls": None}, False, 0),
        ({"content": []}, False, 0),
        ({"tool_calls": []}, False, 0),
        ({"content": "a"}, True, 1),
        ({"content": [{"type": "text", "text": "a"}]}, True, 29),
        ({"reasoning_content": "abc"}, True, 3),
        ({"reasoning": "abc"}, True, 3),
        ({"reasoning": "abc", "reasoning_content": "abc"}, True, 3),
        ({"reasoning": "abc", "reasoning_content": ""}, True, 3),
        ({"refusal": "no"}, True, 2),
        ({"tool_calls": [{"index": 0}]}, True, 12),
        ({"function_call": {"name": "f"}}, True, 11),
        ({"content": " "}, True, 1),
    ],
    ids=str,
)
def test_output(delta: object, has_output: bool, size: int) -> None:
    view = delta_of(delta)
    assert (view.output_bytes > 0, view.output_bytes) == (has_output, size)


def test_text_of_what_is_no_string() -> None:
    assert delta_of({"content": [{"type": "text"}]}).text == ""
    assert delta_of({}).text == ""


@pytest.mark.parametrize("error", [{"message": "no"}, "no", 500])
def test_an_error_event(error: object) -> None:
    assert decode_chunk(json.dumps({"error": error}).encode()).has_error


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_arbitrary_bytes(body: bytes) -> None:
    for decode in (decode_reply, decode_chunk):
        with contextlib.suppress(msgspec.DecodeError):
            decode(body)
