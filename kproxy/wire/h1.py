"""The server's side of an HTTP/1.1 connection: received bytes in, request events out.

Give `receive_data` what the socket gave, then ask `next_event` until it needs data. Each request
is one RequestHead, any number of Data, one EndOfMessage; bytes of the next request wait until it
is asked for. Rules of this file:

1. A head is searched for its end once: each search starts where the last one stopped.
2. The limits hold before the end has come; at most one head and one read are buffered.
3. A plain request is read here. One that is legal but not plain goes through `h1_general`, and so
   does every request with the engine "h11"; the events are the same.
4. After an error nothing more is read: where the next request would begin is unknown.

It knows no time-outs, no body limits, and writes nothing.
"""

from kproxy.wire.chunked import Body
from kproxy.wire.events import (
    Closed,
    Data,
    EndOfMessage,
    NeedData,
    ProtocolError,
    RequestEvent,
)
from kproxy.wire.fields import check_unfinished
from kproxy.wire.limits import H1Limits
from kproxy.wire.scan import scan_head

__all__ = ["ENGINES", "RequestReader"]

ENGINES = ("scan", "h11")


class RequestReader:
    """All requests of one connection, in order.

    `engine` is "scan", or "h11" to have h11 confirm every request and read every body.
    """

    __slots__ = (
        "_at", "_body", "_buffer", "_eof", "_error", "_everything", "_last", "_left", "_limits",
        "_open", "_searched", "_skipped",
    )  # fmt: skip

    def __init__(self, limits: H1Limits, *, engine: str = "scan") -> None:
        if engine not in ENGINES:
            raise ValueError(f"engine is one of {', '.join(ENGINES)}")
        self._limits = limits
        self._everything = engine == "h11"
        self._buffer: bytes | bytearray = b""
        self._at = 0  # where the unread bytes begin in the buffer
        self._searched = 0  # no head ends before this index
        self._skipped = False  # the empty line that may stand before a request
        self._open = False  # a head was returned, its end was not
        self._left = 0  # bytes of a plain body still to come
        self._body: Body | None = None  # a body that is not plain
        self._last = False  # the request said that it is the last one
        self._eof = False
        self._error: ProtocolError | None = None

    def __repr__(self) -> str:
        state = "failed" if self._error else "in a request" if self._open else "idle"
        return f"<RequestReader {state}, {self.buffered} buffered>"

    @property
    def buffered(self) -> int:
        """How many received bytes have not been returned in an event."""
        return len(self._buffer) - self._at

    @property
    def unread(self) -> bytes:
        """Those bytes."""
        return bytes(self._buffer[self._at :])

    def receive_data(self, data: bytes) -> None:
        """Take what a socket returned; b"" is the end of the connection."""
        if not data:
            self._eof = True
        elif self._at == len(self._buffer):
            self._buffer = data
            self._at = self._searched = 0
        else:
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            self._compact(self._buffer)
            self._buffer += data

    def _compact(self, buffer: bytearray) -> None:
        del buffer[: self._at]
        self._searched = max(0, self._searched - self._at)
        self._at = 0

    def next_event(self) -> RequestEvent:
        """What the received bytes say next.

        Raises ProtocolError: 400 and others for a request that must be refused, and when the peer
        ends inside of a message. From then on every call raises it again.
        """
        if self._error is not None:
            raise self._error
        try:
            if not self._open:
                return self._next_head()
            if self._left:
                return self._next_plain_data()
            if self._body is not None:
                return self._next_general_data(self._body)
        except ProtocolError as error:
            self._error = error
            raise
        self._open = False
        return EndOfMessage.END

    def _next_head(self) -> RequestEvent:
        if self._last:
            return Closed.CLOSED
        buffer = self._buffer
        if buffer.startswith(b"\r", self._at):
            self._skip_empty_line()
        end = buffer.find(b"\r\n\r\n", max(self._at, self._searched))
        if end < 0:
            return self._unfinished_head()
        wire = bytes(buffer[self._at : end + 4])
        head, plain = scan_head(wire, self._limits)
        if not plain or self._everything:
            from kproxy.wire.h1_general import GeneralBody  # the first one waits 4 ms for h11

            self._body = GeneralBody(wire, head, self._limits)
        else:
            self._left = head.content_length or 0
        self._at = self._searched = end + 4
        self._open = True
        self._skipped = False
        self._last = not head.keep_alive
        return head

    def _skip_empty_line(self) -> None:
        """RFC 9112 section 2.2: one empty line before the request line is ignored; more are not."""
        if self._skipped:
            raise ProtocolError(400, "There are empty lines where a request should begin.")
        if self._buffer.startswith(b"\r\n", self._at):
            self._at += 2
            self._searched = self._at
            self._skipped = True

    def _unfinished_head(self) -> NeedData | Closed:
        buffer, limits = self._buffer, self._limits
        size = len(buffer) - self._at
        if self._eof:
            if size:
                raise ProtocolError(400, "The connection ended inside of a request's head.")
            return Closed.CLOSED
        if size:
            line_end = limits.request_line + 2
            if size >= line_end and buffer.find(b"\r\n", self._at, self._at + line_end) < 0:
                raise ProtocolError(414, f"The request line is over {limits.request_line} bytes.")
            if size >= limits.head:
                raise ProtocolError(431, f"The header fields are over {limits.fields} bytes.")
            # The part that was searched before was checked before; a CR at its end was not.
            check_unfinished(buffer, max(self._at, self._searched))
            self._searched = max(self._at, len(buffer) - 3)
        return NeedData.NEED_DATA

    def _next_plain_data(self) -> Data | NeedData:
        start = self._at
        size = len(self._buffer) - start
        if not size:
            if self._eof:
                raise ProtocolError(400, f"The body ended {self._left} bytes early.")
            return NeedData.NEED_DATA
        if size <= self._left:
            data = bytes(self._buffer[start:])  # no copy when it is all there is
            self._buffer = b""
            self._at = self._searched = 0
        else:
            self._at = self._searched = start + self._left
            data = bytes(self._buffer[start : self._at])
        self._left -= len(data)
        return Data(data)

    def _next_general_data(self, body: Body) -> Data | EndOfMessage | NeedData:
        if not body.complete:
            data = bytes(self._buffer[self._at :])
            if not data:
                if self._eof:
                    body.eof()
                return NeedData.NEED_DATA
            self._buffer = b""
            self._at = self._searched = 0
            payload = body.feed(data)
            self._buffer = body.excess
            if payload:
                return Data(payload)
            if not body.complete:
                return self._next_general_data(body)  # says whether the peer has ended
        self._body = None
        self._open = False
        return EndOfMessage.END
