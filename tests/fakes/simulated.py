"""Requests to the simulated providers and what comes back, for tests without a socket.

In: fields of a request. Out: request bytes, `Asked` values, scripts, and a play as one value.
"""

import json
from functools import cache
from typing import Any, NamedTuple

from kproxy.sim import openai
from kproxy.sim.asked import Asked
from kproxy.sim.faults import parse
from kproxy.sim.params import SimParams
from kproxy.sim.play import perform
from kproxy.sim.script import Script, Stage, write
from kproxy.sim.show import Ending, Wire

ROOT = b"01234567"
EXACT = SimParams(first_token_ms=200, token_ms=10, jitter=0, tokens="6")
HELLO = [{"role": "user", "content": "Hello, how are you?"}]
WEATHER = {
    "name": "get_weather",
    "schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city", "unit"],
    },
}
CLOCK = {"name": "get_time", "schema": {"type": "object", "properties": {}}}


class Played(NamedTuple):
    """A whole play: every beat, the bytes of all, and how it ended."""

    beats: list[tuple[float, bytes]]
    data: bytes
    ending: Ending

    @property
    def body(self) -> bytes:
        """What follows the head, chunks removed."""
        head, _, rest = self.data.partition(b"\r\n\r\n")
        return unchunked(rest) if b"chunked" in head else rest


def openai_body(**fields: Any) -> bytes:
    """A chat completion request."""
    return json.dumps({"model": "gpt-4.1", "messages": HELLO, **fields}).encode()


def anthropic_body(**fields: Any) -> bytes:
    """A Messages request."""
    request = {"model": "claude-sonnet-4-20250514", "max_tokens": 100, "messages": HELLO}
    return json.dumps({**request, **fields}).encode()


def openai_tools(*tools: dict[str, Any]) -> list[dict[str, Any]]:
    """The tools in OpenAI's spelling."""
    return [
        {"type": "function", "function": {"name": tool["name"], "parameters": tool["schema"]}}
        for tool in tools
    ]


def anthropic_tools(*tools: dict[str, Any]) -> list[dict[str, Any]]:
    """The tools in Anthropic's spelling."""
    return [{"name": tool["name"], "input_schema": tool["schema"]} for tool in tools]


@cache
def stage(params: SimParams) -> Stage:
    """The stage for these parameters, made once."""
    return Stage.of(params)


def asked(wire: Wire = openai, **fields: Any) -> Asked:
    """A request, read by its wire."""
    body = openai_body(**fields) if wire is openai else anthropic_body(**fields)
    return wire.read(body, ROOT)


def script(params: SimParams = EXACT, wire: Wire = openai, **fields: Any) -> Script:
    """The script for a request; the faults are those of its model's name."""
    one = asked(wire, **fields)
    return write(one, one.faults, stage(params))


def played(
    *faults: str,
    wire: Wire = openai,
    http_10: bool = False,
    params: SimParams = EXACT,
    **fields: Any,
) -> Played:
    """The play for a request with these faults."""
    one = asked(wire, **fields)
    chosen = tuple(parse(fault) for fault in faults)
    play = perform(one, write(one, chosen, stage(params)), chosen, wire, http_10)
    beats = list(play.beats)
    return Played(beats, b"".join(data for _, data in beats), play.ending)


def unchunked(data: bytes) -> bytes:
    """The body of a chunked message as far as its framing goes."""
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        try:
            length = int(size, 16)
        except ValueError:
            break
        body += data[:length]
        data = data[length + 2 :]
    return body


def events(body: bytes) -> list[Any]:
    """The JSON of every `data:` line, `[DONE]` as that text, what is no JSON as bytes."""
    found: list[Any] = []
    for line in body.split(b"\n"):
        if not line.startswith(b"data: "):
            continue
        try:
            found.append("[DONE]" if line == b"data: [DONE]" else json.loads(line[6:]))
        except ValueError:
            found.append(line[6:])
    return found


def said(body: bytes) -> str:
    """The text of a stream of OpenAI's wire."""
    return "".join(
        choice["delta"].get("content") or ""
        for event in events(body)
        if isinstance(event, dict)
        for choice in event.get("choices", ())
        if choice["index"] == 0
    )


def token_count(body: bytes) -> int:
    """How many events of a stream of OpenAI's wire carry text."""
    return body.count(b'"delta":{"content":"')
