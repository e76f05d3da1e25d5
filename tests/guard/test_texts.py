"""Texts inside JSON: edited where they stand, everything else byte for byte."""

import json

import pytest
from msgspec import Raw

from kproxy.errors import Fault, FaultKind, Rejected
from kproxy.guard.texts import edit_messages, edit_reply


def louder(text: str) -> str:
    return text.replace("ann", "<A>")


def edited(messages: str) -> str:
    return bytes(edit_messages(Raw(messages.encode()), louder)).decode()


def test_without_a_change_it_is_the_same_value() -> None:
    messages = Raw(b'[ {"role":"user", "content" : "bob"} ]')
    assert edit_messages(messages, louder) is messages


def test_only_what_has_changed_is_written_anew() -> None:
    odd = '{ "role":"user","content":"\\u0062ob",  "x":1.0e3 }'
    assert edited(f'[{odd} , {{"role":"user","content":"\\u0061nn", "x": 1.50}}]') == (
        f'[{odd},{{"role":"user","content":"<A>","x":1.50}}]'
    )


def test_parts_of_a_message() -> None:
    image = '{"type":"image_url" , "image_url":{"url":"data:,ann"}}'
    text = '{"type":"text","text":"ann, \\"hi\\"","n":12345678901234567890123}'
    assert edited(f'[{{"role":"user","content":[{image},{text}]}}]') == (
        f'[{{"role":"user","content":[{image},'
        '{"type":"text","text":"<A>, \\"hi\\"","n":12345678901234567890123}]}]'
    )


def test_the_name_of_a_file() -> None:
    part = {"type": "file", "file": {"filename": "ann.pdf", "file_data": "data:;base64,annn"}}
    [message] = json.loads(edited(json.dumps([{"role": "user", "content": [part]}])))
    [found] = message["content"]
    assert found["file"] == {"filename": "<A>.pdf", "file_data": "data:;base64,annn"}


def test_nested_parts() -> None:
    assert "ann" not in edited(
        '[{"role":"tool","content":[{"type":"x","content":[{"type":"text","text":"ann"}]}]}]'
    )


@pytest.mark.parametrize(
    "part",
    [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "ann"}},
        {"type": "document", "title": "ann", "context": "ann", "source": {"type": "url"}},
        {"type": "search_result", "source": "ann", "content": [{"type": "text", "text": "ann"}]},
        {"type": "tool_use", "id": "x", "name": "f", "input": {"ann": ["ann", {"b": "ann"}]}},
        {"type": "new", "a": [["ann", {"b": {"type": "text", "c": "ann"}}]]},
        {"type": None, "a": "ann"},
        {"type": ["text"], "a": "ann"},
    ],
)
def test_every_string_of_a_part_that_openai_does_not_have(part: dict[str, object]) -> None:
    before = json.dumps(part)
    found = edited(f'[{{"role":"user","content":[{before}]}}]')
    [message] = json.loads(found)
    assert message["content"] == [json.loads(before.replace("ann", "<A>"))]


def test_kinds_and_base64_of_such_a_part_stay() -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "annannannann"}
    part = {"type": "annex", "source": source, "input": 5}
    messages = Raw(json.dumps([{"role": "user", "content": [part]}]).encode())
    assert edit_messages(messages, louder) is messages


@pytest.mark.parametrize(
    ("arguments", "after"),
    [
        ('{"to":"ann","n":1}', '{"to":"<A>","n":1}'),
        ('{"to":["\\u0061nn",{"ann":null}]}', '{"to":["<A>",{"<A>":null}]}'),
        ('{"to":"ann", "x":1.50}', '{"to":"<A>","x":1.50}'),
        ('{"x": NaN, "to":"ann"}', '{"x": NaN, "to":"<A>"}'),
        ('{"a":"ann","a":1}', '{"a":"<A>","a":1}'),  # twice: a text like any other
        ("ann (no JSON", "<A> (no JSON"),
        ("[" * 5_000 + "ann", "[" * 5_000 + "<A>"),
        ('{"to":"bob" }', '{"to":"bob" }'),
    ],
)
def test_arguments_of_calls(arguments: str, after: str) -> None:
    call = {"id": "ann", "type": "function", "function": {"name": "ann", "arguments": arguments}}
    [message] = json.loads(edited(json.dumps([{"role": "assistant", "tool_calls": [call]}])))
    [found] = message["tool_calls"]
    assert found["function"] == {"name": "ann", "arguments": after}
    assert found["id"] == "ann"


def test_a_match_never_begins_inside_an_escape() -> None:
    arguments = '{"text":"hi\\nann"}'
    found = edit_messages(
        Raw(json.dumps([{"tool_calls": [{"function": {"arguments": arguments}}]}]).encode()),
        lambda text: text.replace("nann", "<B>").replace("ann", "<A>"),
    )
    [message] = json.loads(bytes(found))
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"text": "hi\n<A>"}


def test_a_number_that_is_found_becomes_a_text() -> None:
    message = {"function_call": {"name": "pay", "arguments": '{"card":4111,"sum":1}'}}
    found = edit_messages(
        Raw(json.dumps([message]).encode()), lambda text: text.replace("4111", "<C>")
    )
    assert json.loads(bytes(found))[0]["function_call"]["arguments"] == '{"card":"<C>","sum":1}'


@pytest.mark.parametrize(
    "message",
    [
        '{"role":"user","content":"ann","content":"bob"}',
        '{"role":"user","content":[{"type":"text","text":"ann","te\\u0078t":"bob"}]}',
    ],
)
def test_a_name_that_stands_twice_is_refused(message: str) -> None:
    with pytest.raises(Rejected, match="more than once") as caught:
        edited(f"[{message}]")
    assert caught.value.status == 400


def upper(text: str) -> str:
    return text.upper()


def test_a_whole_answer() -> None:
    body = (
        b'{"id":"1", "choices":[{"index":0,"message":{"role":"assistant","content":"ann"},'
        b'"finish_reason":"stop"}],"usage":{"total_tokens":1.0}}'
    )
    assert edit_reply(body, upper, louder) == (
        b'{"id":"1","choices":[{"index":0,"message":{"role":"assistant","content":"ANN"},'
        b'"finish_reason":"stop"}],"usage":{"total_tokens":1.0}}'
    )
    assert edit_reply(body, louder, upper) == body.replace(b"ann", b"<A>").replace(b', "', b',"')
    assert edit_reply(body, lambda text: text, upper) is body


def test_calls_in_an_answer_are_restored_and_refusals_left() -> None:
    call = {"function": {"name": "f", "arguments": '{"to":"ann"}'}}
    message = {"content": None, "refusal": "ann", "tool_calls": [call]}
    body = json.dumps({"choices": [{"message": message}, {"message": None}, {}]}).encode()
    found = json.loads(edit_reply(body, upper, louder))["choices"][0]["message"]
    assert found["refusal"] == "ann"
    assert found["tool_calls"][0]["function"]["arguments"] == '{"to":"<A>"}'


def test_a_name_that_stands_twice_in_an_answer_is_the_provider_s_fault() -> None:
    part = b'{"type":"text","text":"a","text":"b"}'
    body = b'{"choices":[{"message":{"content":[%b]}}]}' % part
    with pytest.raises(Fault) as caught:
        edit_reply(body, str.upper, str)
    assert caught.value.kind is FaultKind.BAD_BODY
