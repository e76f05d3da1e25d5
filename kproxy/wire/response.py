"""A provider's answer to one request: received bytes in, its final head and its body out.

As strict as the request side, for the same reason: a connection to a provider is used again, and
a body that ends elsewhere than we think hands one caller's answer to the next. What a request
reader answers with 400 or 431 is a fault of the provider here, so every error is a 502.
"""

import re

from kproxy.wire.chunked import Body, ChunkedBody, CloseBody, LengthBody
from kproxy.wire.events import ProtocolError, ResponseHead
from kproxy.wire.fields import (
    check_sizes,
    check_unfinished,
    combine,
    keeps_alive,
    read_fields,
    split_lines,
)
from kproxy.wire.limits import H1Limits
from kproxy.wire.scan import read_length

__all__ = ["ResponseReader"]

# RFC 9112 section 4; the reason may be absent, with its space or without.
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [\t -~\x80-\xff]*)?")

_MOST_INFORMATIONAL = 8
"""1xx heads before the final one. Go's client allows 5, and hints are all that providers send."""


class ResponseReader:
    """The answer to one request: `next_head` until there is one, then `body` and `rest`.

    `body` is how the body ends, `rest` are bytes of it that came with the head; whoever reads the
    body feeds it `rest` first. The connection may be used again if the head says `keep_alive`,
    the body is complete, and nothing came behind it.
    """

    __slots__ = ("_buffer", "_informational", "_limits", "_searched", "body", "rest")

    def __init__(self, limits: H1Limits) -> None:
        self._limits = limits
        self._buffer: bytes | bytearray = b""
        self._searched = 0
        self._informational = 0
        self.body: Body | None = None
        self.rest = b""

    def __repr__(self) -> str:
        return f"<ResponseReader {self.body!r}>"

    def receive_data(self, data: bytes) -> None:
        """Take what a socket returned, until the head is there; then feed `body`."""
        assert self.body is None
        if not self._buffer:
            self._buffer = data
        else:
            if isinstance(self._buffer, bytes):
                self._buffer = bytearray(self._buffer)
            self._buffer += data

    def next_head(self, method: bytes) -> ResponseHead | None:
        """The final head of the answer to a `method` request; None if it has not come yet.

        Raises ProtocolError(502).
        """
        try:
            return self._next_head(method)
        except ProtocolError as error:
            raise ProtocolError(502, error.message) from None

    def _next_head(self, method: bytes) -> ResponseHead | None:
        while True:
            buffer = self._buffer
            end = buffer.find(b"\r\n\r\n", self._searched)
            if end < 0:
                if len(buffer) >= self._limits.response_head:
                    raise ProtocolError(502, "The provider's head is too large.")
                check_unfinished(buffer, self._searched)
                self._searched = max(0, len(buffer) - 3)
                return None
            wire = bytes(buffer[: end + 4])
            rest = bytes(buffer[end + 4 :])
            head = self._read(wire)
            if head.status >= 200:
                self._buffer = b""
                self.body, self.rest = self._choose_body(head, method), rest
                return head
            self._buffer = rest
            self._searched = 0

    def _read(self, wire: bytes) -> ResponseHead:
        limits = self._limits
        if len(wire) > limits.response_head:
            raise ProtocolError(502, "The provider's head is too large.")
        lines = split_lines(wire)
        line = _STATUS_LINE.fullmatch(lines[0])
        if line is None:
            raise ProtocolError(502, "The provider's status line is malformed.")
        fields = lines[1:-1]
        if len(wire) > limits.easy:
            check_sizes(fields, limits)
        http_10, status = line[1] == b"0", int(line[2])
        headers, index = read_fields(fields, limits)
        facts = combine(headers) if index is None else index
        coding, length = facts.get(b"transfer-encoding"), facts.get(b"content-length")
        if coding is not None:
            # RFC 9112 section 6.1 calls the first two faulty; we read no other coding.
            if length is not None or http_10 or status < 200 or status == 204:
                raise ProtocolError(502, "The provider's framing contradicts itself.")
            if coding.lower() != b"chunked":
                raise ProtocolError(502, "The provider uses an unknown transfer coding.")
        if status < 200:
            self._informational += 1
            if status == 101 or self._informational > _MOST_INFORMATIONAL:
                raise ProtocolError(502, "The provider's answer does not come to its point.")
        number = None if length is None else read_length(length)
        keep_alive = not http_10 and keeps_alive(facts.get(b"connection"), http_10=False)
        return ResponseHead(status, headers, number, coding is not None, keep_alive, index)

    def _choose_body(self, head: ResponseHead, method: bytes) -> Body:
        """RFC 9112 section 6.3. A body that ends with the connection takes it along."""
        if method == b"HEAD" or head.status in (204, 304):
            return LengthBody(0, status=502)
        if head.chunked:
            return ChunkedBody(self._limits, status=502)
        if head.content_length is not None:
            return LengthBody(head.content_length, status=502)
        head.keep_alive = False
        return CloseBody()

    def eof(self) -> None:
        """The connection ended. Raises ProtocolError(502) if head or body is not complete."""
        if self.body is None:
            raise ProtocolError(502, "The provider ended before its head was complete.")
        self.body.eof()
