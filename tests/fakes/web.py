"""A web server of the test's own, on a real socket: requests in, scripted bytes out, and counts.

It plays what plugins fetch from: search engines, a library, an images API, somebody's web space.
Each path has a script; a script is bytes, and `HANG` (say nothing more until the peer leaves). One
request a connection, as `transport/fetch.py` makes them. `connections` counts what was accepted,
request or not, so that a test can show that nobody came.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

__all__ = ["HANG", "Asked", "Web", "answer", "data", "redirect", "web"]

HANG = None
"""Wait until the peer leaves."""


@dataclass
class Asked:
    """One request as it came: names of fields are lower case."""

    method: str
    path: str
    query: str
    fields: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Web:
    """See above. `scripts` by path, without the query."""

    port: int = 0
    scripts: dict[str, tuple[bytes | None, ...]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    left: trio.Event = field(default_factory=trio.Event)  # a peer has left a script that hangs

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, path: str, *script: bytes | None) -> None:
        self.scripts[path] = script

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        async with stream:
            try:
                await self._answer(stream)
            except trio.BrokenResourceError:
                self.left.set()

    async def _answer(self, stream: trio.SocketStream) -> None:
        asked = await read_request(stream)
        if asked is None:
            return
        self.asked.append(asked)
        for word in self.scripts.get(asked.path, (answer(b"no such path", status=404),)):
            if word is not None:
                await stream.send_all(word)
                continue
            while await stream.receive_some():
                pass
            self.left.set()


async def read_request(stream: trio.abc.ReceiveStream) -> Asked | None:
    """One request with or without a length; None where the peer left first."""
    got = b""
    while b"\r\n\r\n" not in got:
        more = await stream.receive_some()
        if not more:
            return None
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    fields = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    while len(body) < int(fields.get("content-length", "0")):
        body += await stream.receive_some()
    path, _, query = target.partition("?")
    return Asked(method, path, query, fields, body)


@asynccontextmanager
async def web() -> AsyncIterator[Web]:
    """A server on a free port of the loopback interface."""
    server = Web()
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        server.port = listener.socket.getsockname()[1]
        yield server
        nursery.cancel_scope.cancel()


def answer(
    body: bytes, *, status: int = 200, kind: str = "text/plain", fields: tuple[str, ...] = ()
) -> bytes:
    """A whole answer with a length."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}", *fields]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def data(value: Any, *, status: int = 200) -> bytes:
    """A whole answer in JSON."""
    return answer(json.dumps(value).encode(), status=status, kind="application/json")


def redirect(location: str, *, status: int = 302) -> bytes:
    """An answer that leads elsewhere."""
    return answer(b"moved", status=status, fields=(f"Location: {location}",))
