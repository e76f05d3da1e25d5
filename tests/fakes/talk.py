"""One caller's connection without a socket: bytes and pauses in, every byte and its time out.

`talk` plays a caller's part against a `Connection` until the connection has ended. A caller that
sees the end of the other side closes, as clients do, unless its `Ears` say otherwise.
"""

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio
from trio.testing import MockClock

from kproxy.downstream.answering import Refusal
from kproxy.downstream.connection import Connection, ConnectionParams
from kproxy.downstream.exchange import Exchange, ExchangeState
from kproxy.downstream.respond import Answer
from kproxy.transport.duplex import Broken
from tests.fakes.duplex import MemoryDuplex, duplex_pair

__all__ = ["Ears", "Scripted", "Talk", "answer", "get", "pause", "post", "talk"]

Step = bytes | float | Callable[["Talk"], object]
REQUEST_ID = re.compile(rb"x-request-id: req_[0-9a-f]{24}\r\n")


def get(target: str = "/", *fields: str, version: str = "1.1", method: str = "GET") -> bytes:
    """A request without a body."""
    lines = [f"{method} {target} HTTP/{version}", "Host: a", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def post(body: bytes, *fields: str, target: str = "/", version: str = "1.1") -> bytes:
    """A request with a body of known length."""
    length = f"Content-Length: {len(body)}"
    return get(target, length, *fields, version=version, method="POST") + body


def answer(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """The response that `Scripted` and the connection make of `body`, without its id."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@dataclass
class Talk:
    """What the caller saw; times in seconds since the start, None for what never came."""

    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    ended: float | None = None  # the server's side ended
    served: float | None = None  # `serve` returned
    reset: bool = False  # the connection broke before its end was seen
    caller: MemoryDuplex = field(default_factory=MemoryDuplex)
    server: MemoryDuplex = field(default_factory=MemoryDuplex)
    connection: Connection | None = None

    @property
    def raw(self) -> bytes:
        """Every byte from the server."""
        return b"".join(data for _, data in self.pieces)

    @property
    def out(self) -> bytes:
        """The same without request ids, which are never equal."""
        return REQUEST_ID.sub(b"", self.raw)

    @property
    def statuses(self) -> list[int]:
        """Of every response."""
        return [int(code) for code in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", self.raw)]

    @property
    def error(self) -> dict[str, Any]:
        """The last response's error object, whose shape is checked (contract section 4)."""
        head, _, body = self.raw[self.raw.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
        assert b"content-type: application/json" in head
        assert b"content-length: %d" % len(body) in head
        assert len(REQUEST_ID.findall(head + b"\r\n")) == 1
        error: dict[str, Any] = json.loads(body)["error"]
        assert list(error) == ["message", "type", "param", "code"]
        assert error["message"]
        return error


class Scripted:
    """A handler by targets: `/echo` unless the script says otherwise. `seen` holds what ended."""

    def __init__(self, **script: Callable[[Exchange], Awaitable[None]]) -> None:
        self.script = script
        self.seen: list[tuple[str, ExchangeState, int]] = []
        self.bodies: list[bytes] = []
        self.exchanges: list[Exchange] = []
        self.refusals: list[Refusal] = []

    async def answer(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        target = exchange.head.target.decode("latin-1")
        scripted = self.script.get(target.removeprefix("/"))
        if scripted is not None:
            await scripted(exchange)
            return
        body = await exchange.read_body()
        self.bodies.append(body)
        await exchange.respond(Answer(200, [], target.encode("latin-1") + body))

    def refused(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)

    def ended(self, exchange: Exchange) -> None:
        target = exchange.head.target.decode("latin-1")
        self.seen.append((target, exchange.state, exchange.status))


@dataclass(frozen=True)
class Ears:
    """How the caller listens: from which second on, resting how long after each read of `size`.

    A `stubborn` caller does not close when it has seen the end.
    """

    deaf: float = 0
    rest: float = 0
    size: int = 65_536
    stubborn: bool = False


async def pause(seconds: float) -> None:
    """A handler takes its time: in the talk's time, which is virtual."""
    await trio.sleep(seconds)


def talk(handler: Scripted, *steps: Step, ears: Ears | None = None, **fields: Any) -> Talk:
    """Send bytes, wait seconds, or call something with the talk, in order; then listen on.

    `fields` are those of `ConnectionParams`. Runs on a virtual clock of its own that starts at 0,
    until the connection has ended.
    """
    run = partial(_talk, handler, steps, ears or Ears(), ConnectionParams(**fields))
    return trio.run(run, clock=MockClock(autojump_threshold=0))


async def _talk(
    handler: Scripted, steps: Sequence[Step], ears: Ears, params: ConnectionParams
) -> Talk:
    server, caller = duplex_pair()
    told = Talk(server=server, caller=caller)
    told.connection = Connection(server, handler, params)

    async def listen() -> None:
        caller.read_size = ears.size
        await trio.sleep(ears.deaf)
        try:
            while data := await caller.receive():
                told.pieces.append((trio.current_time(), data))
                await trio.sleep(ears.rest)
        except Broken:
            told.reset = not caller.closed
            return
        told.ended = trio.current_time()
        if not ears.stubborn:
            caller.close()

    async def speak() -> None:
        try:
            for step in steps:
                if isinstance(step, bytes):
                    await caller.send_all(step)
                elif isinstance(step, float | int):
                    await trio.sleep(step)
                else:
                    step(told)
        except Broken:
            return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        nursery.start_soon(speak)
        await told.connection.serve()
        told.served = trio.current_time()
        server.close()
        await trio.testing.wait_all_tasks_blocked()  # the caller sees the end
        nursery.cancel_scope.cancel()
    return told
