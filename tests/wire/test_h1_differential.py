"""Two readers of requests, one conversation: the plain path, the general path, and h11 alone.

1. The engine "scan" and the engine "h11" say the same of any bytes, cut anywhere: the same
   requests, the same refusal.
2. What we take, h11 by itself takes as the same requests, so that nothing which it would refuse
   gets past the scan. It takes more: that is why the scan stands in front.
"""

import re

import h11
from hypothesis import assume, example, given

from kproxy.wire.events import Closed, Data, EndOfMessage, NeedData, ProtocolError, RequestHead
from kproxy.wire.h1 import RequestReader
from kproxy.wire.limits import H1Limits
from tests.fakes.cuts import cut, positions
from tests.fakes.grammar import MANY, conversations

LIMITS = H1Limits(request_line=200, field=100, fields=400, count=12, chunk_line=60, trailers=60)


class Found:
    """What a reader makes of a conversation: the requests that are whole, the one that is not, and
    the status of the refusal, 0 where there is none."""

    def __init__(self, pieces: list[bytes], engine: str) -> None:
        self.whole: list[tuple[RequestHead, bytes]] = []
        self.begun: RequestHead | None = None
        self.status = 0
        self.closed = False
        reader = RequestReader(LIMITS, engine=engine)
        try:
            for piece in [*pieces, b""]:
                reader.receive_data(piece)
                self._take(reader)
        except ProtocolError as error:
            self.status = error.status

    def _take(self, reader: RequestReader) -> None:
        while True:
            match reader.next_event():
                case RequestHead() as head:
                    self.begun, self._body = head, b""
                case Data(data):
                    self._body += data
                case EndOfMessage.END:
                    assert self.begun is not None
                    self.whole.append((self.begun, self._body))
                    self.begun = None
                case NeedData.NEED_DATA:
                    return
                case Closed.CLOSED:
                    self.closed = True
                    return

    def told(self) -> tuple[object, ...]:
        return self.whole, self.begun, self.status, self.closed


@MANY
@given(conversations(), positions, positions)
@example(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", [1], [])
@example(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0;\r\n\r\n", [], [60])
def test_both_engines_say_the_same(wire: bytes, at: list[int], other: list[int]) -> None:
    whole = Found([wire], "scan").told()
    assert Found(cut(wire, at), "scan").told() == whole
    assert Found(cut(wire, other), "h11").told() == whole


def by_h11(wire: bytes) -> list[tuple[h11.Request, bytes]]:
    """The whole requests that h11 reads, up to its first refusal or to the last request. It knows
    no empty line before a request (RFC 9112 section 2.2), so it is not shown one."""
    found: list[tuple[h11.Request, bytes]] = []
    while True:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000)
        connection.receive_data(wire.removeprefix(b"\r\n"))
        try:
            head = connection.next_event()
            if not isinstance(head, h11.Request):
                return found
            body = b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += event.data
        except h11.RemoteProtocolError:
            return found
        if not isinstance(event, h11.EndOfMessage):
            return found
        found.append((head, body))
        connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        connection.send(h11.EndOfMessage())
        if connection.our_state is not h11.DONE and not keeps_10(head):
            return found
        wire, _ = connection.trailing_data


def keeps_10(head: h11.Request) -> bool:
    """h11 never keeps a connection of HTTP/1.0; where it is asked to, we do."""
    values = b",".join(value for name, value in head.headers if name == b"connection")
    options = {option.strip() for option in values.lower().split(b",")}
    return head.http_version == b"1.0" and b"keep-alive" in options and b"close" not in options


def as_h11(head: RequestHead) -> list[tuple[bytes, bytes]]:
    """The fields that do not depend on the target's form, spelled as h11 does."""
    return [
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in head.headers
        if name != b"host"
    ]


@MANY
@given(conversations())
@example(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n")
@example(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
def test_what_we_take_h11_takes_as_the_same(wire: bytes) -> None:
    # White space before a chunk's extension must be taken (RFC 9112 section 7.1.1), and h11 does
    # not.
    assume(re.search(rb"[ \t];", wire) is None)
    ours, theirs = Found([wire], "scan"), by_h11(wire)
    assert len(theirs) >= len(ours.whole)
    for (head, body), (request, payload) in zip(ours.whole, theirs, strict=False):
        assert (head.method, body) == (request.method, payload)
        assert head.http_10 == (request.http_version == b"1.0")
        if request.target.startswith((b"/", b"*")):
            assert head.target == request.target
            assert head.get(b"host") == dict(request.headers).get(b"host")
        assert as_h11(head) == [field for field in request.headers if field[0] != b"host"]
    if ours.closed and not ours.status:
        assert len(theirs) == len(ours.whole), "we ended where h11 would have gone on"
