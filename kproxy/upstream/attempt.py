"""One attempt at one provider: connect, send, head, then the whole body or the first token.

The attempt owns its lease from `open` to `finish` or `close`, both synchronous and idempotent, so
that a cancelled owner returns the slot and closes the socket in its `finally` without waiting.
Every way it can fail before the commit point leaves as one `Fault`, mapped here.

A kept connection may have been closed by the provider in the instant we wrote to it. Where it ended
at once and before a single byte from the provider, the request goes once more on a fresh
connection: it was closed idle, nobody answered. Where it ended later, or the provider has spoken,
as by the reset of a stream of HTTP/2, it may have worked on the request, and that is a fault like
any other. A request that the provider says it has not looked at, which HTTP/2 can tell, goes once
more as well.

A provider may answer before it has read the whole request, and close (413 above all). So a request
that could not be sent is not the end: what was said meanwhile is read first.
"""

import math
from dataclasses import dataclass, field

import msgspec
import trio

from kproxy.errors import Fault, FaultKind, Rejected
from kproxy.routing.plan import Timeouts
from kproxy.transport.duplex import Broken, Carrier, Expired
from kproxy.transport.pool import Lease
from kproxy.upstream.endpoint import Endpoint
from kproxy.wire.chunked import Body
from kproxy.wire.events import ProtocolError, ResponseHead
from kproxy.wire.response import ResponseReader

__all__ = ["ERROR_BODY", "STALE", "Attempt", "AttemptTimes", "Timing"]

STALE = 1.0
"""Seconds after the request within which the end of a kept connection means that it was stale."""

ERROR_BODY = 65_536
"""Bytes of a provider's error body that are read; the rest costs the connection."""


class Timing(msgspec.Struct, frozen=True):
    """When one attempt starts, its absolute deadlines, and the longest silence inside an answer in
    seconds."""

    started: float
    total: float
    first: float
    gap: float

    @property
    def given(self) -> Timeouts:
        """The same as durations; at least a nanosecond."""
        least, started = 1e-9, self.started
        return Timeouts(
            max(least, self.total - started), max(least, self.first - started), self.gap
        )


@dataclass(slots=True)
class AttemptTimes:
    """When things happened, on trio's clock. `queued`: seconds until a connection was free."""

    started: float
    queued: float = 0.0
    connected: float = math.nan
    head: float = math.nan
    first_token: float | None = None


@dataclass(slots=True)
class _Answer:
    head: ResponseHead
    body: Body
    rest: bytes = field(repr=False)


class Attempt:
    """One request to one endpoint. Opened once; ended once by `finish` or `close`."""

    __slots__ = (
        "_answer", "_lease", "accepted", "endpoint", "model", "sent", "times", "timing",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, model: str, timing: Timing) -> None:
        self.endpoint = endpoint
        self.model = model
        self.timing = timing
        self.times = AttemptTimes(timing.started)
        self.accepted = False  # a 200 has come: from here on it may be billed
        self.sent = False  # the provider has the whole request, and may be working on it
        self._lease: Lease | None = None
        self._answer: _Answer | None = None

    def __repr__(self) -> str:
        state = "idle" if self._lease is None else "sent" if self._answer is None else "answered"
        return f"<Attempt {self.endpoint.provider}/{self.model} {state}>"

    @property
    def link(self) -> Carrier:
        """The open connection. Only between `open` and the end."""
        assert self._lease is not None
        return self._lease.link

    @property
    def body(self) -> Body:
        """The reader of the answer's body."""
        assert self._answer is not None
        return self._answer.body

    @property
    def status(self) -> int:
        """Of the answer; 0: none has come."""
        return 0 if self._answer is None else self._answer.head.status

    @property
    def content_type(self) -> bytes:
        """The media type of the answer, lower case, without parameters; b"": it did not say."""
        assert self._answer is not None
        said = self._answer.head.get(b"content-type") or b""
        return said.partition(b";")[0].strip().lower()

    async def open(self, request: bytes) -> None:
        """Connect, send, and read the head of a 200. Raises Fault and Rejected.

        `Rejected` is the provider's word on the caller's content: not to be tried elsewhere.
        """
        answer = await self._exchange(request, fresh=False)
        if answer is None:
            answer = await self._exchange(request, fresh=True)
        assert answer is not None
        self._answer = answer
        self.times.head = trio.current_time()
        if answer.head.status != 200:
            raise await self._refusal(answer)
        self.accepted = True
        if answer.head.get(b"content-encoding") not in (None, b"identity"):
            raise Fault(FaultKind.BAD_BODY, "a content coding that was not asked for")

    async def _exchange(self, request: bytes, *, fresh: bool) -> _Answer | None:
        """Send on one connection; None where a kept one turned out to be closed."""
        pool, timing = self.endpoint.pool, self.timing
        lease = await pool.acquire(min(timing.total, timing.first), fresh=fresh)
        self._lease = lease
        self.times.queued = lease.queued
        self.times.connected = trio.current_time()
        link = lease.link
        link.deadline = min(timing.total, timing.first)
        reader = ResponseReader(self.endpoint.h1)
        heard = sent = False
        begun = self.times.connected
        try:
            try:
                await link.send_all(request)
                sent = self.sent = True
            except Broken:  # what was said meanwhile is read first
                pass
            head = None
            while head is None:
                data = await link.receive()
                if not data:
                    raise EOFError("closed before an answer")
                heard = True
                reader.receive_data(data)
                head = reader.next_head(b"POST")
        except (Broken, EOFError, ProtocolError) as error:
            self.close()
            untouched = isinstance(error, Broken) and error.untouched
            self.sent = self.sent and not untouched
            at_once = trio.current_time() - begun <= STALE
            stale = lease.reused and at_once and not link.spoken
            if not (fresh or heard) and (stale or untouched):
                return None
            raise _unanswered(error) from error
        except Expired as error:
            self.close()
            raise self._late() from error
        assert reader.body is not None
        head.keep_alive = head.keep_alive and sent
        return _Answer(head, reader.body, reader.rest)

    def _late(self) -> Fault:
        if trio.current_time() >= self.timing.total:
            return Fault(FaultKind.TOTAL_TIMEOUT, "no answer within the request's deadline")
        return Fault(FaultKind.FIRST_TOKEN_TIMEOUT, "no first token in time")

    async def _refusal(self, answer: _Answer) -> Fault | Rejected:
        """The error for a status other than 200; the connection is kept where that is cheap."""
        status = answer.head.status
        body = b""
        try:
            body = await self._read(answer, ERROR_BODY)
            self.finish()
        except Fault:
            self.close()
        body = self.endpoint.without_key(body)  # some providers quote the key they refuse
        return self.endpoint.dialect.read_error(status, answer.head.get, body)

    async def read_whole(self) -> bytes:
        """The answer's body. Raises Fault; the caller of this ends the attempt."""
        assert self._answer is not None
        return await self._read(self._answer, self.endpoint.limits.body)

    async def _read(self, answer: _Answer, limit: int) -> bytes:
        if (answer.head.content_length or 0) > limit:
            raise Fault(FaultKind.TOO_LARGE, "the answer is over the limit")
        link, timing = self.link, self.timing
        until = min(timing.total, timing.first)  # a stream's refusal is no token, a whole has both
        pieces: list[bytes] = []
        size = 0
        try:
            data = answer.rest
            while True:
                if data:
                    pieces.append(answer.body.feed(data))
                    size += len(pieces[-1])
                if size > limit:
                    raise Fault(FaultKind.TOO_LARGE, "the answer is over the limit")
                if answer.body.complete:
                    break
                link.deadline = min(until, trio.current_time() + timing.gap)
                data = await link.receive()
                if not data:
                    break
        except ProtocolError as error:
            raise Fault(FaultKind.BAD_FRAMING, f"bad body: {error.message.rstrip('.')}") from error
        except Broken as error:
            raise Fault(error.kind, "the connection broke inside the answer") from error
        except Expired as error:
            raise self.silence() from error
        try:
            answer.body.eof()
        except ProtocolError as error:
            raise Fault(FaultKind.CLOSED_EARLY, f"cut body: {error.message.rstrip('.')}") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def silence(self) -> Fault:
        """What a deadline that passed inside the answer means: the whole's, or a gap."""
        now, timing = trio.current_time(), self.timing
        if now >= timing.total:
            return Fault(FaultKind.TOTAL_TIMEOUT, "the answer did not end in time")
        if now >= timing.first and self.times.first_token is None:
            return Fault(FaultKind.FIRST_TOKEN_TIMEOUT, "no answer within its share of the time")
        return Fault(FaultKind.GAP_TIMEOUT, "silence inside the answer")

    async def next_piece(self) -> bytes:
        """Bytes of the body before the first token; b"" at its end. Raises Fault."""
        assert self._answer is not None
        if rest := self._answer.rest:
            self._answer.rest = b""
            return rest
        try:
            return await self.link.receive()
        except Broken as error:
            raise Fault(error.kind, "the connection broke before a token") from error
        except Expired as error:
            raise self._late() from error

    def finish(self) -> None:
        """The answer is complete: the connection may be kept."""
        lease, self._lease = self._lease, None
        if lease is not None:
            assert self._answer is not None
            lease.finish(self._answer.body, self._answer.head.keep_alive)

    def close(self) -> None:
        """Whatever is still open is closed, and the slot returned. Idempotent."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.close()


def _unanswered(error: Broken | EOFError | ProtocolError) -> Fault:
    """The end of a connection on which no head came."""
    if isinstance(error, ProtocolError):
        return Fault(FaultKind.BAD_FRAMING, f"not an HTTP answer: {error.message.rstrip('.')}")
    if isinstance(error, EOFError):
        return Fault(FaultKind.CLOSED_EARLY, "the connection was closed before an answer")
    return Fault(error.kind, "the connection broke before an answer")
