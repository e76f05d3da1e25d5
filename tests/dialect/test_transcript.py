"""What was shown of a stream, and how another one is made to fit behind it."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from kproxy.dialect.transcript import MAX_TEXT, Part, Transcript, continued
from kproxy.errors import Fault, FaultKind
from kproxy.outcome import Usage
from kproxy.wire.sse import Event
from tests.fakes.stream import chunk, empty

EARLIER = Usage(10, 4)


def event(raw: bytes) -> Event:
    return Event(raw, raw.removeprefix(b"data: ").rstrip())


def adopted(transcript: Transcript, *raws: bytes) -> Part:
    """A part that has become the transcript's, and has taken these."""
    part = transcript.part()
    transcript.adopt(part)
    for raw in raws:
        part.take(event(raw))
    return part


def shown(*raws: bytes) -> Transcript:
    transcript = Transcript()
    part = adopted(transcript)
    for raw in raws:
        assert part.take(event(raw)).raw is raw, "the first part goes through as it came"
    return transcript


def joined(text: str = "One") -> tuple[Transcript, Part]:
    """A text that was shown, and the part that goes on from it."""
    transcript = shown(said(text))
    transcript.join(text, EARLIER)
    return transcript, adopted(transcript)


def said(content: str, **more: Any) -> bytes:
    return chunk({"content": content}, id="one", created=1, model="m-1", **more)


def fitted(part: Part, raw: bytes) -> dict[str, Any]:
    one = part.take(event(raw))
    assert one.raw == b"data: " + (one.data or b"") + b"\n\n"
    found = json.loads(one.data or b"")
    assert isinstance(found, dict)
    return found


def test_the_text_is_what_was_said() -> None:
    role = chunk({"role": "assistant", "content": None})
    thought = chunk({"reasoning_content": "hm"})
    assert shown(role, thought, said("One"), said(" zwölf"), empty()).text() == "One zwölf"


@pytest.mark.parametrize(
    "raw",
    [
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}),
        chunk({"function_call": {"arguments": "{"}}),
        chunk({"refusal": "no"}),
        chunk({"content": "x"}, index=1),
        chunk({"content": [{"type": "text", "text": "x"}]}),
    ],
    ids=["tools", "function", "refusal", "second choice", "parts"],
)
def test_what_nobody_could_go_on_from(raw: bytes) -> None:
    assert shown(said("One"), raw).text() is None


def test_thoughts_alone_are_no_text() -> None:
    assert shown(chunk({"reasoning_content": "hm"})).text() is None
    assert shown().text() is None


def test_text_up_to_the_limit_is_kept_and_none_of_a_longer_one() -> None:
    transcript = Transcript()
    part = adopted(transcript, *[said("x" * (MAX_TEXT // 4))] * 4)
    assert transcript.text() == "x" * MAX_TEXT
    part.take(event(said("x")))
    assert (transcript.text(), part.written) == (None, None)
    part.take(event(said("x")))
    assert (transcript.text(), part.written) == (None, None)


def test_the_limit_is_for_all_parts() -> None:
    transcript, part = joined("x" * (MAX_TEXT - 3))
    part.take(event(said("two")))
    assert transcript.text() is not None
    part.take(event(said("x")))
    assert transcript.text() is None


def test_what_is_kept_is_text_and_not_the_events_around_it() -> None:
    part = adopted(Transcript(), *[said("One", more="x" * 10_000)] * 100)
    assert bytes(part.written or b"") == b"One" * 100


def test_what_another_attempt_has_said_is_not_shown() -> None:
    """It lost a race, or failed, or has not been adopted yet."""
    transcript = Transcript()
    loser = transcript.part()
    loser.take(event(chunk({"content": "Not this"}, id="loser", created=9)))
    adopted(transcript, said("One"))
    assert (transcript.text(), transcript.tokens) == ("One", 1)
    transcript.join("One", EARLIER)
    assert fitted(transcript.part(), said(" two"))["id"] == "one"


def test_what_was_said_before_the_adoption_is_shown_with_it() -> None:
    transcript = Transcript()
    part = transcript.part()
    part.take(event(said("One")))
    assert transcript.text() is None
    transcript.adopt(part)
    part.take(event(said(" two")))
    assert transcript.text() == "One two"


def test_tokens_are_the_events_in_which_something_was_written() -> None:
    silent = (chunk({"role": "assistant", "content": ""}), chunk({}), empty())
    thought = chunk({"reasoning_content": "hm"})
    transcript = shown(*silent, thought, said("A long piece of text"), said("x"))
    assert transcript.tokens == 3
    transcript.join("A long piece of textx", EARLIER)
    adopted(transcript, said("two"))
    assert transcript.tokens == 4


def test_a_later_part_looks_like_the_first() -> None:
    transcript, part = joined()
    role = chunk({"role": "assistant", "content": ""}, id="two", created=2, model="m-2")
    found = fitted(part, role)
    assert (found["id"], found["created"], found["model"]) == ("one", 1, "m-2")
    assert found["choices"][0]["delta"] == {"content": ""}
    assert fitted(part, said(" two"))["choices"][0]["delta"] == {"content": " two"}
    assert transcript.text() == "One two"


def test_the_names_are_those_of_a_piece_of_the_answer() -> None:
    """What Azure sends in front has an empty name of its own."""
    transcript = shown(empty(id="", created=0, prompt_filter_results=[]), said("One"))
    transcript.join("One", EARLIER)
    found = fitted(transcript.part(), said("two"))
    assert (found["id"], found["created"]) == ("one", 1)


def test_members_that_an_event_does_not_have_are_not_added() -> None:
    assert "id" not in fitted(joined()[1], chunk({"content": "x"}))


@pytest.mark.parametrize("odd", [b"1e999", b"1" * 5_000], ids=len)
def test_members_that_nobody_reads_pass_in_a_later_part_too(odd: bytes) -> None:
    """Numbers that no double and no parser of ours holds."""
    raw = b'data: {"x":%b,"choices":[{"index":0,"y":%b,"delta":{"content":"x","z":%b}}]}\n\n'
    one = joined()[1].take(event(raw % (odd, odd, odd)))
    assert one.raw == raw % (odd, odd, odd)


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b'{"choices":[1]}',
        b'{"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}',
        b'{"choices":[{"index":0,"delta":{"content":"x","y":%b}}]}' % (b"[" * 2_000 + b"]" * 2_000),
    ],
    ids=["cut", "no choice", "half a character", "deep"],
)
@pytest.mark.parametrize("part", [Transcript().part(), joined("One ")[1]], ids=["first", "later"])
def test_what_cannot_be_read_is_a_bad_body(data: bytes, part: Part) -> None:
    with pytest.raises(Fault) as caught:
        part.take(Event(b"", data))
    assert caught.value.kind is FaultKind.BAD_BODY


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
    transcript, part = joined(text)
    for piece in pieces:
        fitted(part, said(piece))
    assert transcript.text() == whole


def test_an_attempt_that_fails_leaves_the_white_space_to_the_next() -> None:
    transcript = shown(said("One "))
    transcript.join("One ", EARLIER)
    fitted(transcript.part(), said(" "))
    fitted(adopted(transcript), said(" two"))
    assert transcript.text() is not None
    part = transcript.part()
    assert fitted(part, said(" two"))["choices"][0]["delta"] == {"content": "two"}


def test_usage_is_that_of_all_parts() -> None:
    told = {"prompt_tokens": 14, "completion_tokens": 3, "total_tokens": 17, "more": {"a": 1}}
    found = fitted(joined()[1], empty(usage=told))
    assert found["usage"] == {
        "prompt_tokens": 24, "completion_tokens": 7, "total_tokens": 31, "more": {"a": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        {"prompt_tokens": "many"},
        {"prompt_tokens": 1, "completion_tokens": 1},
        {"prompt_tokens": 2**60, "completion_tokens": 1, "total_tokens": 1},
    ],
    ids=repr,
)
def test_odd_usage_stays_as_it_is(odd: object) -> None:
    assert fitted(joined()[1], empty(usage=odd))["usage"] == odd


def test_a_third_part_still_has_the_names_of_the_first() -> None:
    transcript, second = joined()
    fitted(second, chunk({"content": " two"}, id="two", created=2))
    transcript.join("One two", EARLIER)
    third = adopted(transcript)
    found = fitted(third, chunk({"content": " three"}, id="three", created=3))
    assert (found["id"], found["created"]) == ("one", 1)
    assert transcript.text() == "One two three"


def continuation(text: str, **members: Any) -> dict[str, Any]:
    call = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **members}
    fields = msgspec.json.decode(json.dumps(call).encode(), type=dict[str, msgspec.Raw])
    found = continued(fields, text, 4)
    assert found is not None
    return {name: json.loads(bytes(value)) for name, value in found.items()}


def test_the_beginning_of_the_answer_is_the_last_message() -> None:
    found = continuation("One \n")
    assert found["messages"] == [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "One"},
    ]  # fmt: skip
    assert found["model"] == "m"


@pytest.mark.parametrize(("limit", "left"), [(10, 6), (5, 1), (None, None)])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_limits_are_what_is_left(name: str, limit: int | None, left: int | None) -> None:
    assert continuation("One", **{name: limit})[name] == left


@pytest.mark.parametrize("limit", [3, 4])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_nobody_goes_on_where_the_limit_is_used_up(name: str, limit: int) -> None:
    fields = {"messages": msgspec.Raw(b"[]"), name: msgspec.Raw(b"%d" % limit)}
    assert continued(fields, "One", 4) is None


def test_another_answer_in_the_same_stream_has_its_names_and_its_own_text() -> None:
    names = {"id": Raw(b'"c1"'), "created": Raw(b"7"), "model": Raw(b'"m"')}
    transcript = Transcript.behind(names, Usage(10, 5))
    part = transcript.part()
    found = fitted(part, said("Two"))
    assert (found["id"], found["created"], found["model"]) == ("c1", 7, "m-1")
    transcript.adopt(part)
    assert transcript.text() == "Two"
