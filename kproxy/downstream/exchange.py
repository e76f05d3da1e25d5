"""One request and its response on one connection: what an API handler reads from and writes to.

States: WAITING (nothing sent), STARTED (the head of a stream has left), DONE (the response is
whole), ABORTED (it never will be; the connection ends). A handler that leaves an exchange in
WAITING or STARTED has a fault, and the connection ends it with an error.

What is here is HTTP/1.1: a response is bytes. Over HTTP/2 heads and ends are frames of their own,
and `h2_exchange.py` says what differs; handlers see no difference.
"""

import enum
import math
import os
from dataclasses import dataclass
from typing import Protocol

import trio

from kproxy.downstream.date import DateSource, no_date
from kproxy.downstream.respond import Answer, to_answer
from kproxy.errors import Rejected
from kproxy.ledger.trace import Trace
from kproxy.schema.receipt import Receipt
from kproxy.transport.duplex import Channel, Expired
from kproxy.wire.events import Data, EndOfMessage, Headers, ProtocolError, RequestEvent, RequestHead
from kproxy.wire.frame import CONTINUE, LAST_CHUNK, chunk, response_head
from kproxy.wire.names import REQUEST_ID, forwardable
from kproxy.wire.preconditions import unmet

__all__ = ["HEARTBEAT", "BodyLimits", "BodySource", "Exchange", "ExchangeState", "new_id"]

HEARTBEAT = b": waiting\n\n"
"""An event stream's comment: every client tried skips it."""

SKIP_BYTES = 262_144
"""Of an unwanted body, how much is taken to keep the connection (Go: as much)."""

UNTOLD = (204, 304)
"""Carry no Content-Length (RFC 9110 section 8.6)."""

OK, NOT_MODIFIED = 200, 304

CODING = b"content-encoding"


def new_id() -> str:
    """A name that no other request has."""
    return os.urandom(12).hex()


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bytes of a request body; seconds between two reads of it; seconds for the whole."""

    size: int = 33_554_432
    gap: float = 15.0
    total: float = 60.0


class ExchangeState(enum.Enum):
    """How far the response has come."""

    WAITING = "waiting"
    STARTED = "started"
    DONE = "done"
    ABORTED = "aborted"


class BodySource(Protocol):
    """Received bytes in, events of one request's body out: `RequestReader` is one."""

    @property
    def buffered(self) -> int:
        """How many received bytes have not been returned in an event."""
        ...

    def receive_data(self, data: bytes) -> None:
        """Take what a channel returned; b"" is its end."""

    def next_event(self) -> RequestEvent:
        """Raises ProtocolError."""
        ...


class Exchange:
    """One request being answered. The connection owns the link; the handler borrows it."""

    __slots__ = (
        "_bodiless",
        "_date",
        "_due",
        "_limits",
        "_reader",
        "_sent",
        "_unread",
        "account_id",
        "arrived",
        "head",
        "id",
        "keep_alive",
        "key_id",
        "link",
        "receipt",
        "received",
        "refused",
        "route",
        "state",
        "status",
        "trace",
        "verbatim",
    )  # fmt: skip

    def __init__(
        self,
        link: Channel,
        reader: BodySource,
        head: RequestHead,
        limits: BodyLimits,
        date: DateSource = no_date,
    ) -> None:
        self.link = link
        self.head = head
        self.arrived = trio.current_time()
        self.id = new_id()
        self.state = ExchangeState.WAITING
        self.status = 0
        self.route = "none"  # the handler's name for it, a bounded set
        self.account_id = self.key_id = ""  # whose request it is, once that is known
        self.refused = ""  # the code that the caller was told instead of an answer
        self.receipt: Receipt | None = None
        self.trace: Trace | None = None  # where requests are traced
        self.received = 0  # bytes of the request's body
        self._sent = link.sent  # before this response
        self.verbatim = not head.http_10  # a provider's chunks can go to the caller as they came
        self.keep_alive = head.keep_alive  # may turn False until the response's head is made
        self._reader = reader
        self._limits = limits
        self._date = date
        self._bodiless = head.method == b"HEAD"  # RFC 9110 section 9.3.2
        self._due = b""
        self._unread = True  # the end of the request has not been read

    @property
    def request_id(self) -> str:
        """The name of this exchange towards the caller and in logs."""
        return "req_" + self.id

    @property
    def protocol(self) -> bytes:
        """The version of HTTP by which the request came."""
        return b"1.0" if self.head.http_10 else b"1.1"

    @property
    def forwardable(self) -> Headers:
        """The fields that go to a provider with it."""
        return forwardable(self.head.headers, self.protocol)

    @property
    def sent(self) -> int:
        """Bytes of the response that the kernel has taken, the head included."""
        return self.link.sent - self._sent

    @property
    def chance(self) -> float:
        """A number from 0 to 1 that no other exchange has."""
        return int(self.id[:8], 16) / 2**32

    def __repr__(self) -> str:
        return f"<Exchange {self.request_id} {self.state.value} {self.status}>"

    @property
    def request_read(self) -> bool:
        """Whether the request has been read to its end, so that another may follow."""
        return not self._unread

    async def read_body(self) -> bytes:
        """The whole request body. Raises Rejected 408, 413 and 415, ProtocolError, Broken.

        `100 Continue` goes out first where the caller waits for it, and only if the announced
        length is within the limit (RFC 9110 section 10.1.1).
        """
        head, limits = self.head, self._limits
        if head.get(CODING) is not None and any(
            name == CODING and value.lower() not in (b"identity", b"")
            for name, value in head.headers
        ):
            raise _coded()
        if head.content_length is not None and head.content_length > limits.size:
            raise self._too_large()
        if head.expect_continue and self._reader.buffered == 0:
            await self._continue()
        whole = self.arrived + limits.total
        # One buffer, not a list of pieces: a piece of one byte would hold forty.
        body: bytes | bytearray = b""
        try:
            while True:
                event = self._reader.next_event()
                if isinstance(event, Data):
                    if len(body) + len(event.data) > limits.size:
                        raise self._too_large()
                    if not body:
                        body = event.data
                        continue
                    if isinstance(body, bytes):
                        body = bytearray(body)
                    body += event.data
                elif event is EndOfMessage.END:
                    self._unread = False
                    self.received = len(body)
                    return bytes(body)
                else:
                    self.link.deadline = min(whole, trio.current_time() + limits.gap)
                    await self._receive()
        finally:
            self.link.deadline = math.inf  # it timed the body, not the response

    async def _continue(self) -> None:
        await self.link.send_all(CONTINUE)

    async def _receive(self) -> None:
        try:
            self._reader.receive_data(await self.link.receive())
        except Expired:
            raise Rejected(
                408, "request_timeout", "The request body did not arrive in time.", close=True
            ) from None

    def _too_large(self) -> Rejected:
        limit = self._limits.size
        return Rejected(
            413, "request_too_large", f"The body is over the limit of {limit} bytes.", close=True
        )

    def skip_body(self) -> None:
        """Take the rest of a body that is here already; else the connection ends after this.

        Raises Broken. Waiting for it could take as long as the caller likes, and what is not taken
        must never be read as a request (RFC 9112 section 9.3).
        """
        left = SKIP_BYTES
        try:
            while self._unread:
                event = self._reader.next_event()
                if event is EndOfMessage.END:
                    self._unread = False
                elif not isinstance(event, Data):
                    here = self.link.receive_nowait() if left > 0 else None
                    if here is None:
                        self.keep_alive = False
                        return
                    left -= len(here)
                    self._reader.receive_data(here)
        except ProtocolError:
            self.keep_alive = False  # nobody wanted this body: its fault only ends the connection

    async def respond(self, answer: Answer) -> None:
        """Send a whole response. Raises Broken and Expired where the caller is gone or stuck."""
        assert self.state is ExchangeState.WAITING
        if answer.close:
            self.keep_alive = False
        elif self._unread:
            self.skip_body()
        if self.head.method != b"POST":  # which has no condition, see preconditions.py
            answer = self.conditional(answer)
        fields = list(answer.headers)
        if answer.status not in UNTOLD:
            fields.append((b"content-length", b"%d" % len(answer.body)))
        head = self._head(answer.status, fields)
        self.state = ExchangeState.DONE
        await self.link.send_all(head if self._bodiless else head + answer.body)

    def check_preconditions(self) -> None:
        """Before the target is changed, and after all else is seen to be good (RFC 9110 section
        13.2.1). Raises Rejected 412."""
        if self.is_unmet:
            raise _unmet()

    @property
    def is_unmet(self) -> bool:
        """Whether a target that is there must be left alone, by the request's preconditions."""
        return unmet(self.head) != 0

    def conditional(self, answer: Answer) -> Answer:
        """What a good answer to a GET becomes where its condition does not hold."""
        status = unmet(self.head) if answer.status == OK else 0
        if not status:
            return answer
        if status == NOT_MODIFIED:
            kept = [field for field in answer.headers if not field[0].startswith(b"content-")]
            return Answer(status, kept, b"")
        return to_answer(_unmet())

    def start(self, headers: Headers) -> bytes:
        """The head of a streamed 200, to be sent with its first bytes; the stream has begun.

        Raises ValueError for fields that cannot be sent; nothing has begun then.
        """
        assert self.state is ExchangeState.WAITING
        if self._unread:
            self.skip_body()
        if self.head.http_10:
            self.keep_alive = False
            head = self._head(200, headers)
        else:
            head = self._head(200, [*headers, (b"transfer-encoding", b"chunked")])
        self.state = ExchangeState.STARTED
        return head

    def frame(self, data: bytes) -> bytes:
        """Body bytes of a started stream, framed as its head said; none where HEAD asked."""
        if self._bodiless:
            return b""
        return data if self.head.http_10 else chunk(data)

    @property
    def ending(self) -> bytes:
        """What follows the last body bytes of a complete stream."""
        return b"" if self.head.http_10 or self._bodiless else LAST_CHUNK

    def beat(self, headers: Headers) -> None:
        """Show the caller that its stream is alive, without waiting: a head, then comments.

        What the kernel does not take at once is kept in front of the next bytes (`due`).
        """
        if self._due:
            return
        head = self.start(headers) if self.state is ExchangeState.WAITING else b""
        self.send_early(head + self.frame(HEARTBEAT))

    def send_early(self, data: bytes) -> None:
        """Send bytes of a started stream without waiting, behind those that are `due`. Raises
        Broken. What the kernel does not take is due next."""
        data = self.due() + data
        self._due = data[self.link.send_nowait(data) :] if data else b""

    def due(self) -> bytes:
        """Bytes sent early, not yet taken, that must go before anything else; once."""
        due, self._due = self._due, b""
        return due

    def complete(self) -> None:
        """The stream has been sent to its end."""
        self.state = ExchangeState.DONE

    def abort(self) -> None:
        """The response stays incomplete, and the connection says so by ending."""
        self.state = ExchangeState.ABORTED
        self.keep_alive = False

    def _head(self, status: int, headers: Headers) -> bytes:
        self.status = status
        fields = [*headers, (REQUEST_ID, self.request_id.encode("ascii")), *self._date()]
        if not self.keep_alive:
            fields.append((b"connection", b"close"))
        elif self.head.http_10:
            fields.append((b"connection", b"keep-alive"))
        return response_head(status, fields)


def _coded() -> Rejected:
    """RFC 9110 section 15.5.16: and what would be read instead."""
    rejected = Rejected(415, "unsupported_media_type", "The body must not be compressed.")
    rejected.headers = ((b"accept-encoding", b"identity"),)
    return rejected


def _unmet() -> Rejected:
    return Rejected(412, "precondition_failed", "Nothing here has an entity tag.")
