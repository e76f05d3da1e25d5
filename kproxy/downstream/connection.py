"""One caller's connection: requests in order, one exchange at a time, until either side ends it.

Who watches what: while a request is read, the reads see the caller leave. While it is answered
nobody reads, so the hub's edge does (`on_gone`), and cancels the scope of this connection: whatever
the handler waits for ends at that instant, and its own `finally` closes the provider's socket. The
edge is seen although pipelined bytes lie unread; one such byte has blinded a watcher elsewhere.

A caller that only ends its sending side counts as gone, because a generating model costs money;
`half_close` says otherwise for callers that need it.

Where we end a connection that the caller would have gone on using, or whose request was not read
to its end, the last response is followed by a bounded wait for the caller's bytes (`linger.py`).
Only a caller that asked for the end and has sent nothing more is closed at once.

A caller on a plain socket may begin with the preface of HTTP/2 instead ("prior knowledge", RFC 9113
section 3.3). The scan refuses it like any line of another version, so that it costs nobody else a
look; what was received is then given back.
"""

import math
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from kproxy.downstream.answering import CUT, FAREWELL, Handler, carry_out, refuse, tell_cut
from kproxy.downstream.date import DateSource, no_date
from kproxy.downstream.exchange import BodyLimits, Exchange, ExchangeState
from kproxy.downstream.linger import linger
from kproxy.transport.duplex import Broken, Duplex, Expired
from kproxy.wire.events import Closed, NeedData, ProtocolError, RequestHead
from kproxy.wire.frame import response_head
from kproxy.wire.h1 import RequestReader
from kproxy.wire.h2_events import H2Limits
from kproxy.wire.h2_frames import PREFACE
from kproxy.wire.limits import H1Limits

__all__ = ["Connection", "ConnectionParams"]


PRIOR_KNOWLEDGE = PREFACE.removesuffix(b"SM\r\n\r\n")
"""As much of the preface as looks like the head of a request."""


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
    h2: H2Limits = field(default_factory=H2Limits)
    body: BodyLimits = field(default_factory=BodyLimits)
    date: DateSource = no_date


class Connection:
    """The keep-alive loop over one link. `drain` asks it to end after the present exchange."""

    def __init__(
        self,
        link: Duplex,
        handler: Handler,
        params: ConnectionParams,
        *,
        prior_knowledge: bool = False,
    ) -> None:
        self._link = link
        self._prior_knowledge = prior_knowledge  # a preface is welcome
        self._preface = b""
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

    async def serve(self) -> bytes:
        """Answer requests until the connection ends; the caller of this closes the link.

        What was received of a connection that began with the preface of HTTP/2; else nothing.
        """
        with self._scope:
            try:
                while await self._serve_one():
                    pass
            except (Broken, Expired):
                pass  # the caller is gone, or takes nothing: there is nobody to tell
        if self._cut is not None:
            with suppress(Broken, Expired):
                await self._tell_cut(self._cut)
        return self._preface

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
            unread = b"" if self._served else self._reader.unread
            if self._prior_knowledge and unread.startswith(PRIOR_KNOWLEDGE):
                self._preface = unread
                self._link.deadline = math.inf
            else:
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
            if self._cut is not None:
                exchange.refused = exchange.refused or CUT
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
            await linger(self._link, cut=cut)
        return False

    async def _next_head(self) -> RequestHead | None:
        """The next request's head; None where there is none to come. Raises ProtocolError."""
        reader, link, params = self._reader, self._link, self._params
        timed, heard = reader.buffered > 0 or not self._served, False
        link.deadline = trio.current_time() + (params.head if timed else params.idle)
        if self._draining:
            link.deadline = trio.current_time()
        event = reader.next_event() if timed else NeedData.NEED_DATA
        while not isinstance(event, RequestHead):
            if event is Closed.CLOSED:
                return None
            self._idle = reader.buffered == 0
            if heard and not timed:
                timed = True
                link.deadline = trio.current_time() + params.head
            try:
                data = await link.receive()
            except Expired:
                if self._idle:
                    return None
                raise ProtocolError(408, "The request's head did not arrive in time.") from None
            finally:
                self._idle = False
            heard = True
            reader.receive_data(data)
            event = reader.next_event()
        link.deadline = math.inf
        return event

    async def _answer(self, exchange: Exchange) -> None:
        if not self._params.half_close:
            self._link.on_gone = self._scope.cancel
            # A caller may be gone already: then nothing is begun for it.
            await trio.lowlevel.checkpoint_if_cancelled()
        await carry_out(self._handler, exchange)

    async def _tell_cut(self, exchange: Exchange) -> None:
        link = self._link
        link.on_gone = None
        link.deadline = trio.current_time() + FAREWELL
        if await tell_cut(exchange):
            link.end(cut=exchange.state is ExchangeState.ABORTED)
            while await link.receive():
                pass  # closing over unread bytes could destroy what was said, see above

    async def _refuse(self, error: ProtocolError) -> None:
        """Answer bytes that are no request, and end: what follows them cannot be trusted."""
        answer, fields = refuse(self._handler, error, self._link.peer, self._params.date)
        fields.append((b"connection", b"close"))
        self._link.deadline = math.inf  # it timed the head, not the response
        await self._link.send_all(response_head(answer.status, fields) + answer.body)
        await linger(self._link)
