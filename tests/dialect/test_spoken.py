"""The texts of a whole answer: found where they stand, and put back without touching the rest."""

import json

import msgspec
import pytest

from kproxy.dialect.spoken import MOST_QUOTED, Place, Spoken, asked_again, respoken, spoken

BODY = {
    "id": "c",
    "odd": [1.50],
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "a\u00e4", "refusal": None},
            "logprobs": {"content": []},
            "finish_reason": "stop",
        },
        {
            "index": 1,
            "message": {
                "content": None,
                "tool_calls": [
                    {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{1"}},
                    {"id": "y", "type": "custom", "custom": {"name": "g", "input": "h"}},
                    {"id": "z", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                ],
            },
            "finish_reason": "tool_calls",
        },
    ],
}
RAW = json.dumps(BODY, indent=1).encode()


def test_every_text_and_its_place() -> None:
    assert spoken(RAW) == {
        Place(0): Spoken("a\u00e4", None, "stop"),
        Place(1, 0): Spoken("{1", "f", "tool_calls"),
        Place(1, 2): Spoken("{}", "f", "tool_calls"),
    }


@pytest.mark.parametrize("body", [b"{}", b"[", b'{"choices":[{"message":{"tool_calls":{}}}]}'])
def test_what_cannot_be_read_has_no_texts(body: bytes) -> None:
    assert spoken(body) == {}


def test_content_that_is_no_string_is_no_text() -> None:
    assert spoken(b'{"choices":[{"message":{"content":[{"type":"text"}]}},{}]}') == {}


def test_without_changes_it_is_the_very_body() -> None:
    assert respoken(RAW, {}) is RAW


def test_only_the_changed_texts_are_new() -> None:
    changed = respoken(RAW, {Place(0): "{}", Place(1, 2): '{"a":1}'})
    right = json.loads(RAW)
    right["choices"][0]["message"]["content"] = "{}"
    del right["choices"][0]["logprobs"]
    right["choices"][1]["message"]["tool_calls"][2]["function"]["arguments"] = '{"a":1}'
    assert json.loads(changed) == right
    assert b"1.50" not in RAW or b"1.50" in changed
    assert b"1.5" in changed


def test_asking_again_shows_what_was_said() -> None:
    fields = {"model": msgspec.Raw(b'"m"'), "messages": msgspec.Raw(b'[{"role":"user"} ] ')}
    found = asked_again(fields, "{bad", "Again.")
    assert bytes(found["model"]) == b'"m"'
    assert json.loads(bytes(found["messages"])) == [
        {"role": "user"},
        {"role": "assistant", "content": "{bad"},
        {"role": "user", "content": "Again."},
    ]
    for said in (None, "", "x" * (MOST_QUOTED + 1)):
        assert len(json.loads(bytes(asked_again(fields, said, "Again.")["messages"]))) == 2
