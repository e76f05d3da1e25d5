"""The short way for plain chunks against the way that reads each: every stream is played both ways,
and neither the caller's bytes, nor what is counted, nor the end may differ."""

import math
import os
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.api import commit
from kproxy.api.commit import Relay
from kproxy.dialect.flow import Flow, Wanted
from kproxy.dialect.openai import OpenAI
from kproxy.downstream.exchange import Exchange
from kproxy.errors import Fault
from kproxy.upstream.attempt import Attempt
from kproxy.upstream.endpoint import AnswerLimits
from kproxy.wire.chunked import ChunkedBody
from kproxy.wire.frame import LAST_CHUNK
from kproxy.wire.frame import chunk as framed
from kproxy.wire.limits import H1Limits
from kproxy.wire.sse import EventReader
from tests.fakes.cuts import cut, positions
from tests.fakes.stream import DONE, ONE, ROLE, STOP, TAG, TWO, USAGE, chunk, empty, event

EXAMPLES = int(os.environ.get("KPROXY_LANE_EXAMPLES", "300"))
"""Streams that are played; many more once in a while."""


class Played(NamedTuple):
    """What became of one stream: bytes out by piece, the fault, what was counted."""

    out: tuple[bytes, ...]
    fault: str
    text: int
    usage: object
    finished: bool
    short: int  # pieces that took the short way


def play(pieces: list[bytes], *, lessons: int, verbatim: bool = True) -> Played:
    body = ChunkedBody(H1Limits(), status=502)
    limits = AnswerLimits()
    flow = Flow(OpenAI(), EventReader(4096, 8192), Wanted(1, usage=False), lambda _: TAG)
    flow.adopt()
    attempt = SimpleNamespace(body=body, endpoint=SimpleNamespace(limits=limits))
    exchange = SimpleNamespace(verbatim=verbatim, frame=framed, ending=LAST_CHUNK)
    relay = Relay(cast("Attempt", attempt), flow, cast("Exchange", exchange), math.inf)
    relay._lessons = lessons if verbatim else 0
    out, fault, short = [], "", 0
    try:
        for piece in pieces:
            fits = relay._lane is not None and relay._lane.text(piece) >= 0
            short += fits
            out.append(relay.take(piece))
            if relay.finished:
                break
        else:
            out.append(relay.take(b""))
    except Fault as raised:
        out.append(flow.unsent)
        fault = str(raised)
    return Played(tuple(out), fault, flow.text, flow.usage, relay.finished, short)


def same(pieces: list[bytes]) -> Played:
    short, whole = play(pieces, lessons=commit.LESSONS), play(pieces, lessons=0)
    assert short._replace(short=0) == whole
    return short


def test_plain_chunks_go_the_short_way() -> None:
    stream = [framed(one) for one in (ROLE, ONE, TWO, ONE, TWO)]
    end = [framed(STOP), framed(USAGE), framed(DONE), LAST_CHUNK]
    found = same([*stream, *end])
    # The first two leave together, the third is the pattern.
    assert (found.short, found.fault, found.finished) == (2, "", True)


def test_a_comment_between_them_costs_nothing() -> None:
    stream = [framed(one) for one in (ROLE, ONE, b": alive\n\n", TWO, ONE, TWO)]
    assert same(stream).short == 2


def test_where_no_chunk_may_go_as_it_came_none_goes_the_short_way() -> None:
    pieces = [framed(one) for one in (ROLE, ONE, TWO, ONE)]
    assert play(pieces, lessons=commit.LESSONS, verbatim=False).short == 0


def test_a_stream_of_other_chunks_is_soon_left_alone() -> None:
    calls: list[Any] = [{"index": 0, "function": {"arguments": "x"}}]
    tools = [framed(chunk({"tool_calls": calls})) for _ in range(commit.LESSONS + 1)]
    assert same([framed(ROLE), *tools, framed(ONE), framed(TWO), framed(ONE)]).short == 0


def test_half_an_event_ends_the_short_way_until_it_is_whole() -> None:
    whole = [framed(one) for one in (ROLE, ONE, TWO, ONE)]  # the last of them fits
    assert same([*whole, framed(ONE[:40]), framed(ONE[40:]), framed(TWO), framed(ONE)]).short == 2
    assert same([*whole, framed(ONE)[:40], framed(ONE)[40:], framed(TWO), framed(ONE)]).short == 2


TEXTS = st.one_of(
    st.sampled_from(
        [b"", b"a", b" two", b"\\n", b'\\"', b"\\u00e9", b"\\ud83d", b"\\", b'"', b"\n"]
    ),
    st.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(max_size=4),
)
PLAIN = TEXTS.map(lambda text: ONE.replace(b"One", text))
PADDED = st.tuples(TEXTS, TEXTS).map(
    lambda both: (
        chunk({"content": "One"}, obfuscation="pad")
        .replace(b"One", both[0])
        .replace(b"pad", both[1])
    )
)
OTHERS = st.sampled_from([
    ROLE, ONE, TWO, STOP, USAGE, DONE, b": alive\n\n", b"\n", b"event: error\n" + ONE,
    empty(error={"message": "x"}), event({"error": "x"}), chunk({"content": "One"}, index=1),
    chunk({"content": "x", "reasoning_content": "y"}), chunk({"content": "One"}, usage={"a": 1}),
    ONE[:-1], ONE.replace(b"\n", b"\r\n"), ONE + ONE, chunk({"content": "One"}, x_kairosroute={}),
])  # fmt: skip
FRAMES = st.sampled_from([
    framed, framed, framed, framed,
    lambda data: b"%X\r\n%b\r\n" % (len(data), data),
    lambda data: b"0%x\r\n%b\r\n" % (len(data), data),
    lambda data: b"%x;a\r\n%b\r\n" % (len(data), data),
    lambda data: b"%x\r\n%b\r\n" % (len(data) + 1, data),
    lambda data: data,
])  # fmt: skip
EVENTS = st.tuples(FRAMES, st.one_of(PLAIN, PLAIN, PADDED, OTHERS))
STREAMS = st.lists(EVENTS.map(lambda both: both[0](both[1]) if both[1] else b"\r\n"), max_size=12)


@settings(max_examples=EXAMPLES)
@given(STREAMS, st.sampled_from([ONE, TWO, chunk({"content": "One"}, obfuscation="pad")]))
def test_any_stream_is_the_same_both_ways(stream: list[bytes], first: bytes) -> None:
    assert same([framed(ROLE), framed(first), framed(first), framed(first), *stream]).short >= 1


@settings(max_examples=EXAMPLES)
@given(STREAMS, positions)
def test_wherever_it_is_cut(stream: list[bytes], places: list[int]) -> None:
    same(cut(b"".join([framed(ROLE), framed(ONE), framed(TWO), *stream]), places))
