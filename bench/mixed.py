"""Mixed load: every kind of call, one kproxy and two providers in, how each call ended out.

The kinds are a table: what is asked, whether the caller leaves, and how it may end. Faults come and
go (`flap`), so that a breaker does not keep the provider from failing for ever. Calls are drawn in
the order of the table again and again, by as many workers as wanted, each call on a connection of
its own.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import trio

from bench.drive import Leave, Reply, Target, ask
from tests.fakes.caller import chat

__all__ = ["KINDS", "Kind", "Tally", "config", "run"]

End = Literal["whole", "broken", "failed", "refused", "left"]
"""whole: all of it. broken: an error event. failed: 503, 504. refused: 4xx. left: by the caller."""

QUICK = "pace=1,0.2"
SLOW = "pace=1,10"
LONG = "tokens=400!pace=1,5"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of call, which has a model of its own; its faults at both providers.

    fields: what the request says beside model and messages. routed: it names both providers, in
    their order. A body is sent as it is. ends: how it may end, and in no other way.
    """

    name: str
    ends: frozenset[End]
    primary: str = "ok"
    fallback: str = "ok"
    stream: bool = True
    routed: bool = True
    extension: dict[str, Any] = field(default_factory=dict)
    leave: Leave | None = None
    body: bytes | None = None


def _kind(name: str, ends: Sequence[End], **fields: Any) -> Kind:
    return Kind(name, frozenset(ends), **fields)


def _failing(name: str, fault: str) -> Kind:
    """Every other request fails before its first token, and goes to the fallback."""
    return _kind(name, ["whole"], primary=f"flap=1,1,{fault}")


def _breaking(name: str, fault: str) -> Kind:
    """Every other request fails after some tokens, and nobody else is to go on; under load kproxy
    may read the fault together with the first token, before it has said anything."""
    ends: list[End] = ["whole", "broken", "failed"]
    return _kind(name, ends, primary=f"flap=1,1,{fault}!{SLOW}", routed=False)


RESCUE = {"rescue": True}
HEDGE = {"strategy": "hedge"}
RACE = {"strategy": "race"}
SOON = {"first_token_ms": 300}

KINDS = (
    _kind("stream", ["whole"]),
    _kind("json", ["whole"], stream=False),
    _failing("unavailable", "503"),
    _failing("reset", "reset"),
    _failing("error-event", "error-event"),
    _failing("nothing", "cut=0"),
    _failing("page", "html"),
    _kind("cut-json", ["whole"], primary="flap=1,1,cut=4", stream=False),
    _kind("silent", ["whole"], primary="flap=1,1,silence", extension=SOON),
    _breaking("cut", "cut=4"),
    _breaking("malformed", "malformed=4"),
    _breaking("framing", "bad-framing=4"),
    _kind("down", ["failed"], primary="503", fallback="503"),
    _kind("rescue", ["whole"], primary=f"flap=1,1,cut=4!{SLOW}", extension=RESCUE),
    _kind("rescue-rst", ["whole"], primary=f"flap=1,1,reset=4!{SLOW}", extension=RESCUE),
    _kind(
        "stuck", ["whole", "broken"], primary=f"flap=1,1,cut=4!no-prefill!{SLOW}",
        fallback="no-prefill", extension=RESCUE,
    ),
    _kind("hedge", ["whole"], primary="flap=9,1,slow-first-token=0.2", extension=HEDGE),
    _kind("race", ["whole"], extension=RACE),
    _kind("race-json", ["whole"], stream=False, extension=RACE),
    _kind("race-fault", ["whole"], primary="flap=1,1,503", extension=RACE),
    _kind("filter", ["refused"], primary="content-filter", fallback="content-filter"),
    _kind("race-filter", ["refused"], primary="content-filter", fallback="content-filter",
          extension=RACE),
    _kind("no-json", ["refused"], body=b'{"model": "auto", "messages": ['),
    _kind("unknown", ["refused"], body=chat(model="nobody/has-this")),
    _kind("left-early", ["left"], primary="silence", leave="sent"),
    _kind("left-json", ["left"], primary="silence", stream=False, leave="sent"),
    _kind("left-stream", ["left"], primary=LONG, fallback=LONG, leave="token"),
    _kind("left-race", ["left"], primary="silence", fallback="silence", extension=RACE,
          leave="sent"),
    _kind("left-raced", ["left"], primary=LONG, fallback=LONG, extension=RACE, leave="token"),
    _kind("left-rescue", ["left"], primary=f"cut=1!{LONG}", fallback=LONG, extension=RESCUE,
          leave="token"),
)  # fmt: skip


def config(acme: str, good: str) -> str:
    """kproxy's file for these kinds; the arguments are base URLs."""
    lines = ["[timeouts]", "total = 10", "upstream_keep_alive = 2"]
    for slug, url in (("acme", acme), ("good", good)):
        lines += [f"[providers.{slug}]", f"base_url = {json.dumps(url)}"]
    for kind in KINDS:
        for slug, faults in (("acme", kind.primary), ("good", kind.fallback)):
            upstream = json.dumps(
                f"{kind.name}!{faults}" + ("" if "pace" in faults else f"!{QUICK}")
            )
            lines += ["[[models]]", f'id = "{kind.name}"', f'provider = "{slug}"']
            lines += [f"upstream = {upstream}", "prefill = true"]
            lines += ["price = { input = 2.00, output = 8.00 }"]
    return "\n".join(lines) + "\n"


def _request(kind: Kind, number: int) -> dict[str, Any] | bytes:
    if kind.body is not None:
        return kind.body
    messages = [{"role": "user", "content": f"What about {number}?"}]
    keys = [f"acme/{kind.name}", f"good/{kind.name}"]
    fields: dict[str, Any] = {"messages": messages, "stream": kind.stream}
    if kind.routed:
        return {**fields, "model": "auto", "x_kairosroute": {"models": keys, **kind.extension}}
    return {**fields, "model": keys[0]}


def end_of(kind: Kind, reply: Reply) -> str:
    """How it ended: one of `End`, or the status or beginning of what was not to come."""
    if kind.leave is not None and (kind.leave == "sent" or reply.first is not None):
        return "left"
    if reply.status == 200:
        if b'data: {"error":' in reply.data:
            return "whole and an error" if reply.whole else "broken"
        return "whole" if reply.whole else "cut without a word"
    if reply.status in (503, 504):
        return "failed"
    return "refused" if 400 <= reply.status < 429 else f"status {reply.status}"


@dataclass(slots=True)
class Tally:
    """What came of it: calls by kind and end; by kind, the attempts that they were told of and the
    streams that were joined."""

    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    joined: Counter[str] = field(default_factory=Counter)
    done: int = 0

    def unexpected(self) -> list[str]:
        """Ends that their kind may not have."""
        allowed: dict[str, frozenset[End]] = {kind.name: kind.ends for kind in KINDS}
        return [
            f"{name}: {count} x {end}"
            for (name, end), count in sorted(self.ends.items())
            if end not in allowed[name]
        ]

    def note(self, kind: Kind, reply: Reply) -> None:
        """Count one call."""
        self.done += 1
        self.ends[kind.name, end_of(kind, reply)] += 1
        extension = reply.extension if reply.whole else {}
        self.attempts[kind.name] += extension.get("attempts", 0)
        self.joined[kind.name] += bool(extension.get("rescued"))


async def run(
    target: Target, calls: int, workers: int, passed: Callable[[int], object] = lambda done: None
) -> Tally:
    """All calls; `passed` is told after each how many are done."""
    tally, numbers = Tally(), iter(range(calls))

    async def work() -> None:
        for number in numbers:
            kind = KINDS[number % len(KINDS)]
            tally.note(kind, await ask(target, _request(kind, number), leave=kind.leave))
            passed(tally.done)

    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(work)
    return tally
