"""Plugins that do what a test says, on the virtual clock; and rounds of a model that calls them.

In: results, seconds, an error. Out: `Tool`, `Finder` and `Reader` values that remember what they
were asked; replies and events in which tools are called.
"""

import json
from collections.abc import Sequence
from typing import Any

import trio
from msgspec import Raw

from kproxy.api.plugged import Asking, Found, Plugins, Read, Result, Tool
from kproxy.api.plugged import Finder as FinderPlugin
from kproxy.api.plugged import Reader as ReaderPlugin
from kproxy.plugins.source import Source
from tests.fakes.raw_provider import LAST_CHUNK
from tests.fakes.scripted import ok
from tests.fakes.streams import HEAD, USAGE, chunk, event

__all__ = [
    "ADD", "OWN", "Adder", "Finder", "Reader", "calling", "plugged", "reply", "round_of", "sent",
    "tool_call",
]  # fmt: skip

ADD = "kairosroute_add"
OWN = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


class Adder:
    """A tool that adds two numbers; or takes `seconds`, fails with `error`, shows something."""

    def __init__(self, seconds: float = 0, error: Exception | None = None, shown: str = "") -> None:
        self.seconds = seconds
        self.error = error
        self.shown = shown
        self.asked: list[str] = []
        self.ended = 0

    async def call(self, arguments: str) -> Result:
        self.asked.append(arguments)
        try:
            await trio.sleep(self.seconds)
        finally:
            self.ended += 1
        if self.error is not None:
            raise self.error
        given = json.loads(arguments)
        return Result(str(given["a"] + given["b"]), self.shown, charged=bool(self.shown))

    def plugins(self, rounds: int = 5, price: int | None = 0) -> Plugins:
        function = {"name": ADD, "parameters": {"type": "object"}}
        definition = Raw(json.dumps({"type": "function", "function": function}).encode())
        tool = Tool(ADD, definition, self.call, seconds=10, size=40, price=price)
        return Plugins({"code-exec": tool}, rounds)


class Finder:
    """Finds one source, after `seconds`; or fails."""

    def __init__(self, seconds: float = 0, error: Exception | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.asked: list[Asking] = []

    async def find(self, asking: Asking) -> Found:
        self.asked.append(asking)
        await trio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return Found([Source("A page", "https://a.test/", "Water boils at 100 degrees.")])

    def plugin(self, heading: str = "From the web", **more: Any) -> FinderPlugin:
        return FinderPlugin(self.find, heading, seconds=8, size=400, **more)


class Reader:
    """Writes READ into every message's content."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def read(self, messages: Raw, nonce: str) -> Read:
        if self.error is not None:
            raise self.error
        read = [{**one, "content": "READ"} for one in json.loads(bytes(messages))]
        return Read(Raw(json.dumps(read).encode()), len(read))

    def plugin(self) -> ReaderPlugin:
        return ReaderPlugin(self.read, seconds=8)


def plugged(**offered: Any) -> Plugins:
    """Plugins by id, with `_` for `-`."""
    return Plugins({name.replace("_", "-"): one for name, one in offered.items()})


def tool_call(name: str = ADD, arguments: Any = None, ident: str = "call_a") -> dict[str, Any]:
    """A call as a whole answer has it; by default of 1 + 2."""
    said = json.dumps({"a": 1, "b": 2}) if arguments is None else arguments
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": said}}


def reply(text: str | None, *calls: dict[str, Any], finish: str | None = None) -> bytes:
    """A whole answer, framed."""
    message = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": finish or ("tool_calls" if calls else "stop"),
    }
    body = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], "usage": USAGE}
    return ok(json.dumps(body).encode())


def calling(*calls: dict[str, Any]) -> list[str]:
    """The chunks of these calls as OpenAI streams them: a head, then the arguments in two."""
    chunks = []
    for index, call in enumerate(calls):
        function = call["function"]
        head = {**call, "index": index, "function": {"name": function["name"], "arguments": ""}}
        chunks.append(chunk({"tool_calls": [head]}))
        said, middle = function["arguments"], len(function["arguments"]) // 2
        pieces = (said[:middle], said[middle:])
        deltas = [{"index": index, "function": {"arguments": piece}} for piece in pieces]
        chunks += [chunk({"tool_calls": [delta]}) for delta in deltas]
    return chunks


def round_of(
    texts: Sequence[str], *calls: dict[str, Any], finish: str | None = None, ident: str = "c1"
) -> list[tuple[float, bytes]]:
    """A streamed round: each text and each chunk of a call a second apart."""
    names = {"id": ident, "created": 7, "model": "m-2025", "object": "chat.completion.chunk"}
    chunks = [chunk({"role": "assistant", "content": ""})]
    chunks += [chunk({"content": text}) for text in texts]
    chunks += calling(*calls)
    chunks.append(chunk({}, finish or ("tool_calls" if calls else "stop")))
    chunks.append(json.dumps({"choices": [], "usage": USAGE}))
    named = [json.dumps({**names, **json.loads(one)}) for one in chunks]
    acts = [(1.0, event(one)) for one in named]
    return [(0.0, HEAD), *acts, (0.0, event("[DONE]") + LAST_CHUNK)]


def sent(raw: bytes) -> Any:
    """The body of a request that a provider got."""
    return json.loads(raw.partition(b"\r\n\r\n")[2])
