"""Requests that are legal but not plain, read a second time by h11: bytes in, payload out.

This is the only module that knows h11. The strict scan has read the head already, and a `Body` of
ours takes the wire's framing apart; h11 must come to the same conclusions, or the request is
refused. It is given the head as it came. Of the body it is given what we made of it, chunks in
their canonical form without extensions and trailers, because it takes forms that we refuse and
counts nothing. It never sees a byte that belongs to the next request.
"""

import h11

from kproxy.wire.chunked import ChunkedBody, LengthBody
from kproxy.wire.events import ProtocolError, RequestHead
from kproxy.wire.frame import LAST_CHUNK, chunk
from kproxy.wire.limits import H1Limits

__all__ = ["GeneralBody"]


class GeneralBody:
    """The body of one request, as a `Body`. Its head went through h11 when it was made.

    `wire` is the head's bytes, `head` what the scan made of them. Raises ProtocolError.
    """

    __slots__ = ("_body", "_chunked", "_h11", "complete", "excess", "verbatim")

    def __init__(self, wire: bytes, head: RequestHead, limits: H1Limits) -> None:
        length = head.content_length
        self._body = ChunkedBody(limits) if length is None else LengthBody(length)
        self._chunked = length is None
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head)
        self.excess = b""
        self.verbatim = False
        self._h11.receive_data(wire)
        _compare(self._next(), head)
        self.complete = self._body.complete
        self._read(b"")

    def __repr__(self) -> str:
        return f"<GeneralBody {self._body!r}>"

    def feed(self, data: bytes) -> bytes:
        """The payload in `data`. Raises ProtocolError."""
        body = self._body
        payload = body.feed(data)
        self.excess = body.excess
        if self.complete:
            return payload
        self.complete = body.complete
        if payload:
            self._h11.receive_data(chunk(payload) if self._chunked else payload)
        if self._chunked and self.complete:
            self._h11.receive_data(LAST_CHUNK)
        return self._read(payload)

    def eof(self) -> None:
        """Raises ProtocolError if the body is not complete."""
        self._body.eof()

    def _read(self, expected: bytes) -> bytes:
        """All that h11 can read now. It must be `expected`, and the end where we found it."""
        pieces: list[bytes] = []
        event = self._next()
        while isinstance(event, h11.Data):
            pieces.append(bytes(event.data))
            event = self._next()
        payload = b"".join(pieces)
        if payload != expected or isinstance(event, h11.EndOfMessage) != self.complete:
            raise ProtocolError(400, "The body can be read in two ways.")
        return payload

    def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as error:
            message = "The request is not valid HTTP/1.1."
            raise ProtocolError(error.error_status_hint, message) from error


def _compare(event: object, head: RequestHead) -> None:
    """Refuse what h11 reads in another way than the scan did.

    An absolute target and Host are left out: the scan has put one in the place of the other.
    """
    same = isinstance(event, h11.Request) and (
        event.method == head.method
        and event.http_version == (b"1.0" if head.http_10 else b"1.1")
        and (event.target == head.target or event.target[:1] not in (b"/", b"*"))
        and [h for h in event.headers if h[0] != b"host"]
        == [(k, _as_h11(k, v)) for k, v in head.headers if k != b"host"]
    )
    if not same:
        raise ProtocolError(400, "The head can be read in two ways.")


def _as_h11(name: bytes, value: bytes) -> bytes:
    return value.lower() if name == b"transfer-encoding" else value
