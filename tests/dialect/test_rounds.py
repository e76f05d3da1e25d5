"""Requests of a tool loop, and what its whole answers look like to the caller."""

import json
from typing import Any

import pytest
from msgspec import Raw

from kproxy.dialect.calls import Call, Said
from kproxy.dialect.rounds import Whole, next_fields, offer, read_round, whole_answer
from kproxy.errors import Fault, Rejected
from kproxy.outcome import Usage
from kproxy.schema.chat import ChatCall, decode_chat
from kproxy.schema.jsonlimits import JsonLimits

RUN = {"type": "function", "function": {"name": "run"}}
OWN = {"type": "function", "function": {"name": "weather"}}
DEFINED = {"run": Raw(json.dumps(RUN).encode())}
USAGE = Usage(prompt_tokens=20, completion_tokens=5, cached_tokens=3, reasoning_tokens=2)


def call_of(**fields: Any) -> ChatCall:
    usual = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
    return decode_chat(json.dumps({**usual, **fields}).encode(), JsonLimits())


def raws(**members: Any) -> dict[str, Raw]:
    usual = {"messages": [{"role": "user", "content": "Hi"}], "tools": [OWN, RUN]}
    return {name: Raw(json.dumps(one).encode()) for name, one in {**usual, **members}.items()}


def plain(members: dict[str, Raw]) -> dict[str, Any]:
    return {name: json.loads(bytes(raw)) for name, raw in members.items()}


def said(text: str = "", arguments: str = "{}", reasoning: str = "") -> Said:
    members = {"type": Raw(b'"function"'), "signature": Raw(b'"s"')}
    return Said(text, reasoning, [Call("call_1", "run", arguments, members)])


@pytest.mark.parametrize("tools", [{}, {"tools": []}, {"tools": None}, {"tools": [OWN]}])
def test_ours_stand_behind_the_callers(tools: Any) -> None:
    offered = offer(call_of(**tools), DEFINED)
    assert plain(offered.fields)["tools"] == [*(tools.get("tools") or ()), RUN]
    assert offered.request.needs_tools


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [RUN]}, "tools"),
        ({"functions": [{"name": "weather"}]}, "functions"),
        ({"n": 2}, "n"),
    ],
)
def test_what_does_not_go_with_tools_of_ours(fields: Any, param: str) -> None:
    with pytest.raises(Rejected) as caught:
        offer(call_of(**fields), DEFINED)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_a_round_goes_back_as_it_was_said() -> None:
    members = plain(next_fields(raws(user="u"), said("Wait", '{"a":1}', "Hm"), ["3"]))
    assert members["messages"][1:] == [
        {
            "role": "assistant",
            "content": "Wait",
            "reasoning_content": "Hm",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "signature": "s",
                    "function": {"name": "run", "arguments": '{"a":1}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "3"},
    ]
    assert members["tools"] == [OWN, RUN]
    assert members["user"] == "u"


@pytest.mark.parametrize("arguments", ["", "{", "[1]", '"x"', "nan", "\ud800", '{"a":' * 2_000])
def test_arguments_that_are_no_object_go_back_as_an_empty_one(arguments: str) -> None:
    members = plain(next_fields(raws(), said(arguments=arguments), ["3"]))
    assert members["messages"][1]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert members["messages"][1]["content"] is None


@pytest.mark.parametrize(
    ("choice", "kept"),
    [("required", None), ("auto", None), ({"type": "function"}, None), ("none", "none")],
)
def test_who_insisted_on_a_call_has_had_one(choice: Any, kept: str | None) -> None:
    members = plain(next_fields(raws(tool_choice=choice), said(), ["3"]))
    assert members.get("tool_choice") == kept


def test_in_the_last_round_ours_cannot_be_called() -> None:
    members = plain(next_fields(raws(), said(), ["3"], ours={"run"}))
    assert members["tools"] == [OWN]
    assert "tool_choice" not in members
    members = plain(next_fields(raws(tools=[RUN]), said(), ["3"], ours={"run"}))
    assert (members["tools"], members["tool_choice"]) == ([RUN], "none")


def body(text: Any, *calls: Any, finish: str = "tool_calls", **more: Any) -> bytes:
    message = {"role": "assistant", "content": text, "tool_calls": list(calls), **more}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"id": "c", "choices": [choice], "usage": {"prompt_tokens": 1}}).encode()


def made(name: str, ident: str) -> dict[str, Any]:
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": "{}"}}


def test_a_round_is_read() -> None:
    read = read_round(body("a", made("run", "x"), reasoning_content="Hm"), {"run"})
    assert read.goes_on
    assert (read.said.text, read.said.reasoning) == ("a", "Hm")
    assert [(one.id, one.name, one.arguments) for one in read.said.calls] == [("x", "run", "{}")]


@pytest.mark.parametrize(
    ("names", "finish", "goes_on"),
    [
        (["run"], "tool_calls", True),
        (["run"], "length", False),
        (["run", "weather"], "tool_calls", False),
        (["weather"], "tool_calls", False),
        ([], "stop", False),
    ],
)
def test_what_is_only_a_round(names: list[str], finish: str, goes_on: bool) -> None:
    calls = [made(name, f"id_{name}") for name in names]
    assert read_round(body(None, *calls, finish=finish), {"run"}).goes_on is goes_on


@pytest.mark.parametrize("wrong", [b"[]", b"{}", b'{"choices":[1]}', body(None, 1), body(None, [])])
def test_an_answer_that_cannot_be_read_is_a_fault(wrong: bytes) -> None:
    with pytest.raises(Fault):
        read_round(wrong, {"run"})


def whole(answer: bytes, *texts: str, usage: Usage | None = None) -> Any:
    return whole_answer(answer, read_round(answer, {"run"}), Whole(texts, (), usage))


def test_an_answer_without_calls_of_ours_is_what_it_was() -> None:
    for answer in (body("a", finish="stop"), body("a", made("weather", "y"))):
        assert whole(answer, "a") is answer


def test_an_answer_after_rounds_has_all_words_and_the_sum() -> None:
    answer = json.loads(whole(body("b", finish="stop"), "a", "", "b", usage=USAGE))
    assert answer["choices"][0]["message"]["content"] == "a\n\nb"
    assert answer["usage"] == {
        "prompt_tokens": 20,
        "completion_tokens": 5,
        "total_tokens": 25,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


def test_ours_are_left_out_beside_the_callers() -> None:
    answer = json.loads(whole(body(None, made("run", "x"), made("weather", "y"))))
    (choice,) = answer["choices"]
    assert choice["message"]["tool_calls"] == [made("weather", "y")]
    assert choice["finish_reason"] == "tool_calls"
    assert answer["usage"] == {"prompt_tokens": 1}


def test_where_no_round_follows_a_limit_has_cut_the_answer() -> None:
    (choice,) = json.loads(whole(body(None, made("run", "x"))))["choices"]
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "length"


def test_content_in_parts_keeps_them() -> None:
    parts = [{"type": "text", "text": "b"}]
    answer = json.loads(whole(body(parts, finish="stop"), "a", usage=USAGE))
    assert answer["choices"][0]["message"]["content"] == [{"type": "text", "text": "a"}, *parts]


def test_pictures_are_parts_of_the_message() -> None:
    answer = body("b", finish="stop")
    picture = {"type": "image_url", "image_url": {"url": "data:x"}}
    made_of = Whole(["b"], [Raw(json.dumps(picture).encode())], USAGE)
    message = json.loads(whole_answer(answer, read_round(answer, ()), made_of))["choices"][0]
    assert message["message"]["images"] == [picture]
