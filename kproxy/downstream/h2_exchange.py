"""One request and its response on a stream of HTTP/2: an `Exchange` whose framing is not its own.

Over HTTP/1.1 a head, a chunk and an end are bytes that a relay joins to what it sends. Here heads
and ends are frames, so those bytes are empty: the head is handed over when it is made, ahead of
whatever is sent next, and the end when the exchange is complete. Body bytes are sent as they are.
"""

from typing import Protocol

from kproxy.downstream.date import DateSource
from kproxy.downstream.exchange import UNTOLD, BodyLimits, Exchange, ExchangeState
from kproxy.downstream.h2_stream import H2Stream
from kproxy.downstream.respond import Answer
from kproxy.wire.events import Data, EndOfMessage, Headers, NeedData, RequestEvent, RequestHead
from kproxy.wire.names import REQUEST_ID

__all__ = ["Framing", "H2Exchange"]

CONTINUE = 100


class Framing(Protocol):
    """How a stream's own frames are sent: the connection. None of it waits."""

    def send_head(self, stream: H2Stream, status: int, headers: Headers, *, last: bool) -> None:
        """Put a head in front of what is sent next. Raises ValueError for what cannot be sent, and
        Broken."""

    def send_end(self, stream: H2Stream) -> None:
        """Send the end of the response."""


class _Source:
    """The body of a stream, which the connection has cut out of its frames."""

    __slots__ = ("_data", "_over")

    def __init__(self) -> None:
        self._data = b""
        self._over = False

    @property
    def buffered(self) -> int:
        return len(self._data)

    def receive_data(self, data: bytes) -> None:
        """At most one piece is kept: it is asked for before the next is received."""
        self._data += data
        self._over = self._over or not data

    def next_event(self) -> RequestEvent:
        if self._data:
            data, self._data = self._data, b""
            return Data(data)
        return EndOfMessage.END if self._over else NeedData.NEED_DATA


class H2Exchange(Exchange):
    """See the module. `date` as for `Exchange`."""

    __slots__ = ("_framing", "_stream")

    def __init__(
        self,
        stream: H2Stream,
        framing: Framing,
        head: RequestHead,
        limits: BodyLimits,
        date: DateSource,
    ) -> None:
        super().__init__(stream, _Source(), head, limits, date)
        self.verbatim = False
        self._stream = stream
        self._framing = framing

    @property
    def protocol(self) -> bytes:
        """See `Exchange.protocol`."""
        return b"2"

    def frame(self, data: bytes) -> bytes:
        """The bytes themselves; none where HEAD asked."""
        return b"" if self._bodiless else data

    @property
    def ending(self) -> bytes:
        """Nothing: `complete` ends the stream."""
        return b""

    def skip_body(self) -> None:
        """Nothing: a body that nobody reads holds up its own stream alone, and ends with it."""

    def start(self, headers: Headers) -> bytes:
        """See `Exchange.start`. The head is on its way, and in no bytes."""
        assert self.state is ExchangeState.WAITING
        self._send_head(200, headers, last=False)
        self.state = ExchangeState.STARTED
        return b""

    async def respond(self, answer: Answer) -> None:
        """See `Exchange.respond`."""
        assert self.state is ExchangeState.WAITING
        answer = self.conditional(answer)
        fields = list(answer.headers)
        if answer.status not in UNTOLD:
            fields.append((b"content-length", b"%d" % len(answer.body)))
        body = b"" if self._bodiless else answer.body
        self._send_head(answer.status, fields, last=not body)
        self.state = ExchangeState.DONE
        await self.link.send_all(body)
        if body:
            self._framing.send_end(self._stream)

    def complete(self) -> None:
        """See `Exchange.complete`."""
        super().complete()
        self._framing.send_end(self._stream)

    def _send_head(self, status: int, headers: Headers, *, last: bool) -> None:
        fields = [*headers, (REQUEST_ID, self.request_id.encode("ascii")), *self._date()]
        self._framing.send_head(self._stream, status, fields, last=last)
        self.status = status

    async def _continue(self) -> None:
        self._framing.send_head(self._stream, CONTINUE, [], last=False)
        await self.link.send_all(b"")
