"""What was shown of a stream, and how another one is made to fit behind it."""

import json
from typing import Any

import msgspec
import pytest

from kproxy.dialect.transcript import MAX_TRANSCRIPT, Transcript, continued
from kproxy.outcome import Usage
from kproxy.wire.sse import Event
from tests.fakes.stream import chunk, empty

EARLIER = Usage(10, 4)


def event(raw: bytes) -> Event:
    return Event(raw, raw.removeprefix(b"data: ").rstrip())


def shown(*raws: bytes) -> Transcript:
    transcript = Transcript()
    for raw in raws:
        assert transcript.take(event(raw)).raw is raw, "the first part goes through as it came"
    return transcript


def said(content: str, **more: Any) -> bytes:
    return chunk({"content": content}, id="one", created=1, model="m-1", **more)


def fitted(transcript: Transcript, raw: bytes) -> dict[str, Any]:
    one = transcript.take(event(raw))
    assert one.raw == b"data: " + (one.data or b"") + b"\n\n"
    found = json.loads(one.data or b"")
    assert isinstance(found, dict)
    return found


def test_the_text_is_what_was_said() -> None:
    role = chunk({"role": "assistant", "content": ""})
    thought = chunk({"reasoning_content": "hm"})
    assert shown(role, thought, said("One"), said(" zwölf"), empty()).text() == "One zwölf"


@pytest.mark.parametrize(
    "raw",
    [
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}),
        chunk({"function_call": {"arguments": "{"}}),
        chunk({"refusal": "no"}),
        chunk({"content": "x"}, index=1),
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n',
    ],
    ids=["tools", "function", "refusal", "second choice", "half a character"],
)
def test_what_nobody_could_go_on_from(raw: bytes) -> None:
    assert shown(said("One"), raw).text() is None


def test_thoughts_alone_are_no_text() -> None:
    assert shown(chunk({"reasoning_content": "hm"})).text() is None
    assert shown().text() is None


def test_a_long_answer_is_not_kept() -> None:
    transcript = Transcript()
    big = said("x" * 1_000_000)
    for _ in range(MAX_TRANSCRIPT // 1_000_000):
        transcript.take(event(big))
    assert transcript.text() is not None
    transcript.take(event(big))
    assert transcript.text() is None


def test_a_later_part_looks_like_the_first() -> None:
    transcript = shown(said("One"))
    transcript.join("One", EARLIER)
    role = chunk({"role": "assistant", "content": ""}, id="two", created=2, model="m-2")
    found = fitted(transcript, role)
    assert (found["id"], found["created"], found["model"]) == ("one", 1, "m-2")
    assert found["choices"][0]["delta"] == {"content": ""}
    assert fitted(transcript, said(" two"))["choices"][0]["delta"] == {"content": " two"}
    assert transcript.text() == "One two"


def test_members_that_an_event_does_not_have_are_not_added() -> None:
    transcript = shown(said("One"))
    transcript.join("One", EARLIER)
    assert "id" not in fitted(transcript, chunk({"content": "x"}))


@pytest.mark.parametrize(
    ("text", "pieces", "whole"),
    [
        ("One ", [" two"], "One two"),
        ("One \n", [" ", "\n", "two"], "One \ntwo"),
        ("One\n", [" two"], "One\n two"),
        ("One ", ["two", " "], "One two "),
        ("One", [" two"], "One two"),
        ("One  ", ["", " two"], "One  two"),
    ],
)
def test_white_space_does_not_stand_twice_at_the_join(
    text: str, pieces: list[str], whole: str
) -> None:
    """The end of the text is not sent to who goes on, so it may come once more."""
    transcript = shown(said(text))
    transcript.join(text, EARLIER)
    for piece in pieces:
        fitted(transcript, said(piece))
    assert transcript.text() == whole


def test_usage_is_that_of_all_parts() -> None:
    transcript = shown(said("One"))
    transcript.join("One", EARLIER)
    told = {"prompt_tokens": 14, "completion_tokens": 3, "total_tokens": 17, "more": {"a": 1}}
    found = fitted(transcript, empty(usage=told))
    assert found["usage"] == {
        "prompt_tokens": 24, "completion_tokens": 7, "total_tokens": 31, "more": {"a": 1},
    }  # fmt: skip
    odd = {"prompt_tokens": "many"}
    assert fitted(transcript, empty(usage=odd))["usage"] == odd


def test_a_third_part_still_has_the_names_of_the_first() -> None:
    transcript = shown(said("One"))
    transcript.join("One", EARLIER)
    fitted(transcript, chunk({"content": " two"}, id="two", created=2))
    transcript.join("One two", EARLIER)
    found = fitted(transcript, chunk({"content": " three"}, id="three", created=3))
    assert (found["id"], found["created"]) == ("one", 1)
    assert transcript.text() == "One two three"


def continuation(text: str, used: int = 4, **members: Any) -> dict[str, Any]:
    call = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **members}
    fields = msgspec.json.decode(json.dumps(call).encode(), type=dict[str, msgspec.Raw])
    found = continued(fields, text, used)
    return {name: json.loads(bytes(value)) for name, value in found.items()}


def test_the_beginning_of_the_answer_is_the_last_message() -> None:
    found = continuation("One \n")
    assert found["messages"] == [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "One"},
    ]  # fmt: skip
    assert found["model"] == "m"


@pytest.mark.parametrize(("limit", "left"), [(10, 6), (4, 1), (None, None)])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_limits_are_what_is_left(name: str, limit: int | None, left: int | None) -> None:
    assert continuation("One", **{name: limit})[name] == left
