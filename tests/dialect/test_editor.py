"""Editors: what of a stream's text leaves, when, and that everything else stays as it came."""

import json
from typing import Any

import pytest

from kproxy.dialect.base import ChunkFacts
from kproxy.dialect.editor import Edited
from kproxy.dialect.flow import Flow, FlowState, Wanted
from kproxy.dialect.openai import OpenAI
from kproxy.errors import Fault, FaultKind, Rejected
from kproxy.wire.sse import Event, EventReader
from tests.fakes.stream import DONE, ONE, ROLE, STOP, USAGE, chunk, event


class Upper:
    """Changes every piece, holds nothing."""

    def text(self, choice: int, piece: str) -> str:
        return piece.upper()

    def end(self, choice: int, finish: str) -> str:
        return ""


class Last:
    """Holds one character back until it sees the next, and marks the end."""

    def __init__(self, mark: str = "") -> None:
        self.held: dict[int, str] = {}
        self.mark = mark

    def text(self, choice: int, piece: str) -> str:
        text = self.held.get(choice, "") + piece
        self.held[choice] = text[-1:]
        return text[:-1]

    def end(self, choice: int, finish: str) -> str:
        return self.held.pop(choice, "") + self.mark


class Nothing:
    """Lets everything pass."""

    def text(self, choice: int, piece: str) -> str:
        return piece

    def end(self, choice: int, finish: str) -> str:
        return ""


class Refusing(Nothing):
    def end(self, choice: int, finish: str) -> str:
        raise Rejected(400, "blocked", "No.")


def one(data: dict[str, Any]) -> Event:
    raw = event(data)
    return Event(raw, raw[6:-2])


def said(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in raw.split(b"\n") if line.startswith(b"data: {")]


def piece(text: str | None, finish: str | None = None, index: int = 0, **more: Any) -> Event:
    delta = {} if text is None else {"content": text}
    choice = {"index": index, "delta": delta, "finish_reason": finish, **more}
    return one({"id": "c", "model": "m", "choices": [choice]})


def texts(*events: Event) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for taken in events
        for chunk in said(taken.raw)
        for choice in chunk["choices"]
    )


@pytest.mark.parametrize(
    "event",
    [
        piece("as it is"),
        piece(None, "stop"),
        piece(""),
        one({"choices": []}),
        one({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0}]}}]}),
        one({"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": "x"}]}}]}),
    ],
)
def test_what_nobody_changes_is_the_very_event(event: Event) -> None:
    assert Edited([Nothing(), Nothing()]).take(event) is event


def test_only_the_text_of_a_changed_event_is_new() -> None:
    raw = {"id": "c", "odd": [1, 2.50], "choices": [{"index": 0, "delta": {"content": "a"}}]}
    taken = Edited([Upper()]).take(one(raw))
    raw["choices"][0]["delta"]["content"] = "A"
    assert said(taken.raw) == [raw]
    assert b"2.5" in taken.raw


def test_probabilities_of_a_changed_text_are_left_out() -> None:
    taken = Edited([Upper()]).take(piece("secret", logprobs={"content": [{"token": "secret"}]}))
    assert b"logprobs" not in taken.raw
    assert b"logprobs" in Edited([Nothing()]).take(piece("x", logprobs={"content": []})).raw


def test_an_event_that_says_nothing_any_more_is_left_out() -> None:
    edited = Edited([Last()])
    assert edited.take(piece("a")).raw == b""
    assert texts(edited.take(piece("b"))) == "a"


def test_a_role_stays_where_the_text_was_held_back() -> None:
    taken = Edited([Last()]).take(
        one({"choices": [{"index": 0, "delta": {"role": "assistant", "content": "a"}}]})
    )
    assert said(taken.raw)[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_what_is_due_stands_before_the_finish_reason() -> None:
    edited = Edited([Last("!")])
    edited.take(piece("a"))
    first, second = said(edited.take(piece("b", "stop")).raw)
    assert first["choices"] == [{"index": 0, "delta": {"content": "ab!"}, "finish_reason": None}]
    assert (first["id"], first["model"]) == ("c", "m")
    assert second["choices"] == [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}]


def test_usage_is_not_said_twice() -> None:
    edited = Edited([Last("!")])
    choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    first, second = said(edited.take(one({"choices": [choice], "usage": {"a": 1}})).raw)
    assert "usage" not in first
    assert second["usage"] == {"a": 1}


def test_each_editor_sees_what_the_one_before_lets_through() -> None:
    edited = Edited([Last("x"), Upper(), Last("y")])
    events = [edited.take(piece(text)) for text in ("ab", "c", "d")]
    assert texts(*events) == "AB"
    assert texts(edited.take(piece(None, "stop"))) == "CDXy"


def test_choices_have_their_own_text_and_end() -> None:
    edited = Edited([Last()])
    edited.take(piece("a", index=0))
    edited.take(piece("z", index=1))
    assert texts(edited.take(piece(None, "stop", index=1))) == "z"
    assert texts(edited.take(piece("b", index=0))) == "a"
    assert texts(edited.take(piece(None, "stop", index=0))) == "b"


def test_several_choices_in_one_event() -> None:
    edited = Edited([Last()])
    choices = [
        {"index": 0, "delta": {"content": "ab"}, "finish_reason": None},
        {"index": 1, "delta": {"content": "c"}, "finish_reason": "stop"},
    ]
    first, second = said(edited.take(one({"choices": choices})).raw)
    assert [one["index"] for one in first["choices"]] == [1]
    assert [one["delta"]["content"] for one in second["choices"]] == ["a", ""]


def test_text_behind_the_end_is_ended_at_once() -> None:
    edited = Edited([Last()])
    edited.take(piece("a", "stop"))
    assert texts(edited.take(piece("bc"))) == "bc"
    assert edited.take(piece(None, "stop")).raw == piece(None, "stop").raw


def test_an_event_that_cannot_be_read_is_a_fault() -> None:
    with pytest.raises(Fault) as caught:
        Edited([Upper()]).take(Event(b"data: x\n\n", b"x"))
    assert caught.value.kind is FaultKind.BAD_BODY


def test_the_rest_of_a_choice_without_an_end() -> None:
    edited = Edited([Last(), Upper(), Last("!")])
    for index in (0, 1, 2):
        edited.take(piece("abc", index=index, logprobs=None))
    edited.take(piece(None, "stop", index=1))
    edited.take(one({"id": "c", "choices": [], "usage": {"a": 1}, "x_kairosroute": {}}))
    assert said(edited.rest()) == [
        {
            "id": "c",
            "choices": [
                {"index": at, "delta": {"content": "BC!"}, "finish_reason": None} for at in (0, 2)
            ],
        }
    ]
    assert edited.rest() == b""


def test_without_anything_held_there_is_no_rest() -> None:
    edited = Edited([Nothing()])
    edited.take(piece("a"))
    assert edited.rest() == b""
    assert Edited([Last()]).rest() == b""


# --- inside a flow


def flow(edited: Edited | None) -> Flow:
    made = Flow(OpenAI(), EventReader(), Wanted(1, usage=False), lambda _: b'{"x":1}')
    made.edited = edited
    made.adopted = True
    return made


def test_a_flow_without_editors_passes_bytes() -> None:
    assert flow(None).take(ROLE + ONE) == ROLE + ONE


def test_a_flow_edits_and_still_places_the_extension() -> None:
    edited = flow(Edited([Last("!")]))
    out = edited.take(ROLE + ONE + STOP + USAGE + DONE)
    chunks = said(out)
    assert edited.state is FlowState.DONE
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks) == "One!"
    assert chunks[-1]["x_kairosroute"] == {"x": 1}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert [c for c in chunks if "x_kairosroute" in c] == [chunks[-1]]
    assert out.endswith(DONE)


def test_an_extension_finds_its_place_in_an_event_that_was_left_out() -> None:
    edited = flow(Edited([Last()]))
    out = edited.take(STOP + chunk({"content": "x"}) + DONE)
    assert said(out)[-1]["x_kairosroute"] == {"x": 1}
    assert texts(Event(out, b"")) == "x"


def test_the_commit_point_is_the_provider_s_token_not_ours() -> None:
    edited = flow(Edited([Last()]))
    edited.take(ROLE)
    assert not edited.committed
    edited.take(chunk({"content": "a"}))
    assert edited.committed


def test_a_flow_gives_the_rest_before_its_last_chunk() -> None:
    """Of two choices one never ends: what was held of it stands before the chunk that does."""
    made = Flow(OpenAI(), EventReader(), Wanted(2, usage=False), lambda _: b'{"x":1}')
    made.edited, made.adopted = Edited([Last()]), True
    second = event({"choices": [{"index": 1, "delta": {"content": "two"}}]})
    out = made.take(ROLE + ONE + second + STOP) + made.take(DONE)
    chunks = said(out)
    texts = {0: "", 1: ""}
    for one_choice in (choice for made_of in chunks for choice in made_of["choices"]):
        texts[one_choice["index"]] += one_choice["delta"].get("content") or ""
    assert texts == {0: "One", 1: "two"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["x_kairosroute"] == {"x": 1}
    assert out.endswith(DONE)


def test_a_refusal_leaves_what_came_before_it_to_be_sent() -> None:
    refusing = flow(Edited([Refusing()]))
    with pytest.raises(Rejected):
        refusing.take(ROLE + ONE + STOP)
    assert refusing.unsent == ROLE + ONE


def test_facts_are_the_provider_s() -> None:
    facts: ChunkFacts = OpenAI().read_chunk(ONE[6:-2])
    edited = flow(Edited([Last()]))
    edited.take(ONE)
    assert edited.text == facts.text
