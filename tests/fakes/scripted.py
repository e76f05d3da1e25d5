"""A scripted provider behind a fake `Dial`, on the virtual clock.

In: for each connection the answers to its requests, each a table of (seconds of silence, what then
happens). Out: links for a pool, and on each connection what it received and when we closed it.

    provider = ScriptedProvider(nursery, [[(0.2, ok(b"{}"))]])      # one connection, one answer
    pool = Pool(ORIGIN, provider.dial, timers, PoolParams())
"""

import enum
import math
import re
from collections.abc import Sequence
from typing import Self

import trio

from kproxy.admission.keys import Secret
from kproxy.dialect.openai import OpenAI
from kproxy.errors import Fault, FaultKind
from kproxy.transport.dial import Origin
from kproxy.transport.duplex import Broken
from kproxy.transport.pool import Pool, PoolParams
from kproxy.transport.timers import Timers
from kproxy.upstream.endpoint import AnswerLimits, Endpoint
from kproxy.wire.limits import H1Limits
from tests.fakes.duplex import MemoryDuplex, duplex_pair

__all__ = ["ORIGIN", "Act", "Connection", "ScriptedProvider", "endpoint", "head", "ok"]

ORIGIN = Origin("provider.test", 80, tls=False)
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Act(enum.Enum):
    """What a provider may do instead of speaking."""

    END = enum.auto()  # says that nothing more will come
    CLOSE = enum.auto()
    RESET = enum.auto()


Answer = Sequence[tuple[float, bytes | Act]]


def head(status: int = 200, *fields: bytes) -> bytes:
    """A response head."""
    return b"HTTP/1.1 %d X\r\n%b\r\n" % (status, b"".join(field + b"\r\n" for field in fields))


def ok(body: bytes, status: int = 200, *fields: bytes) -> bytes:
    """A response with a length."""
    return head(status, b"content-length: %d" % len(body), *fields) + body


class Connection:
    """One connection as the provider sees it. `closed` is when we ended it, else infinity."""

    def __init__(self, link: MemoryDuplex) -> None:
        self.link = link
        self.received = b""
        self.requests: list[bytes] = []
        self.opened = trio.current_time()
        self.closed = math.inf
        link.on_gone = self._note

    def _note(self) -> None:
        self.closed = trio.current_time()

    async def play(self, answers: Sequence[Answer]) -> None:
        """Answer one request after the other, then fall silent and listen."""
        try:
            for answer in answers:
                self.requests.append(await self._request())
                for delay, act in answer:
                    await trio.sleep(delay)
                    await self._act(act)
            while data := await self.link.receive():
                self.received += data
        except Broken:
            pass
        finally:
            self.link.on_gone = None

    async def _act(self, act: bytes | Act) -> None:
        if isinstance(act, bytes):
            await self.link.send_all(act)
        else:
            {Act.END: self.link.end, Act.CLOSE: self.link.close, Act.RESET: self.link.reset}[act]()

    async def _request(self) -> bytes:
        data = b""
        while not _whole(data):
            more = await self.link.receive()
            if not more:
                raise Broken(self.link, "ended")
            data += more
        self.received += data
        return data


def _whole(data: bytes) -> bool:
    start, blank, body = data.partition(b"\r\n\r\n")
    length = LENGTH.search(start)
    return bool(blank) and len(body) >= (int(length[1]) if length else 0)


class ScriptedProvider:
    """Connections in the order they are dialled; one more than scripted is refused.

    `connect` is how long each takes to open. Its tasks live in `nursery`, the test's.
    """

    def __init__(
        self, nursery: trio.Nursery, script: Sequence[Sequence[Answer]], connect: float = 0
    ) -> None:
        self._nursery = nursery
        self._script = list(script)
        self._connect = connect
        self.connections: list[Connection] = []
        self.dialled: list[float] = []

    async def dial(self, origin: Origin, deadline: float) -> MemoryDuplex:
        """A `Dial`."""
        self.dialled.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        with trio.move_on_at(deadline) as scope:
            await trio.sleep(self._connect)
        if scope.cancelled_caught:
            raise Fault(FaultKind.CONNECT_TIMEOUT, "no connection in time")
        if not self._script:
            raise Fault(FaultKind.CONNECT, "refused")
        ours, theirs = duplex_pair()
        connection = Connection(theirs)
        self.connections.append(connection)
        self._nursery.start_soon(connection.play, self._script.pop(0))
        return ours

    @property
    def open(self) -> int:
        """Connections that neither side has closed."""
        return sum(one.closed == math.inf and not one.link.closed for one in self.connections)


class Reached:
    """An endpoint, its pool and its provider, for an attempt."""

    def __init__(self, provider: ScriptedProvider, pool: Pool, endpoint: Endpoint) -> None:
        self.provider = provider
        self.pool = pool
        self.endpoint = endpoint

    @classmethod
    def by(
        cls, nursery: trio.Nursery, *script: Sequence[Answer], connect: float = 0, limit: int = 4
    ) -> Self:
        """An endpoint whose provider plays `script`; timers run in `nursery`."""
        provider = ScriptedProvider(nursery, script, connect)
        timers = Timers()
        nursery.start_soon(timers.run)
        pool = Pool(ORIGIN, provider.dial, timers, PoolParams(limit=limit))
        return cls(provider, pool, endpoint(pool))


def endpoint(pool: Pool, limits: AnswerLimits | None = None) -> Endpoint:
    """The endpoint of a pool, in OpenAI's dialect."""
    target, key = "/v1/chat/completions", Secret("")
    return Endpoint("acme", OpenAI(), pool, target, key, H1Limits(), limits or AnswerLimits())
