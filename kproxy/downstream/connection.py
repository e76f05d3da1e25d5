"""One caller's connection: requests in order, one exchange at a time, until either side ends it.

Who watches what: while a request is read, the reads see the caller leave. While it is answered
nobody reads, so the hub's edge does (`on_gone`), and cancels the scope of this connection: whatever
the handler waits for ends at that instant, and its own `finally` closes the provider's socket. The
edge is seen although pipelined bytes lie unread; one such byte has blinded a watcher elsewhere.

A caller that only ends its sending side counts as gone, because a generating model costs money;
`half_close` says otherwise for callers that need it.

Where we end a connection that the caller would have gone on using, or whose request was not read
to its end, the last response is followed by a bounded wait for the caller's bytes: closing at once
would let the kernel answer them with a reset, which can destroy the response on its way (RFC 9112
section 9.6). Only a caller that asked for the end and has sent nothing more is closed at once.
"""

import logging
import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import trio

from kproxy.downstream.date import DateSource, no_date
from kproxy.downstream.exchange import BodyLimits, Exchange, ExchangeState, new_id
from kproxy.downstream.respond import error_event, to_answer
from kproxy.errors import Rejected
from kproxy.transport.duplex import Broken, Duplex, Expired
from kproxy.wire.events import Closed, Headers, ProtocolError, RequestHead
from kproxy.wire.frame import response_head
from kproxy.wire.h1 import RequestReader
from kproxy.wire.limits import H1Limits
from kproxy.wire.names import REQUEST_ID

__all__ = ["FAREWELL", "Connection", "ConnectionParams", "Handler"]


class Handler(Protocol):
    """What answers exchanges."""

    async def answer(self, exchange: Exchange) -> None:
        """Read from and respond on `exchange`; what it raises is turned into the response."""
        ...

    def ended(self, exchange: Exchange) -> None:
        """The exchange is over, whatever its end; synchronous, so that nothing can skip it."""
        ...


LINGER = 2.0
"""Seconds of silence after which a caller's unread bytes are waited for no more (nginx: 5)."""

LINGER_TOTAL = 30.0
"""Seconds for all of them (nginx: the same)."""

LINGER_BYTES = 67_108_864
"""Twice the largest body: who sends more is not sending the body that was refused."""

INTERNAL = 500

FAREWELL = 1.0
"""Seconds in which the caller of an answer that is cut can be told so, and take it."""

log = logging.getLogger("kproxy.connection")


@dataclass(frozen=True, slots=True)
class ConnectionParams:
    """Limits of one caller's connection; times in seconds.

    `head`: from the first byte of a request to the end of its head, of the first request from the
    accept. `idle`: between requests. `half_close`: answer a caller that has ended its sending side.
    `engine`: "scan" or "h11", see wire/h1.py. `date`: writes the Date field.
    """

    head: float = 10.0
    idle: float = 60.0
    half_close: bool = False
    engine: str = "scan"
    h1: H1Limits = field(default_factory=H1Limits)
    body: BodyLimits = field(default_factory=BodyLimits)
    date: DateSource = no_date


class Connection:
    """The keep-alive loop over one link. `drain` asks it to end after the present exchange."""

    def __init__(self, link: Duplex, handler: Handler, params: ConnectionParams) -> None:
        self._link = link
        self._handler = handler
        self._params = params
        self._reader = RequestReader(params.h1, engine=params.engine)
        self._exchange: Exchange | None = None  # the one that is being answered
        self._idle = False  # waiting, and no byte of a next request has come
        self._served = 0
        self._scope = trio.CancelScope()
        self._draining = False
        self._cut: Exchange | None = None

    def __repr__(self) -> str:
        state = "idle" if self._idle else "reading or ending"
        return f"<Connection {self._exchange or state}, {self._served} served>"

    async def serve(self) -> None:
        """Answer requests until the connection ends; the caller of this closes the link."""
        with self._scope:
            try:
                while await self._serve_one():
                    pass
            except (Broken, Expired):
                pass  # the caller is gone, or takes nothing: there is nobody to tell
        if self._cut is not None:
            with suppress(Broken, Expired):
                await self._tell_cut(self._cut)

    def cut(self) -> None:
        """End now; whose answer is not whole is told so, within `FAREWELL` seconds."""
        self._draining = True
        self._cut = self._exchange
        self._scope.cancel()

    def drain(self) -> None:
        """End after the present exchange, or now where no request has begun."""
        self._draining = True
        if self._exchange is not None:
            self._exchange.keep_alive = False
        elif self._idle:
            # Not a cancellation: a request that has just woken the task would be cut by it.
            self._link.deadline = trio.current_time()

    async def _serve_one(self) -> bool:
        """One request and its response: may another follow."""
        try:
            head = await self._next_head()
        except ProtocolError as error:
            await self._refuse(error)
            return False
        if head is None:
            self._link.end()
            return False
        params = self._params
        exchange = Exchange(self._link, self._reader, head, params.body, params.date)
        exchange.keep_alive = head.keep_alive and not self._draining
        self._exchange = exchange
        try:
            await self._answer(exchange)
        finally:
            self._exchange = None
            self._handler.ended(exchange)
            self._link.on_gone = None
            self._link.deadline = math.inf
        self._served += 1
        if exchange.keep_alive and exchange.request_read:
            return True
        read = exchange.request_read and not self._reader.buffered
        cut = exchange.state is ExchangeState.ABORTED
        if (
            head.keep_alive
            or not read
            or self._link.receive_nowait()
            or not self._link.end(cut=cut)
        ):
            await self._linger(cut=cut)
        return False

    async def _next_head(self) -> RequestHead | None:
        """The next request's head; None where there is none to come. Raises ProtocolError."""
        reader, link, params = self._reader, self._link, self._params
        timed = reader.buffered > 0 or not self._served
        link.deadline = trio.current_time() + (params.head if timed else params.idle)
        if self._draining:
            link.deadline = trio.current_time()
        while True:
            event = reader.next_event()
            if isinstance(event, RequestHead):
                link.deadline = math.inf
                return event
            if event is Closed.CLOSED:
                return None
            self._idle = reader.buffered == 0
            try:
                data = await link.receive()
            except Expired:
                if self._idle:
                    return None
                raise ProtocolError(408, "The request's head did not arrive in time.") from None
            finally:
                self._idle = False
            if not timed:
                timed = True
                link.deadline = trio.current_time() + params.head
            reader.receive_data(data)

    async def _answer(self, exchange: Exchange) -> None:
        if not self._params.half_close:
            self._link.on_gone = self._scope.cancel
            # A caller may be gone already: then nothing is begun for it.
            await trio.lowlevel.checkpoint_if_cancelled()
        try:
            await self._handler.answer(exchange)
            if exchange.state in (ExchangeState.WAITING, ExchangeState.STARTED):
                raise RuntimeError(f"left unanswered: {exchange!r}")
        except Exception as error:
            if isinstance(error, Broken | Expired) and error.link is self._link:
                raise
            await self._fail(exchange, error)

    async def _fail(self, exchange: Exchange, error: Exception) -> None:
        answer = to_answer(error)
        exchange.refused = answer.code
        if answer.status == INTERNAL:
            log.error("request %s failed", exchange.request_id, exc_info=error)
        await trio.lowlevel.checkpoint_if_cancelled()  # its body was cut because the caller left
        if exchange.state is ExchangeState.WAITING:
            await exchange.respond(answer)
        elif exchange.state is ExchangeState.STARTED:
            exchange.abort()
            await self._link.send_all(exchange.due() + exchange.frame(error_event(error)))

    async def _tell_cut(self, exchange: Exchange) -> None:
        """A refusal where nothing has left, an error event in a stream; nothing else can be said
        without being taken for a part of the answer."""
        link = self._link
        link.on_gone = None
        link.deadline = trio.current_time() + FAREWELL
        error = Rejected(503, "shutting_down", "The server is shutting down.", close=True)
        error.headers = ((b"retry-after", b"1"),)
        if link.torn:
            return
        if exchange.state is ExchangeState.WAITING:
            await exchange.respond(to_answer(error))
        elif exchange.state is ExchangeState.STARTED:
            exchange.abort()
            await link.send_all(exchange.due() + exchange.frame(error_event(error)))
        link.end(cut=exchange.state is ExchangeState.ABORTED)
        while await link.receive():
            pass  # closing over unread bytes could destroy what was said, see above

    async def _refuse(self, error: ProtocolError) -> None:
        """Answer bytes that are no request, and end: what follows them cannot be trusted."""
        answer = to_answer(error)
        fields: Headers = [
            *answer.headers,
            (b"content-length", b"%d" % len(answer.body)),
            (REQUEST_ID, b"req_" + new_id().encode("ascii")),
            *self._params.date(),
            (b"connection", b"close"),
        ]
        self._link.deadline = math.inf  # it timed the head, not the response
        await self._link.send_all(response_head(answer.status, fields) + answer.body)
        await self._linger()

    async def _linger(self, *, cut: bool = False) -> None:
        """End our side, then take what the caller still sends, within bounds."""
        link = self._link
        link.end(cut=cut)
        last = trio.current_time() + LINGER_TOTAL
        taken = 0
        while taken < LINGER_BYTES:
            link.deadline = min(last, trio.current_time() + LINGER)
            data = await link.receive()
            if not data:
                return
            taken += len(data)
