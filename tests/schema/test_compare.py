"""A comparison's body: where the models may stand, what is refused, and what goes upstream."""

import json

import pytest

from kproxy.errors import Rejected
from kproxy.schema.chat import ChatCall, ChatRequest
from kproxy.schema.compare import CompareRequest, decode_compare, decode_either, first_choice
from kproxy.schema.jsonlimits import JsonLimits

LIMITS = JsonLimits()
MESSAGES = [{"role": "user", "content": "hi"}]


def body(**fields: object) -> bytes:
    return json.dumps({"messages": MESSAGES, **fields}).encode()


def asked(call: ChatCall) -> CompareRequest:
    assert isinstance(call.request, CompareRequest)
    return call.request


@pytest.mark.parametrize(
    ("fields", "names", "named_in"),
    [
        ({}, None, "x_kairosroute.models"),
        ({"models": None}, None, "x_kairosroute.models"),
        ({"models": ["a", "b"]}, ["a", "b"], "models"),
        ({"models": ["a", "b/c", "c", "d", "e", "f"]}, ["a", "b/c", "c", "d", "e", "f"], "models"),
        ({"x_kairosroute": {"models": ["a", "b"]}}, ["a", "b"], "x_kairosroute.models"),
        ({"models": None, "x_kairosroute": {"models": ["b", "a"]}}, ["b", "a"], None),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["chat", "compare"])
def test_where_the_models_stand(
    fields: dict[str, object], names: list[str] | None, named_in: str | None, path: str
) -> None:
    if path == "chat":
        request = asked(decode_either(body(model="kr-compare", **fields), LIMITS))
    else:
        request = asked(decode_compare(body(**fields), LIMITS))
    assert (request.model, request.names) == ("kr-compare", names)
    assert request.named_in == (named_in or "x_kairosroute.models")


def test_what_goes_upstream_is_all_but_the_models() -> None:
    call = decode_compare(body(models=["a", "b"], temperature=0.5, seed=7), LIMITS)
    assert list(call.fields) == ["messages", "temperature", "seed"]
    assert call.prompt == json.dumps(MESSAGES).encode()


def test_another_model_is_a_chat_request() -> None:
    call = decode_either(body(model="gpt", models=["a"]), LIMITS)
    assert type(call.request) is ChatRequest
    assert "models" in call.fields, "of which kproxy knows nothing"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"models": []}, "models"),
        ({"models": ["a"]}, "models"),
        ({"models": ["a", "b", "c", "d", "e", "f", "g"]}, "models"),
        ({"models": ["a", "b", "a"]}, "models"),
        ({"models": ["a", ""]}, "models"),
        ({"models": ["a", "b\n"]}, "models"),
        ({"models": ["a", "b" * 257]}, "models"),
        ({"models": "a"}, "models"),
        ({"models": ["a", 1]}, "models[1]"),
        ({"x_kairosroute": {"models": ["a"]}}, "x_kairosroute.models"),
        ({"x_kairosroute": {"models": ["a", "a"]}}, "x_kairosroute.models"),
        ({"models": ["a", "b"], "x_kairosroute": {"models": ["a", "b"]}}, "models"),
        ({"model": "auto"}, "model"),
        ({"model": "gpt"}, "model"),
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
    ],
    ids=str,
)
def test_refused(fields: dict[str, object], param: str) -> None:
    with pytest.raises(Rejected) as caught:
        decode_compare(body(**fields), LIMITS)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_without_messages() -> None:
    with pytest.raises(Rejected) as caught:
        decode_compare(b"{}", LIMITS)
    assert caught.value.param == "messages"


def test_too_many_messages() -> None:
    with pytest.raises(Rejected) as caught:
        decode_compare(body(messages=MESSAGES * 10_001), LIMITS)
    assert caught.value.param == "messages"


def test_the_first_choice_of_a_reply_as_it_came() -> None:
    reply = b'{"choices":[{"index":3,"message":{ "content":"\\u00f6" },"mine":1.50},{"index":4}]}'
    choice = first_choice(reply)
    assert bytes(choice["message"]) == b'{ "content":"\\u00f6" }'
    assert bytes(choice["mine"]) == b"1.50"
    assert bytes(choice["index"]) == b"3"
