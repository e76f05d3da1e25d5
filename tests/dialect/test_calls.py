"""Calls of our tools in a stream: what is held back, what passes, and when the answer goes on."""

import json
from typing import Any

import pytest
from msgspec import Raw

from kproxy.dialect.calls import MOST_BYTES, Calls, chunk_of, goes_on, usage_of
from kproxy.errors import Fault, FaultKind
from kproxy.wire.sse import Event

OURS = frozenset({"run", "draw"})


def event(delta: Any, finish: str | None = None, **more: Any) -> Event:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = json.dumps({"id": "c", "model": "m", "choices": [choice], **more}).encode()
    return Event(b"data: %b\n\n" % data, data)


def piece(index: int | None, name: str | None = None, said: str = "", **more: Any) -> Event:
    """A piece of one call."""
    function = {"arguments": said} if name is None else {"name": name, "arguments": said}
    made = {"function": function, **more}
    return event({"tool_calls": [made if index is None else {"index": index, **made}]})


def passed(calls: Calls, *events: Event) -> list[Any]:
    """The chunks that leave."""
    raws = [calls.take(one).raw for one in events]
    return [json.loads(raw.removeprefix(b"data: ")) for raw in raws if raw]


def delta(chunk: Any) -> Any:
    return chunk["choices"][0]["delta"]


def test_what_has_no_calls_passes_as_it_came() -> None:
    for one in (
        event({"role": "assistant", "content": ""}),
        event({"content": "a", "tool_calls": None}),
        event({}, "stop"),
        event({"content": "x"}, choices=[]),
    ):
        assert Calls(OURS).take(one) is one


def test_a_call_of_ours_is_held_back_and_the_answer_goes_on() -> None:
    calls = Calls(OURS)
    head = event({"role": "assistant", "content": None, "tool_calls": [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "run"}}
    ]})  # fmt: skip
    left = passed(calls, head, piece(0, said='{"a"'), piece(0, said=":1}"), event({}, "tool_calls"))
    assert [delta(one) for one in left] == [{"role": "assistant", "content": None}]
    assert calls.goes_on
    (call,) = calls.said.calls
    assert (call.id, call.name, call.arguments) == ("call_1", "run", '{"a":1}')
    assert bytes(call.members["type"]) == b'"function"'
    assert "index" not in call.members


def test_nothing_leaves_behind_the_end_of_a_round() -> None:
    calls = Calls(OURS)
    passed(calls, piece(0, "run", "{}"), event({}, "tool_calls"))
    usage = event({}, choices=[], usage={"prompt_tokens": 1})
    assert passed(calls, usage, event({"content": "late"})) == []
    assert calls.take(usage).data == usage.data


def test_words_in_the_last_chunk_of_a_round_pass() -> None:
    calls = Calls(OURS)
    left = passed(calls, piece(0, "run", "{}"), event({"content": "So:"}, "tool_calls"))
    assert [(delta(one), one["choices"][0]["finish_reason"]) for one in left] == [
        ({"content": "So:"}, None)
    ]


def test_the_callers_calls_are_counted_by_themselves() -> None:
    calls = Calls(OURS)
    left = passed(
        calls,
        piece(0, "run", "{}", id="a"),
        piece(1, "weather", "", id="b"),
        piece(1, said='{"x"'),
        piece(2, "draw", "{}", id="c"),
        piece(3, "time", "{}", id="d"),
        piece(1, said=":1}"),
        event({}, "tool_calls"),
    )
    pieces = [one for chunk in left for one in delta(chunk).get("tool_calls", ())]
    assert [one["index"] for one in pieces] == [0, 0, 1, 0]
    assert "".join(one["function"]["arguments"] for one in pieces if not one["index"]) == '{"x":1}'
    assert left[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert not calls.goes_on


def test_calls_of_both_in_one_piece() -> None:
    both = [
        {"index": 0, "id": "a", "function": {"name": "run", "arguments": "{}"}},
        {"index": 1, "id": "b", "function": {"name": "weather", "arguments": "{}"}},
    ]
    calls = Calls(OURS)
    (left,) = passed(calls, event({"tool_calls": both}))
    assert delta(left)["tool_calls"] == [{**both[1], "index": 0}]


def test_calls_without_an_index() -> None:
    """Each with an id of its own begins one; what has none belongs to the latest."""
    calls = Calls(OURS)
    passed(calls, piece(None, "run", "{", id="a"), piece(None, said="}"))
    passed(calls, piece(None, "draw", "{}", id="b"), event({}, "stop"))
    assert [(one.name, one.arguments) for one in calls.said.calls] == [
        ("run", "{}"),
        ("draw", "{}"),
    ]
    assert calls.goes_on


def test_a_call_without_a_name_is_the_callers() -> None:
    left = passed(Calls(OURS), piece(0, said="{}", id="a"))
    assert delta(left[0])["tool_calls"][0]["id"] == "a"


def test_a_call_without_an_id_gets_one() -> None:
    calls = Calls(OURS)
    passed(calls, piece(0, "run", "{}"), piece(1, "draw", "{}"), event({}, "tool_calls"))
    assert [one.id for one in calls.said.calls] == ["call_0", "call_1"]


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_half_call_is_left_out(finish: str) -> None:
    calls = Calls(OURS)
    (left,) = passed(calls, piece(0, "run", '{"a'), event({}, finish))
    assert left["choices"][0]["finish_reason"] == finish
    assert not calls.goes_on


def test_in_the_last_round_a_call_ends_the_answer() -> None:
    calls = Calls(OURS, last=True)
    (left,) = passed(calls, piece(0, "run", "{}"), event({}, "tool_calls"))
    assert left["choices"][0]["finish_reason"] == "length"
    assert not calls.goes_on


@pytest.mark.parametrize(
    ("text", "begun", "expected"),
    [("", "", "a"), ("Before.", "", "\n\na"), ("Before.", "half", "a")],
)
def test_between_the_words_of_two_rounds_stands_an_empty_line(
    text: str, begun: str, expected: str
) -> None:
    calls = Calls(OURS, text, begun)
    left = passed(calls, event({"content": ""}), event({"content": "a"}), event({"content": "b"}))
    assert [delta(one)["content"] for one in left] == ["", expected, "b"]
    assert calls.said.text == f"{begun}ab"


def test_thoughts_are_known() -> None:
    calls = Calls(OURS)
    passed(calls, event({"reasoning_content": "Hm"}), event({"reasoning_content": ", well"}))
    assert calls.said.reasoning == "Hm, well"


@pytest.mark.parametrize(
    "data",
    [
        {"tool_calls": "x"},
        {"tool_calls": [1]},
        {"tool_calls": [{"index": "a"}]},
        {"tool_calls": [{"function": {"arguments": {}}}]},
    ],
)
def test_calls_that_cannot_be_read_are_a_bad_body(data: Any) -> None:
    with pytest.raises(Fault) as caught:
        Calls(OURS).take(event(data))
    assert caught.value.kind is FaultKind.BAD_BODY


def test_a_round_has_a_limit() -> None:
    calls = Calls(OURS)
    calls.take(piece(0, "run", "a" * (MOST_BYTES - 1)))
    calls.take(event({"content": "b"}))
    with pytest.raises(Fault) as caught:
        calls.take(event({"content": "c"}))
    assert caught.value.kind is FaultKind.TOO_LARGE


def test_a_round_has_a_limit_of_calls() -> None:
    calls = Calls(OURS)
    for index in range(1024):
        calls.take(piece(index, "run" if index % 2 else "weather"))
    with pytest.raises(Fault) as caught:
        calls.take(piece(1024, "run"))
    assert caught.value.kind is FaultKind.TOO_LARGE


@pytest.mark.parametrize(
    ("finish", "ours", "theirs", "expected"),
    [
        ("tool_calls", 1, 0, True),
        ("stop", 2, 0, True),
        ("tool_calls", 1, 1, False),
        ("tool_calls", 0, 0, False),
        ("length", 1, 0, False),
        (None, 1, 0, False),
    ],
)
def test_what_is_only_a_round(finish: str, ours: int, theirs: int, expected: bool) -> None:
    assert goes_on(finish, ours, theirs) is expected


def test_chunks_of_our_own() -> None:
    calls = Calls(OURS)
    passed(calls, event({"content": "a"}, usage=None, created=7, obfuscation="x"))
    said = json.loads(chunk_of(calls.frame, "Hi"))
    assert said == {
        "id": "c", "model": "m", "created": 7,
        "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}],
    }  # fmt: skip
    assert json.loads(chunk_of(calls.frame, finish="length"))["choices"][0]["delta"] == {}
    assert json.loads(usage_of(calls.frame, Raw(b"{}"))) == {
        "id": "c",
        "model": "m",
        "created": 7,
        "choices": [],
        "usage": {},
    }
