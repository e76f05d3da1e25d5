"""One stream by every way through kproxy: what the caller reads is the same.

Plain is: a provider's chunks that hold whole events go on as they came, to a caller of HTTP/1.1,
and are not even looked into where they repeat a believed one around a string (`dialect/lane.py`).
General is everything else: chunks that are cut, a length, an end by the connection; a caller of
HTTP/1.0 or HTTP/2; rules that find nothing, and rescue where nothing breaks.
"""

from types import SimpleNamespace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from kproxy.api.commit import Relay
from kproxy.dialect.flow import Flow, Wanted
from kproxy.dialect.openai import OpenAI
from kproxy.errors import Fault
from kproxy.upstream.endpoint import AnswerLimits
from kproxy.wire.chunked import Body, ChunkedBody, CloseBody, LengthBody
from kproxy.wire.frame import LAST_CHUNK, chunk
from kproxy.wire.limits import H1Limits
from kproxy.wire.sse import EventReader
from tests.fakes.caller import chat
from tests.fakes.cuts import cut, positions
from tests.fakes.event_streams import BAD, any_streams, meaning
from tests.fakes.grammar import MANY
from tests.fakes.stream import DONE, ONE, ROLE, STOP, TAG, USAGE
from tests.fakes.ways import SOME, WAYS, Way, passing

LIMITS = H1Limits()


# --- the relay alone: each read of a provider becomes the same payload in every framing

VERBATIM = SimpleNamespace(verbatim=True, frame=chunk, ending=LAST_CHUNK)
CHUNKED = SimpleNamespace(verbatim=False, frame=chunk, ending=LAST_CHUNK)
BARE = SimpleNamespace(verbatim=False, frame=lambda data: data, ending=b"")


def relayed(pieces: list[bytes], body: Body, caller: Any, *, wants: bool) -> list[object]:
    """The payload of each read, how often bytes went on as they came left out; and the end."""
    flow = Flow(OpenAI(), EventReader(), Wanted(1, wants), lambda _: TAG)
    endpoint = SimpleNamespace(limits=AnswerLimits())
    relay = Relay(SimpleNamespace(body=body, endpoint=endpoint), flow, caller)  # type: ignore[arg-type]
    reader = ChunkedBody(LIMITS)
    found: list[object] = []

    def heard(out: bytes) -> bytes:
        return out if caller is BARE else reader.feed(out)

    assert flow.adopt() == b""
    try:
        for piece in [*pieces, b""]:
            found.append(heard(relay.take(piece)))
            if relay.finished:
                break
    except Fault as fault:
        found += [flow.unsent, fault.kind]
    assert caller is BARE or reader.complete == relay.finished
    return [*found, relay.finished, relay.clean]


@MANY
@given(any_streams(), positions, positions, st.booleans())
@example([ROLE, ONE, STOP, USAGE, DONE], [], [], False)
@example([ROLE, ONE, BAD[0]], [], [], False)
def test_a_relay_says_the_same_in_every_framing(
    events: list[bytes], chunks: list[int], reads: list[int], wants: bool
) -> None:
    whole = b"".join(events)
    as_sent = [chunk(event) for event in events]
    recut = cut(b"".join(chunk(one) for one in cut(whole, chunks)) + LAST_CHUNK, reads)
    ends: list[list[object]] = []
    for pieces in ([*as_sent, LAST_CHUNK], recut):
        told = [
            relayed(pieces, ChunkedBody(LIMITS, status=502), caller, wants=wants)
            for caller in (VERBATIM, CHUNKED, BARE)
        ]
        assert told[0] == told[1] == told[2]
        ends.append(told[0])
    bodies: list[Body] = [LengthBody(len(whole), status=502), CloseBody()]
    ends += [relayed(cut(whole, reads), body, BARE, wants=wants) for body in bodies]
    assert len({together(end) for end in ends}) == 1


def together(end: list[object]) -> tuple[object, ...]:
    """All of the payload, and the fault; whether the connection is clean depends on the framing."""
    payload = b"".join(part for part in end if isinstance(part, bytes))
    return payload, [part for part in end if not isinstance(part, bytes | bool)] == [], end[-2]


# --- whole houses


def heard(way: Way, events: list[bytes], at: list[int], *, wants: bool) -> list[Any] | None:
    """The events of a stream that ended well; None for whatever is plainly no such thing."""
    options = {"stream_options": {"include_usage": True}} if wants else {}
    answer = passing(way, chat(stream=True, **options, **way.members), events, at).answer
    if answer.status != 200:
        assert answer.error["message"]
        return None
    data = answer.data
    if data[-1:] == ["[DONE]"]:
        assert answer.whole
        return meaning(data)
    assert "[DONE]" not in data
    assert "error" in meaning(data)[-1]
    return None


@SOME
@given(any_streams(), positions, st.booleans())
@example([ROLE, ONE, STOP, USAGE, DONE], [], False)
@example([ROLE, ONE, BAD[0]], [], False)
@example([ROLE, ONE], [], False)
def test_every_way_through_the_house_says_the_same(
    events: list[bytes], at: list[int], wants: bool
) -> None:
    plain = heard(WAYS["plain"], events, at, wants=wants)
    for name, way in WAYS.items():
        assert heard(way, events, at, wants=wants) == plain, name
