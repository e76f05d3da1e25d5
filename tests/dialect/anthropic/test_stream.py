"""Streams of Anthropic's and the chunks for them, cut anywhere, and out of turn anywhere."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import openai.types.chat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.dialect.anthropic.messages import Anthropic
from kproxy.dialect.anthropic.states import MOVES, Said, State
from kproxy.dialect.anthropic.stream import WORDS, Chunks
from kproxy.dialect.flow import Flow, FlowState, Wanted
from kproxy.errors import Fault, FaultKind
from kproxy.wire.sse import Event, EventReader

GOLDEN = Path(__file__).parent.parent / "golden" / "streams"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.sse"))
WHOLE = [name for name in NAMES if name != "overloaded"]


def golden(name: str) -> tuple[bytes, bytes]:
    return (GOLDEN / f"{name}.sse").read_bytes(), (GOLDEN / f"{name}.chunks").read_bytes()


def chunks(*pieces: bytes) -> bytes:
    """What is said for these bytes; an event that goes nowhere is shown as it is looked at."""
    reader = Chunks(EventReader(), 1_000)
    events = [event for piece in pieces for event in reader.feed(piece)] + reader.eof()
    return b"".join(map(shown, events))


def shown(event: Event) -> bytes:
    return event.raw or b"event: %b\ndata: %b\n\n" % (event.name, event.data or b"")


def event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields}).encode()
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def block(index: int, **fields: Any) -> bytes:
    return event("content_block_start", index=index, content_block=fields)


def delta(index: int, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta=fields)


def close(index: int = 0) -> bytes:
    return event("content_block_stop", index=index)


START = event("message_start", message={"id": "m", "model": "c", "content": []})
TEXT = block(0, type="text", text="")
HI = delta(0, type="text_delta", text="Hi")
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 1})
STOP = event("message_stop")

# Each kind of event, and the events that lead to each state.
SAYS = {
    Said.BEGIN: START,
    Said.OPEN_TEXT: TEXT,
    Said.OPEN_CALL: block(0, type="tool_use", id="t", name="f", input={}),
    Said.OPEN_THOUGHT: block(0, type="thinking", thinking=""),
    Said.OPEN_OTHER: block(0, type="server_tool_use", id="s", name="web_search", input={}),
    Said.TEXT: HI,
    Said.ARGUMENTS: delta(0, type="input_json_delta", partial_json="{}"),
    Said.THOUGHT: delta(0, type="thinking_delta", thinking="Hm"),
    Said.MORE: delta(0, type="signature_delta", signature="x"),
    Said.CLOSE: close(),
    Said.END: END,
    Said.USED: event("message_delta", delta={}, usage={"output_tokens": 1}),
    Said.STOP: STOP,
    Said.PING: event("ping"),
    Said.ERROR: event("error", error={"type": "overloaded_error"}),
    Said.UNKNOWN: event("to_come"),
}
LEADS = {
    State.START: b"",
    State.BETWEEN: START,
    State.TEXT: START + SAYS[Said.OPEN_TEXT],
    State.CALL: START + SAYS[Said.OPEN_CALL],
    State.THOUGHT: START + SAYS[Said.OPEN_THOUGHT],
    State.OTHER: START + SAYS[Said.OPEN_OTHER],
    State.ENDED: START + END,
    State.STOPPED: START + END + STOP,
    State.BROKEN: SAYS[Said.ERROR],
}


@pytest.mark.parametrize("name", NAMES)
def test_golden_streams(name: str) -> None:
    given, wanted = golden(name)
    assert chunks(given) == wanted


@pytest.mark.parametrize("name", NAMES)
def test_the_official_client_reads_every_chunk(name: str) -> None:
    for line in golden(name)[1].splitlines():
        if line.startswith(b"data: {") and line != b"data: {}":
            openai.types.chat.ChatCompletionChunk.model_validate_json(line[6:], strict=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_anywhere_changes_nothing(name: str) -> None:
    given, wanted = golden(name)
    for at in range(len(given) + 1):
        assert chunks(given[:at], given[at:]) == wanted
    assert chunks(*(bytes([byte]) for byte in given)) == wanted


@given(st.sampled_from(NAMES), st.lists(st.integers(0, 4_000), max_size=8))
def test_any_cuts_change_nothing(name: str, cuts: list[int]) -> None:
    given, wanted = golden(name)
    places = [0, *sorted(min(cut, len(given)) for cut in cuts), len(given)]
    assert chunks(*(given[a:b] for a, b in pairwise(places))) == wanted


@given(st.sampled_from(NAMES), st.integers(0, 4_000), st.integers(0, 40), st.binary(max_size=20))
def test_bytes_that_were_changed_on_the_way(name: str, at: int, lost: int, put: bytes) -> None:
    """Nothing but a fault, and no whole answer that never was one."""
    given = golden(name)[0]
    try:
        one, out = flow(given[:at] + put + given[at + lost :])
    except Fault:
        return
    assert one.state is FlowState.DONE
    assert b'"finish_reason":"' in out


def test_every_word_does_something() -> None:
    assert set(WORDS) == set(Said) == set(SAYS)
    assert set(LEADS) == set(State)


@pytest.mark.parametrize("said", list(Said))
@pytest.mark.parametrize("state", list(State))
def test_each_state_takes_what_the_table_says_and_breaks_on_the_rest(
    state: State, said: Said
) -> None:
    reader = Chunks(EventReader(), 0)
    reader.feed(LEADS[state])
    assert reader.state is state
    events = reader.feed(SAYS[said])
    following = MOVES[state].get(said)
    assert reader.state is (following or State.BROKEN)
    if following is None:
        with pytest.raises(Fault) as caught:
            Anthropic().read_chunk(events[-1].data or b"")
        assert caught.value.kind is FaultKind.BAD_BODY


@pytest.mark.parametrize(
    "wrong",
    [
        TEXT + delta(1, type="text_delta", text="x"),
        TEXT + delta(0, type="text_delta", text=5),
        TEXT + delta(0, type="text_delta"),
        TEXT + close(1),
        block(0, type="text", text=None),
        block(0, type="tool_use", id=5, name="f"),
        SAYS[Said.OPEN_CALL] + delta(0, type="input_json_delta", partial_json={}),
        b"data: {\n\n",
        b"data: []\n\n",
        b"data: [DONE]\n\n",
        b"data: {}\n\n",
        b'data: {"type":"ping","x":"\xff"}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_nonsense_keeps_its_place(wrong: bytes) -> None:
    said = chunks(START + wrong + HI)
    assert said.startswith(b"data: {")
    assert b"event: \ndata: out of turn\n\n" in said


def test_an_error_without_a_name_is_one() -> None:
    assert chunks(START, b'data: {"type":"error"}\n\n').endswith(b"event: error\ndata: {}\n\n")


def flow(*pieces: bytes) -> tuple[Flow, bytes]:
    """The adopted flow over a stream, and what the caller has then."""
    dialect = Anthropic()
    one = Flow(
        dialect, dialect.events(EventReader(), 1_000), Wanted(1, usage=True), lambda _: b'{"x":1}'
    )
    one.adopt()
    out = b"".join(one.take(piece) for piece in pieces)
    return one, out + one.end()


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_stream_ends_well_with_our_extension(name: str) -> None:
    one, out = flow(golden(name)[0])
    assert one.state is FlowState.DONE
    assert out.endswith(b"data: [DONE]\n\n")
    assert out.count(b'"x_kairosroute":{"x":1}') == 1
    assert (one.usage is None) is (name == "uncounted")


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "refusal"])
def test_a_cut_stream_never_ends_as_a_whole_one(name: str) -> None:
    given = golden(name)[0]
    told = given.index(b"event: message_delta")
    ended = given.index(b"\n\n", told) + 2
    for at in range(ended):
        with pytest.raises(Fault):
            flow(given[:at])
    assert flow(given[:ended])[1].endswith(b"data: [DONE]\n\n")


def test_the_first_word_commits() -> None:
    dialect = Anthropic()
    one = Flow(dialect, dialect.events(EventReader(), 0), Wanted(1, usage=False), lambda _: b"{}")
    assert one.take(START + TEXT + event("ping")) == b""
    assert not one.committed
    out = one.take(HI)
    assert one.committed
    assert out.count(b"data: ") == 2


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [(SAYS[Said.ERROR], FaultKind.ERROR_EVENT), (START, FaultKind.BAD_BODY)],
)
def test_what_came_before_a_fault_is_with_the_caller(wrong: bytes, kind: FaultKind) -> None:
    dialect = Anthropic()
    one = Flow(dialect, dialect.events(EventReader(), 0), Wanted(1, usage=False), lambda _: b"{}")
    one.adopt()
    with pytest.raises(Fault) as caught:
        one.take(START + TEXT + HI + wrong + HI)
    assert caught.value.kind is kind
    assert b'"content":"Hi"' in one.unsent
