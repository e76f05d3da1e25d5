"""A caller of HTTP/2 without a socket, against an `H2Connection`, on the virtual clock.

In: a handler and what the caller does. Out: what each stream got, and when. The client's engine is
h2's own, so that a server that it would not understand is not understood here either. It reads all
the time unless it is told to be deaf, and opens the windows of what it reads unless it is told not
to.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import trio

from kproxy.downstream.connection import ConnectionParams
from kproxy.downstream.h2_connection import H2Connection
from kproxy.transport.duplex import Broken
from kproxy.transport.timers import Timers
from kproxy.wire.h2_frames import GOAWAY, FrameCutter
from tests.fakes.duplex import MemoryDuplex, duplex_pair
from tests.fakes.talk import Scripted

__all__ = ["Got", "H2Caller", "calling"]


@dataclass
class Got:
    """What came on one stream. `reset` is the code; times are when the last of it came."""

    informational: list[int] = field(default_factory=list)
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    reset: int | None = None
    at: float = 0.0

    @property
    def over(self) -> bool:
        return self.whole or self.reset is not None


class H2Caller:
    """See the module. `goaways` holds (code, last stream, time)."""

    def __init__(self, link: MemoryDuplex, server: H2Connection) -> None:
        self.link = link
        self.server = server
        self.engine = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding="latin-1", validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )  # fmt: skip
        self.got: dict[int, Got] = {}
        self.goaways: list[tuple[int, int, float]] = []
        self.frozen: set[int] = set()  # streams whose windows are not opened
        self.hearing = trio.Event()
        self.hearing.set()
        self.ended = math.inf  # when the server closed
        self.stop = trio.CancelScope()  # of the server, as a cut is
        self._news = trio.Event()
        self._lock = trio.Lock()

    async def begin(self) -> None:
        """Preface and SETTINGS."""
        self.engine.initiate_connection()
        await self.send()

    async def send(self, raw: bytes = b"") -> None:
        """What the engine has to say, and then bytes that it knows nothing of."""
        async with self._lock:
            data = self.engine.data_to_send() + raw
            if data:
                await self.link.send_all(data)

    async def ask(
        self, path: str, body: bytes | None = None, *, more: bool = False, **fields: str
    ) -> int:
        """A request; with a body a POST, that goes on if `more`. Its stream."""
        stream = self.engine.get_next_available_stream_id()
        self.got[stream] = Got()
        pseudo = [(":method", fields.pop("method", "GET" if body is None else "POST"))]
        pseudo += [(":scheme", "http"), (":authority", "here"), (":path", path)]
        named = [(name.replace("_", "-"), value) for name, value in fields.items()]
        self.engine.send_headers(stream, [*pseudo, *named], end_stream=body is None and not more)
        if body:
            self.engine.send_data(stream, body, end_stream=not more)
        await self.send()
        return stream

    async def tell(self, stream: int, body: bytes, *, more: bool = False) -> None:
        """More of a body, as the window allows."""
        while (body or not more) and not self.got[stream].over:
            room = self.engine.local_flow_control_window(stream)
            piece = body[: min(room, 16_384)]
            body = body[len(piece) :]
            if piece or not body:
                self.engine.send_data(stream, piece, end_stream=not body and not more)
                await self.send()
                if not body:
                    return
            else:
                await self.news()

    async def reset(self, stream: int) -> None:
        self.engine.reset_stream(stream, 8)
        await self.send()

    async def open_window(self, stream: int, size: int) -> None:
        self.engine.increment_flow_control_window(size, stream or None)
        await self.send()

    async def news(self) -> None:
        """Until something more was received, or the end."""
        await self._news.wait()

    async def until(self, fact: Callable[[], Any]) -> None:
        while not fact():
            assert self.ended == math.inf, "the connection has ended"
            await self.news()

    async def whole(self, stream: int) -> Got:
        """What came, once it is over."""
        await self.until(lambda: self.got[stream].over)
        return self.got[stream]

    async def listen(self) -> None:
        """Hear everything until the end; the fixture runs it."""
        cutter = FrameCutter(2**24)
        try:
            while True:
                await self.hearing.wait()
                data = await self.link.receive()
                if not data:
                    break
                cutter.receive_data(data)
                while (frame := cutter.next_frame()) is not None:
                    if frame.kind == GOAWAY:  # h2 takes it for the end of everything; it is not
                        last, code = frame.raw[9:13], frame.raw[13:17]
                        numbers = int.from_bytes(code, "big"), int.from_bytes(last, "big")
                        self.goaways.append((*numbers, trio.current_time()))
                        continue
                    for event in self.engine.receive_data(frame.raw):
                        self._note(event)
                await self.send()
                self._tell_all()
        except Broken:
            pass
        self.ended = trio.current_time()
        self._tell_all()
        self.link.close()

    def _tell_all(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    def _note(self, event: h2.events.Event) -> None:
        got = self.got.get(getattr(event, "stream_id", None) or 0)
        if got is None:
            return
        got.at = trio.current_time()
        match event:
            case h2.events.InformationalResponseReceived():
                got.informational.append(int(dict(event.headers)[":status"]))
            case h2.events.ResponseReceived():
                got.headers = dict(event.headers)
                got.status = int(got.headers.pop(":status"))
            case h2.events.DataReceived():
                got.body += event.data
                if event.stream_id not in self.frozen:
                    self.engine.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
            case h2.events.StreamEnded():
                got.whole = True
            case h2.events.StreamReset():
                got.reset = int(event.error_code)


@asynccontextmanager
async def calling(
    handler: Scripted, *, begin: bool = True, stall: float = 60.0, **fields: Any
) -> AsyncIterator[H2Caller]:
    """A connection, its caller, and nothing left of either. `fields`: of `ConnectionParams`."""
    timers = Timers()
    server, link = duplex_pair()
    connection = H2Connection(server, handler, ConnectionParams(**fields), timers, stall)
    caller = H2Caller(link, connection)

    async def serve() -> None:
        with caller.stop:
            await connection.serve()
        server.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)  # noqa: ASYNC113
        async with trio.open_nursery() as both:
            both.start_soon(serve)  # noqa: ASYNC113
            both.start_soon(caller.listen)  # noqa: ASYNC113
            if begin:
                await caller.begin()
            yield caller
            link.close()
            caller.hearing.set()
        nursery.cancel_scope.cancel()
    assert repr(connection).startswith("<H2Connection 0 streams")
