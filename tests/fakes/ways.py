"""One request by every way through a house: how it comes in, how the provider frames its answer,
who listens, and what is switched on without having anything to do.

In: a body to ask with, what the provider says. Out: what the caller got, and what the provider was
asked. Each run is a house, a caller and a virtual clock of its own.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import trio
from hypothesis import settings
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.api.guardrails import Guardrails
from kproxy.guard.rules import make_rule, rulesets
from kproxy.wire.frame import LAST_CHUNK, chunk
from tests.fakes.caller import Answer, request
from tests.fakes.cuts import cut
from tests.fakes.h2_caller import calling
from tests.fakes.house import KEY, House, Talking, model
from tests.fakes.scripted import Act, head

__all__ = ["SOME", "WAYS", "Way", "passing"]

SOME = settings(max_examples=max(60, settings.default.max_examples // 20))
"""Whole houses, nine for an example."""

CHAT = "/v1/chat/completions"
AUTHORIZED = f"authorization: Bearer {KEY}"
# A text that begins like it would be held back; it begins like no text that is likely to be tried.
RULE = make_rule("block", (), name="words", builtin=None, pattern="\ue123 never said")
RESCUE: Mapping[str, Any] = MappingProxyType({"x_kairosroute": {"rescue": True}})
NOTHING: Mapping[str, Any] = MappingProxyType({})

Script = list[tuple[float, bytes | Act]]
Frame = Callable[[list[bytes], list[int]], Script]
Send = Callable[[House, bytes, list[int]], Awaitable[Answer]]


class Passed(NamedTuple):
    """What the caller got, and the body of what the provider was asked."""

    answer: Answer
    asked: bytes


# --- how a provider frames what it says


def by_event(events: list[bytes], at: list[int]) -> Script:
    bare = head(200, b"transfer-encoding: chunked")
    return [(0.0, bare), *((0.0, chunk(event)) for event in events), (0.0, LAST_CHUNK)]


def cut_anywhere(events: list[bytes], at: list[int]) -> Script:
    chunks = [chunk(one) for one in cut(b"".join(events), at)]
    wire = head(200, b"transfer-encoding: chunked") + b"".join([*chunks, LAST_CHUNK])
    return [(0.0, piece) for piece in cut(wire, [2 * place for place in at])]


def by_length(events: list[bytes], at: list[int]) -> Script:
    whole = b"".join(events)
    return [(0.0, head(200, b"content-length: %d" % len(whole)) + whole)]


def by_end(events: list[bytes], at: list[int]) -> Script:
    pieces = [(0.0, piece) for piece in cut(b"".join(events), at)]
    return [(0.0, head(200)), *pieces, (0.0, Act.END)]


# --- how a caller asks


async def over_11(house: House, body: bytes, at: list[int]) -> Answer:
    data = request("POST", CHAT, AUTHORIZED, "connection: close", body=body)
    return await _talk(house, data)


async def in_chunks(house: House, body: bytes, at: list[int]) -> Answer:
    fields = (AUTHORIZED, "connection: close", "transfer-encoding: chunked")
    chunks = b"".join(chunk(piece) for piece in cut(body, at))
    return await _talk(house, request("POST", CHAT, *fields) + chunks + LAST_CHUNK)


async def over_10(house: House, body: bytes, at: list[int]) -> Answer:
    data = request("POST", CHAT, AUTHORIZED, body=body)
    return await _talk(house, data.replace(b"HTTP/1.1", b"HTTP/1.0", 1))


async def over_2(house: House, body: bytes, at: list[int]) -> Answer:
    async with calling(house.router) as caller:  # type: ignore[arg-type]
        pieces = cut(body, at)
        more = len(pieces) > 1
        stream = await caller.ask(CHAT, pieces[0], more=more, authorization=f"Bearer {KEY}")
        for number, piece in enumerate(pieces[1:], start=2):
            await caller.tell(stream, piece, more=number < len(pieces))
        got = await caller.whole(stream)
    return Answer(got.status, got.headers, got.body, whole=got.reset is None)


async def _talk(house: House, data: bytes) -> Answer:
    talking = Talking(house, data)
    await talking.until(lambda: talking.ended)
    return talking.answer()


@dataclass(frozen=True)
class Way:
    """One of them. `members` are added to the request."""

    frame: Frame
    send: Send = over_11
    rules: bool = False
    members: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


WAYS = {
    "plain": Way(by_event),
    "cut": Way(cut_anywhere, in_chunks),
    "length": Way(by_length),
    "end": Way(by_end),
    "HTTP/1.0": Way(by_event, over_10),
    "HTTP/2": Way(cut_anywhere, over_2),
    "rules": Way(cut_anywhere, rules=True),
    "rescue": Way(by_event, members=RESCUE),
    "rules and rescue over HTTP/2": Way(by_event, over_2, rules=True, members=RESCUE),
}


def passing(way: Way, body: bytes, says: list[bytes], at: list[int]) -> Passed:
    """One request, its body `body`, by that way; `at`: where bodies are cut."""
    return trio.run(_pass, way, body, says, at, clock=MockClock(autojump_threshold=0))


async def _pass(way: Way, body: bytes, says: list[bytes], at: list[int]) -> Passed:
    async with trio.open_nursery() as nursery:
        guard = None
        if way.rules:
            guard = Guardrails(*rulesets([RULE]), None, trio.CapacityLimiter(1))
        script = [way.frame(says, at)]
        house = House(nursery, [model("cheap/m")], {"cheap": [script]}, guardrails=guard)
        house = house.policy(retries=0)
        answer = await way.send(house, body, at)
        await wait_all_tasks_blocked()
        assert house.at_rest()
        requests = [one for link in house.providers["cheap"].connections for one in link.requests]
        nursery.cancel_scope.cancel()
    asked = requests[0].partition(b"\r\n\r\n")[2] if requests else b""
    return Passed(answer, asked)
