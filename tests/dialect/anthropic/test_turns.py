"""Messages and turns: what is merged, left out, continued, and refused with its place."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from kproxy.dialect.anthropic.turns import translate_messages
from kproxy.errors import NotCarried


def translated(*messages: Any) -> Any:
    conversation = translate_messages(Raw(json.dumps(messages).encode()))
    return json.loads(msgspec.json.encode(conversation._asdict()))


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def call(**fields: Any) -> dict[str, Any]:
    one = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}} | fields
    return {"role": "assistant", "content": None, "tool_calls": [one]}


HELLO = {"role": "user", "content": "Hello"}


def test_messages_of_one_role_are_one_turn() -> None:
    turns = translated(HELLO, {"role": "user", "content": "again"})["turns"]
    assert turns == [{"role": "user", "content": [text("Hello"), text("again")]}]


def test_results_of_parallel_calls_are_one_turn() -> None:
    results = [{"role": "tool", "tool_call_id": name, "content": name} for name in "ab"]
    turns = translated(HELLO, call(), *results)["turns"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert [block["tool_use_id"] for block in turns[2]["content"]] == ["a", "b"]


def test_a_result_without_words() -> None:
    turns = translated(HELLO, call(), {"role": "tool", "tool_call_id": "c", "content": ""})["turns"]
    assert turns[2]["content"] == [{"type": "tool_result", "tool_use_id": "c"}]


@pytest.mark.parametrize("content", [None, "", [], [text("")]])
def test_who_says_nothing_has_no_turn(content: Any) -> None:
    silent = {"role": "assistant", "content": content}
    assert translated(HELLO, silent)["turns"] == translated(HELLO)["turns"]


def test_a_refusal_was_said_too() -> None:
    for refusal in (
        {"content": None, "refusal": "No."},
        {"content": [{"type": "refusal", "refusal": "No."}]},
    ):
        turns = translated(HELLO, {"role": "assistant"} | refusal, HELLO)["turns"]
        assert turns[1]["content"] == [text("No.")]


@pytest.mark.parametrize(
    ("begun", "said"),
    [
        ("One, ", [text("One,")]),
        (" \n", None),
        ([text("One"), text(", ")], [text("One"), text(",")]),
    ],
)
def test_a_prefill_does_not_end_in_white_space(begun: Any, said: Any) -> None:
    turns = translated(HELLO, {"role": "assistant", "content": begun})["turns"]
    assert turns[1:] == ([] if said is None else [{"role": "assistant", "content": said}])


def test_only_the_last_text_is_trimmed() -> None:
    turns = translated(HELLO, {"role": "assistant", "content": "a "}, HELLO)["turns"]
    assert turns[1]["content"] == [text("a ")]


def test_a_part_keeps_its_cache_mark() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    parts = [text("a") | mark, {"type": "image_url", "image_url": {"url": "https://h/a"}} | mark]
    turns = translated({"role": "user", "content": parts})["turns"]
    assert all(block["cache_control"] == mark["cache_control"] for block in turns[0]["content"])


def test_an_image_may_be_a_bare_address() -> None:
    turns = translated(
        {"role": "user", "content": [{"type": "image_url", "image_url": "https://h/a"}]}
    )
    assert turns["turns"][0]["content"][0]["source"] == {"type": "url", "url": "https://h/a"}


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "function", "name": "f", "content": "x"}, "messages[1].role"),
        (call(function={"name": "f", "arguments": "[1]"}), "messages[1].tool_calls"),
        (call(function={"name": "f", "arguments": "{"}), "messages[1].tool_calls"),
        (call(function={"name": "f", "arguments": "[" * 100_000}), "messages[1].tool_calls"),
        (call(function=None, custom={}), "messages[1].tool_calls"),
        ({"role": "assistant", "content": "", "function_call": {}}, "messages[1].function_call"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[1].content[0]"),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]},
            "messages[1].content[0]",
        ),
        ({"role": "user", "content": [text("a"), 5]}, "messages[1].content[1]"),
        ({"role": "user", "content": 5}, "messages"),
    ],
)
def test_what_has_no_place_is_named(message: Any, param: str) -> None:
    with pytest.raises(NotCarried) as caught:
        translated(HELLO, message)
    assert caught.value.param == param


def test_system_text_alone_is_no_conversation() -> None:
    with pytest.raises(NotCarried, match="a message of the user's"):
        translated({"role": "system", "content": "Be brief."})


def test_white_space_alone_is_no_conversation() -> None:
    with pytest.raises(NotCarried, match="white space"):
        translated({"role": "assistant", "content": " \n"})
