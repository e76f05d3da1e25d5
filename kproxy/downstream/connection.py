"""One caller's connection: requests in order, one exchange at a time, until either side ends it.

Who watches what: while a request is read, the reads see the caller leave. While it is answered
nobody reads, so the hub's edge does (`on_gone`), and cancels the scope of this connection: whatever
the handler waits for ends at that instant, and its own `finally` closes the provider's socket. The
edge is seen although pipelined bytes lie unread; one such byte has blinded a watcher elsewhere.

A caller that only ends its sending side counts as gone, because a generating model costs money;
`half_close` says otherwise for callers that need it.

A response to a request that was not read to its end is followed by a short, bounded wait for the
caller's bytes: closing at once would let the kernel answer them with a reset, which can destroy the
response on its way (RFC 9112 section 9.6).
"""

import logging
import math
from dataclasses import dataclass, field
from typing import Protocol

import trio

from kproxy.downstream.exchange import BodyLimits, Exchange, ExchangeState
from kproxy.downstream.respond import error_event, to_answer
from kproxy.errors import KproxyError
from kproxy.transport.duplex import Broken, Duplex, Expired
from kproxy.wire.events import Closed, Headers, ProtocolError, RequestHead
from kproxy.wire.frame import response_head
from kproxy.wire.h1 import RequestReader
from kproxy.wire.limits import H1Limits

__all__ = ["Connection", "ConnectionParams", "Handler"]

class Handler(Protocol):
    """What answers exchanges."""

    async def answer(self, exchange: Exchange) -> None:
        """Read from and respond on `exchange`; what it raises is turned into the response."""
        ...

    def ended(self, exchange: Exchange) -> None:
        """The exchange is over, whatever its end; synchronous, so that nothing can skip it."""
        ...


LINGER = 2.0
"""Seconds to take a caller's unread bytes after the last response (nginx: 5 s at most)."""

LINGER_BYTES = 1_048_576

log = logging.getLogger("kproxy.connection")


@dataclass(frozen=True, slots=True)
class ConnectionParams:
    """Limits of one caller's connection; times in seconds.

    `head`: from the first byte of a request to the end of its head. `idle`: between requests.
    `half_close`: answer a caller that has
    ended its sending side. `engine`: "scan" or "h11", see wire/h1.py.
    """

    head: float = 10.0
    idle: float = 60.0
    half_close: bool = False
    engine: str = "scan"
    h1: H1Limits = field(default_factory=H1Limits)
    body: BodyLimits = field(default_factory=BodyLimits)


class Connection:
    """The keep-alive loop over one link. `draining` asks it to end after the present exchange."""

    def __init__(self, link: Duplex, handler: Handler, params: ConnectionParams) -> None:
        self._link = link
        self._handler = handler
        self._params = params
        self._reader = RequestReader(params.h1, engine=params.engine)
        self._busy = False
        self._served = 0
        self._scope = trio.CancelScope()
        self.draining = False

    def __repr__(self) -> str:
        return f"<Connection {'busy' if self._busy else 'idle'} {self._served} served>"

    async def serve(self) -> None:
        """Answer requests until the connection ends; the caller of this closes the link."""
        with self._scope:
            try:
                while await self._serve_one():
                    pass
            except (Broken, Expired):
                pass  # the caller is gone, or takes nothing: there is nobody to tell

    def drain(self) -> None:
        """End after the present exchange, or now when there is none."""
        self.draining = True
        if not self._busy:
            self._scope.cancel()

    async def _serve_one(self) -> bool:
        try:
            head = await self._next_head()
        except ProtocolError as error:
            await self._refuse(error)
            return False
        if head is None:
            return False
        exchange = Exchange(self._link, self._reader, head, self._params.body)
        self._busy = True
        try:
            await self._answer(exchange)
        finally:
            self._busy = False
            self._handler.ended(exchange)
            self._link.on_gone = None
            self._link.deadline = math.inf
        self._served += 1
        if exchange.state is ExchangeState.ABORTED:
            return False
        if not exchange.request_read:
            await self._linger()
            return False
        return exchange.keep_alive and not self.draining

    async def _next_head(self) -> RequestHead | None:
        """The next request's head; None when the caller has ended. Raises ProtocolError."""
        reader, link, params = self._reader, self._link, self._params
        started = reader.buffered > 0 or not self._served
        link.deadline = trio.current_time() + (params.head if started else params.idle)
        while True:
            event = reader.next_event()
            if isinstance(event, RequestHead):
                link.deadline = math.inf
                return event
            if event is Closed.CLOSED:
                return None
            try:
                data = await link.receive()
            except Expired:
                if reader.buffered == 0:
                    return None
                raise ProtocolError(408, "The request's head did not arrive in time.") from None
            if not started:
                started = True
                link.deadline = trio.current_time() + params.head
            reader.receive_data(data)

    async def _answer(self, exchange: Exchange) -> None:
        if not self._params.half_close:
            self._link.on_gone = self._scope.cancel
        try:
            await self._handler.answer(exchange)
            if exchange.state in (ExchangeState.WAITING, ExchangeState.STARTED):
                raise RuntimeError(f"left unanswered: {exchange!r}")
        except (Broken, Expired):
            raise
        except Exception as error:
            if not isinstance(error, KproxyError | ProtocolError):
                log.exception("request %s failed", exchange.request_id)
            await self._fail(exchange, error)

    async def _fail(self, exchange: Exchange, error: Exception) -> None:
        if exchange.state is ExchangeState.WAITING:
            if isinstance(error, ProtocolError):
                exchange.keep_alive = False
            await exchange.respond(to_answer(error))
        elif exchange.state is ExchangeState.STARTED:
            exchange.abort()
            await self._link.send_all(exchange.due() + exchange.frame(error_event(error)))

    async def _refuse(self, error: ProtocolError) -> None:
        """Answer bytes that are no request, and end: what follows them cannot be trusted."""
        answer = to_answer(error)
        fields: Headers = [
            *answer.headers,
            (b"content-length", b"%d" % len(answer.body)),
            (b"connection", b"close"),
        ]
        await self._link.send_all(response_head(answer.status, fields) + answer.body)
        await self._linger()

    async def _linger(self) -> None:
        link = self._link
        link.on_gone = None
        link.end()
        link.deadline = trio.current_time() + LINGER
        taken = 0
        while taken < LINGER_BYTES:
            data = await link.receive()
            if not data:
                return
            taken += len(data)
