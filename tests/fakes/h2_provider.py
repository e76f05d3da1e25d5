"""A provider of HTTP/2 behind a fake `Dial`, on the virtual clock: h2's own engine as the server.

In: what it plays on each stream, an async function of a `Turn`. Out: links for a pool, and on each
connection what it was asked, what was reset, and when we closed it. It opens the windows of what it
reads unless it is told not to, and writes as ours allow.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import trio
from trio.testing import wait_all_tasks_blocked

from kproxy.errors import Fault, FaultKind
from kproxy.transport.dial import Origin
from kproxy.transport.duplex import Broken
from kproxy.transport.h2_trunk import TrunkParams
from kproxy.transport.h2_trunks import Trunks
from kproxy.transport.keeper import Keeper
from kproxy.transport.pool import Lease, Pool, PoolParams
from kproxy.transport.timers import Timers
from kproxy.upstream.endpoint import Endpoint
from kproxy.wire.h2_events import H2Limits
from kproxy.wire.limits import H1Limits
from kproxy.wire.response import ResponseReader
from tests.fakes.duplex import MemoryDuplex, duplex_pair
from tests.fakes.scripted import endpoint

__all__ = [
    "REQUEST", "SECURE", "H2Provider", "Server", "Site", "Turn", "answering", "codes", "lease",
    "site", "whole",
]  # fmt: skip

REQUEST = b"POST /v1 HTTP/1.1\r\nhost: there\r\ncontent-length: 2\r\n\r\n{}"
SECURE = Origin("provider.test", 443, tls=True)

codes = h2.settings.SettingCodes


class Turn:
    """One stream: what it was asked, and what may be done about it."""

    def __init__(self, server: "Server", stream: int, fields: dict[str, str]) -> None:
        self.server = server
        self.stream = stream
        self.fields = fields
        self.body = b""
        self.whole = False
        self.reset: int | None = None  # by us, with this code
        self.at = math.inf  # when that was
        self.frozen = server.frozen  # the request's windows are not opened

    async def asked(self) -> None:
        """Until the request is whole, or reset."""
        while not (self.whole or self.over):
            await self.server.news()

    @property
    def over(self) -> bool:
        gone = self.server.ended < math.inf or bool(self.server.goaways)
        return gone or self.reset is not None

    async def head(self, status: int = 200, *fields: tuple[str, str], end: bool = False) -> None:
        self.server.engine.send_headers(
            self.stream, [(":status", str(status)), *fields], end_stream=end
        )
        await self.server.send()

    async def data(self, data: bytes, *, end: bool = False) -> None:
        """As the windows allow; nothing more once it was reset."""
        while not self.over:
            room = min(self.server.engine.local_flow_control_window(self.stream), 16_384)
            piece, data = data[:room], data[room:]
            if piece or not data:
                self.server.engine.send_data(self.stream, piece, end_stream=end and not data)
                await self.server.send()
                if not data:
                    return
            else:
                await self.server.news()

    async def cut(self, code: int) -> None:
        self.server.engine.reset_stream(self.stream, code)
        await self.server.send()


Play = Callable[[Turn], Awaitable[None]]


class Server:
    """One connection. `goaways` are the codes that we said; `pings` are how many we sent."""

    def __init__(self, link: MemoryDuplex, settings: dict[int, int], nursery: trio.Nursery) -> None:
        self.link = link
        self.engine = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=False, header_encoding="latin-1", validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )  # fmt: skip
        self.engine.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        self.turns: dict[int, Turn] = {}
        self.goaways: list[int] = []
        self.pings = 0
        self.ended = math.inf
        self.deaf = False
        self.mute = False
        self.frozen = False  # for streams that come
        self._nursery = nursery
        self._news = trio.Event()
        self._lock = trio.Lock()

    async def news(self) -> None:
        await self._news.wait()

    def tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    async def send(self, raw: bytes = b"") -> None:
        """What the engine has to say, and bytes that it knows nothing of."""
        async with self._lock:
            data = self.engine.data_to_send() + raw
            if data and self.ended == math.inf and not self.mute:
                try:
                    await self.link.send_all(data)
                except Broken:
                    self.ended = min(self.ended, trio.current_time())

    async def serve(self, play: Play) -> None:
        self.engine.initiate_connection()
        try:
            self._nursery.start_soon(self.send)
            while data := await self.link.receive():
                if self.deaf:
                    continue
                for event in self.engine.receive_data(data):
                    self._note(event, play)
                self.tell()
                self._nursery.start_soon(self.send)
        except Broken:
            pass
        self.ended = min(self.ended, trio.current_time())
        self.tell()
        self.link.close()

    def _note(self, event: h2.events.Event, play: Play) -> None:
        turn = self.turns.get(getattr(event, "stream_id", None) or 0)
        match event:
            case h2.events.RequestReceived():
                turn = Turn(self, event.stream_id, dict(event.headers))
                self.turns[event.stream_id] = turn
                self._nursery.start_soon(self._play, play, turn)
            case h2.events.DataReceived():
                assert turn is not None
                turn.body += event.data
                if not turn.frozen:
                    self.engine.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
            case h2.events.StreamEnded():
                assert turn is not None
                turn.whole = True
            case h2.events.StreamReset():
                assert turn is not None
                turn.reset, turn.at = int(event.error_code), trio.current_time()
            case h2.events.ConnectionTerminated():
                self.goaways.append(int(event.error_code))
            case h2.events.PingReceived():
                self.pings += 1

    async def _play(self, play: Play, turn: Turn) -> None:
        try:
            await play(turn)
        except (h2.exceptions.ProtocolError, Broken):
            assert turn.over, "a script that breaks the protocol says so by raw bytes"

    @property
    def open_streams(self) -> int:
        """As its engine counts."""
        return self.engine.open_inbound_streams


class H2Provider:
    """Connections in the order they are dialled. `protocol`: what ALPN chooses."""

    def __init__(self, nursery: trio.Nursery, play: Play, connect: float = 0) -> None:
        self.play = play
        self.connect = connect
        self.protocol = "h2"
        self.settings: dict[int, int] = {codes.MAX_CONCURRENT_STREAMS: 100}
        self.refuses = self.mute = self.frozen = False
        self.dialled = 0
        self.servers: list[Server] = []
        self._nursery = nursery

    async def dial(self, origin: Origin, deadline: float) -> MemoryDuplex:
        """A `Dial`."""
        self.dialled += 1
        await trio.lowlevel.checkpoint()
        with trio.move_on_at(deadline) as scope:
            await trio.sleep(self.connect)
        if scope.cancelled_caught:
            raise Fault(FaultKind.CONNECT_TIMEOUT, "no connection in time")
        if self.refuses:
            raise Fault(FaultKind.CONNECT, "refused")
        ours, theirs = duplex_pair()
        ours.protocol = self.protocol
        server = Server(theirs, dict(self.settings), self._nursery)
        server.frozen, server.mute = self.frozen, self.mute
        self.servers.append(server)
        self._nursery.start_soon(server.serve, self.play)
        return ours

    @property
    def open(self) -> int:
        """Connections that neither side has closed."""
        return sum(one.ended == math.inf for one in self.servers)

    @property
    def turns(self) -> list[Turn]:
        """Every stream of every connection."""
        return [turn for server in self.servers for turn in server.turns.values()]


class Site:
    """An endpoint over HTTP/2, its pool and its provider; as `scripted.Reached`."""

    def __init__(self, provider: H2Provider, pool: Pool, trunks: Trunks) -> None:
        self.provider = provider
        self.pool = pool
        self.trunks = trunks
        self.stop: Callable[[], None]  # the task that owns the connections
        self.endpoint: Endpoint = endpoint(pool)

    @classmethod
    def over(
        cls,
        nursery: trio.Nursery,
        keeper: Keeper,
        play: Play,
        *,
        connect: float = 0,
        limit: int = 64,
        **limits: Any,
    ) -> Self:
        provider, timers = H2Provider(nursery, play, connect), Timers()
        nursery.start_soon(timers.run)
        values = {"streams": 250, "window": 65_535, "connection_window": 2**30, **limits}
        params = TrunkParams(H1Limits(), limits=H2Limits(**values))
        trunks = Trunks(provider.dial, keeper.keep, timers, params)
        pool = Pool(SECURE, provider.dial, timers, PoolParams(limit=limit, http2=True), trunks)
        return cls(provider, pool, trunks)


@asynccontextmanager
async def site(play: Play, **options: Any) -> AsyncIterator[Site]:
    """A `Site` for a test; at the end nothing of it is left: no lease, no stream, no connection."""
    async with trio.open_nursery() as nursery:
        keeper, owner = Keeper(), trio.CancelScope()

        async def own() -> None:
            with owner:
                await keeper.run()

        nursery.start_soon(own)
        made = Site.over(nursery, keeper, play, **options)
        made.stop = owner.cancel
        yield made
        await wait_all_tasks_blocked()
        statistics = made.pool.statistics()
        assert [one.open_streams for one in made.provider.servers if one.ended == math.inf] == [
            0 for one in made.provider.servers if one.ended == math.inf
        ], "a stream is left open"
        assert (statistics.leased, statistics.lingering) == (0, 0)
        made.pool.close()
        await wait_all_tasks_blocked()
        assert made.provider.open == 0, made.trunks
        assert made.pool.statistics().shared == 0
        nursery.cancel_scope.cancel()


def answering(body: bytes, status: int = 200, *fields: tuple[str, str], wait: float = 0) -> Play:
    """A whole answer with its length, after so many seconds."""

    async def play(turn: Turn) -> None:
        await turn.asked()
        await trio.sleep(wait)
        await turn.head(status, ("content-length", str(len(body))), *fields, end=not body)
        if body:
            await turn.data(body, end=True)

    return play


async def lease(made: Site, deadline: float = math.inf, *, fresh: bool = False) -> Lease:
    """A call that has sent its request."""
    found = await made.pool.acquire(deadline, fresh=fresh)
    await found.link.send_all(REQUEST)
    return found


async def whole(found: Lease) -> bytes:
    """The body of the answer; the lease is returned. Raises EOFError for one that is cut."""
    reader = ResponseReader(H1Limits())
    while (head := reader.next_head(b"POST")) is None:
        data = await found.link.receive()
        if not data:
            raise EOFError("it ended early")
        reader.receive_data(data)
    body = reader.body
    assert body is not None
    got = body.feed(reader.rest)
    while not body.complete:
        data = await found.link.receive()
        if not data:
            raise EOFError("it ended early")
        got += body.feed(data)
    found.finish(body, head.keep_alive)
    return got
