"""Plays one scenario: a gateway and its two simulated providers in, a `Played` value out.

Every request has a connection of its own and a patience of its own, a little beyond the deadline,
so that a gateway that hangs is seen to hang. How often a provider was asked is what it has counted.
What the truth is, the providers are asked directly: a fault in the name of the model comes before
those of the configuration, `ok` is none.
"""

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench.judge import GRACE, Played
from bench.seen import Seen, see
from bench.sixteen import (
    CHEAP,
    DEAR,
    MESSAGES,
    RETRIES,
    Mode,
    Scale,
    Scenario,
    Whole,
)
from kproxy.dialect.choose import dialect_for
from kproxy.wire.sse import EventReader
from tests.fakes.caller import Answer, Caller, chat
from tests.fakes.server import Simulated

__all__ = ["Behind", "Gateway", "Row", "kproxy_config", "play"]


@dataclass(frozen=True, slots=True)
class Gateway:
    """What is measured: where it answers, and what to add to each request's body."""

    address: tuple[str, int]
    key: str
    fields: Mapping[str, Any]
    path: str = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Behind:
    """The providers behind it. `model` is the name that both are asked for, in that `dialect`."""

    primary: Simulated
    fallback: Simulated
    model: str
    slugs: tuple[str, str] = ("acme", "good")
    dialect: str = "openai"


def play(scenario: Scenario, mode: Mode, scale: Scale, gateway: Gateway, behind: Behind) -> Played:
    """All requests of the scenario, and what the providers counted meanwhile."""
    truth = _truth(scenario, mode, behind)
    before = _asked(behind)
    seen = _ask(scenario, mode, scale, gateway)
    after = _asked(behind)
    outcome = scenario.outcome(mode)
    joined = outcome.joined if isinstance(outcome, Whole) else None
    return Played(
        scenario,
        mode,
        scale,
        behind.slugs,
        truth,
        None if joined is None else _length(behind, joined),
        tuple(seen),
        after[0] - before[0],
        after[1] - before[1],
    )


def _ask(scenario: Scenario, mode: Mode, scale: Scale, gateway: Gateway) -> Sequence[Seen]:
    """The requests, one after the other or each at its time."""
    fields = dict(gateway.fields)
    if not scenario.rescue and "x_kairosroute" in fields:
        fields["x_kairosroute"] = {**fields["x_kairosroute"], "rescue": False}
    body = chat(messages=MESSAGES, **_streamed(mode), **fields)

    def one(at: float) -> Seen:
        time.sleep(max(0.0, at - time.monotonic()))  # nothing, or the time of its turn
        return _request(gateway, body, scale.deadline + 2 * GRACE)

    if not scenario.over:
        return [one(0.0) for _ in range(scenario.requests)]
    begun, between = time.monotonic(), scenario.over / scale.factor / scenario.requests
    with ThreadPoolExecutor(scenario.requests) as pool:
        return list(pool.map(one, [begun + turn * between for turn in range(scenario.requests)]))


def _streamed(mode: Mode) -> dict[str, Any]:
    if mode == "whole":
        return {}
    return {"stream": True, "stream_options": {"include_usage": True}}


def _request(gateway: Gateway, body: bytes, patience: float) -> Seen:
    """One request, with all the ways in which a server can leave a caller alone."""
    begun = time.monotonic()
    with Caller(gateway.address, gateway.key) as caller:
        caller.socket.settimeout(patience)
        try:
            answer = caller.post(body, "content-type: application/json", path=gateway.path)
        except TimeoutError:
            return Seen(time.monotonic() - begun, problem="hangs")
        except (ConnectionError, http.client.HTTPException) as error:
            return Seen(time.monotonic() - begun, problem=f"no answer: {type(error).__name__}")
    return see(answer, time.monotonic() - begun)


def _asked(behind: Behind) -> tuple[int, int]:
    return _count(behind.primary, behind.model), _count(behind.fallback, behind.model)


def _count(sim: Simulated, model: str) -> int:
    stats = sim.ask("/sim/stats")
    assert isinstance(stats, dict)
    return int(stats["models"].get(model, 0))


def _truth(scenario: Scenario, mode: Mode, behind: Behind) -> Seen:
    """What a provider says without the fault, and at once."""
    model = f"{behind.model}!{scenario.truth}!pace=0,0"
    return see(_direct(behind, model=model, messages=MESSAGES, **_streamed(mode)), 0.0)


def _length(behind: Behind, tokens: int) -> int:
    """The characters of the first tokens."""
    model = f"{behind.model}!pace=0,0"
    return len(_direct(behind, model=model, messages=MESSAGES, max_tokens=tokens).text)


def _direct(behind: Behind, **fields: Any) -> Answer:
    """The fallback's answer in OpenAI's form, asked without a gateway."""
    dialect = dialect_for(behind.dialect, "")
    members = msgspec.json.decode(chat(**fields), type=dict[str, msgspec.Raw])
    body = dialect.encode(members, fields["model"], bool(fields.get("stream")))
    fields_sent = [b": ".join(field).decode() for field in dialect.credentials("")]
    with Caller(behind.fallback.address) as caller:
        answer = caller.post(body, *fields_sent, path="/v1" + dialect.path)
    if not fields.get("stream"):
        return Answer(answer.status, answer.headers, dialect.completion(answer.body, 0))
    reader = dialect.events(EventReader(), 0)
    events = reader.feed(answer.body) + reader.eof()
    return Answer(answer.status, answer.headers, b"".join([event.raw for event in events]))


@dataclass(frozen=True, slots=True)
class Row:
    """One model of a configured kproxy: its id, and its base URL at the primary and at the
    fallback. `slugs` are their names there."""

    model: str
    base_urls: tuple[str, str]
    slugs: tuple[str, str] = ("acme", "good")
    windows: tuple[int, int] | None = field(default=None)
    dialect: str = "openai"

    @property
    def candidates(self) -> list[str]:
        """For `x_kairosroute.models`: the primary, then the fallback."""
        return [f"{slug}/{self.model}" for slug in self.slugs]


def kproxy_config(rows: Sequence[Row], scale: Scale) -> str:
    """The file for kproxy with the settings that are common to all scenarios."""
    lines = [
        "[timeouts]",
        f"total = {scale.deadline}",
        "heartbeat = 60",  # later than any deadline: a refusal has to be a status
        "[attempts]",
        f"retries = {RETRIES}",
    ]
    lines += [line for row in rows for at in (0, 1) for line in _provider(row, at)]
    lines += [line for row in rows for at in (0, 1) for line in _model(row, at)]
    return "\n".join(lines) + "\n"


def _provider(row: Row, at: int) -> list[str]:
    return [
        f"[providers.{row.slugs[at]}]",
        f"dialect = {json.dumps(row.dialect)}",
        f"base_url = {json.dumps(row.base_urls[at])}",
    ]


def _model(row: Row, at: int) -> list[str]:
    into, out = (CHEAP, DEAR)[at]
    lines = [
        "[[models]]",
        f"id = {json.dumps(row.model)}",
        f'provider = "{row.slugs[at]}"',
        f"price = {{ input = {into}, output = {out} }}",
        "prefill = true",
    ]
    if row.windows is not None:
        lines.append(f"context_tokens = {row.windows[at]}")
    return lines
