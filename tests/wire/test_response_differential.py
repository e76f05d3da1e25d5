"""Two readers of a provider's answer: our own framing, and h11 as a client.

What we take, h11 takes as the same answer: status, fields, payload, where it ends, what lies behind
it, and whether the connection may be used again. Where we refuse, h11 may not.
"""

import re
from typing import NamedTuple

import h11
from hypothesis import assume, example, given
from hypothesis import strategies as st

from kproxy.wire.events import ProtocolError, ResponseHead
from kproxy.wire.limits import H1Limits
from kproxy.wire.response import ResponseReader
from tests.fakes.cuts import cut, positions
from tests.fakes.grammar import MANY, responses

LIMITS = H1Limits()
Fields = list[tuple[bytes, bytes]]


class Told(NamedTuple):
    """An answer that is complete."""

    status: int
    fields: Fields
    payload: bytes
    excess: bytes
    keeps: bool


def ours(pieces: list[bytes], method: bytes) -> Told | None:
    """None where it is refused, or not whole when the connection ends."""
    reader, head, payload = ResponseReader(LIMITS), None, b""
    try:
        for piece in pieces:
            if head is not None:
                assert reader.body is not None
                payload += reader.body.feed(piece)
                continue
            reader.receive_data(piece)
            head = reader.next_head(method)
            if head is not None:
                assert reader.body is not None
                payload = reader.body.feed(reader.rest) if reader.rest else b""
        reader.eof()
    except ProtocolError:
        return None
    assert isinstance(head, ResponseHead)
    assert reader.body is not None
    assert reader.body.complete
    fields = [
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in head.headers
    ]
    return Told(head.status, fields, payload, reader.body.excess, head.keep_alive)


def by_h11(wire: bytes, method: bytes) -> Told | None:
    """The same by h11."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(wire)
    connection.receive_data(b"")
    try:
        while isinstance(head := connection.next_event(), h11.InformationalResponse):
            pass
        if not isinstance(head, h11.Response):
            return None
        payload = b""
        while isinstance(event := connection.next_event(), h11.Data):
            payload += event.data
    except h11.RemoteProtocolError:
        return None
    if not isinstance(event, h11.EndOfMessage):
        return None
    # h11 learns of the end of a body that the connection ends only with that end.
    names = {name for name, _ in head.headers}
    framed = names & {b"content-length", b"transfer-encoding"} or method == b"HEAD"
    framed = framed or head.status_code in (204, 304)
    keeps = bool(framed) and connection.their_state is h11.DONE
    excess, _ = connection.trailing_data
    return Told(head.status_code, list(head.headers), payload, excess, keeps)


@MANY
@given(responses(), st.sampled_from([b"POST", b"POST", b"GET", b"HEAD"]), positions)
@example(b"HTTP/1.1 200\r\nConnection: x, close\r\nContent-Length: 0\r\n\r\n", b"POST", [])
@example(b"HTTP/1.1 204 \r\nContent-Length: 5\r\n\r\nhello", b"GET", [])
def test_what_we_take_h11_takes_as_the_same(wire: bytes, method: bytes, at: list[int]) -> None:
    # White space before a chunk's extension must be taken (RFC 9112 section 7.1.1), and h11 does
    # not.
    assume(re.search(rb"[ \t];", wire) is None)
    told = ours([wire], method)
    assert ours(cut(wire, at), method) == told
    if told is not None:
        assert by_h11(wire, method) == told
