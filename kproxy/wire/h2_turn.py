"""A request of ours in HTTP/1.1's bytes in, HTTP/2's fields out; and a provider's answer back.

Above the connections to providers everything is written for HTTP/1.1: the request is one run of
bytes, and what comes back is a head and chunks. A stream of HTTP/2 is turned into just that, so
that nobody else has to know of it. The turn loses nothing: an answer becomes chunked whatever its
length was, because then its end stands where END_STREAM stood and nowhere else.

What RFC 9113 asks of a response is checked here (section 8.2 and 8.3.2): one `:status`, first;
names in lower case; nothing that is about an HTTP/1.1 connection.
"""

import re
from typing import NamedTuple

from kproxy.wire.events import Headers, ProtocolError
from kproxy.wire.fields import combine
from kproxy.wire.frame import response_head
from kproxy.wire.h2_head import ENTRY, Malformed, check_names
from kproxy.wire.limits import H1Limits
from kproxy.wire.scan import read_length

__all__ = ["BODILESS", "Reply", "read_reply", "to_fields", "to_head"]

BODILESS = frozenset({204, 304})
"""Answers that have no body, whatever their fields say (RFC 9110 section 6.4.1)."""

_STATUS = re.compile(rb"[1-5][0-9]{2}")


class Reply(NamedTuple):
    """A response's head. `length` is that of its body, None where only its end will tell."""

    status: int
    headers: Headers
    length: int | None


def to_fields(request: bytes) -> tuple[Headers, bytes]:
    """Fields and body of a request as `wire/frame.py` writes them, over TLS."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    method, target, _ = line.split(b" ")
    fields = [(name.lower(), value) for name, _, value in (one.partition(b": ") for one in lines)]
    authority = next(value for name, value in fields if name == b"host")
    pseudo: Headers = [
        (b":method", method),
        (b":scheme", b"https"),
        (b":authority", authority),
        (b":path", target),
    ]
    return pseudo + [field for field in fields if field[0] != b"host"], body


def read_reply(fields: Headers, limits: H1Limits, *, ended: bool) -> Reply:
    """The head of a response, informational ones too; `ended`: it has no body. Raises Malformed."""
    (first, said), *headers = fields or [(b"", b"")]
    if first != b":status" or _STATUS.fullmatch(said) is None or said == b"101":
        raise Malformed("The first field is no status of a response.")
    if any(name[:1] == b":" for name, _ in headers):
        raise Malformed("There is more than one pseudo-header field.")
    check_names(headers)
    _check_sizes(headers, limits)
    status = int(said)
    given = combine(headers).get(b"content-length")
    try:
        length = None if given is None else read_length(given)
    except ProtocolError as error:
        raise Malformed(error.message) from None
    if status in BODILESS:
        length = 0
    if ended and length:
        raise Malformed("There is no body, but a Content-Length.")
    return Reply(status, headers, length)


def _check_sizes(headers: Headers, limits: H1Limits) -> None:
    if len(headers) > limits.count:
        raise Malformed(f"There are more than {limits.count} header fields.")
    total = 0
    for name, value in headers:
        size = len(name) + len(value)
        if size > limits.field:
            raise Malformed(f"A header field is over {limits.field} bytes.")
        total += size + ENTRY
    if total > limits.response_head:
        raise Malformed(f"The header fields are over {limits.response_head} bytes.")


def to_head(status: int, headers: Headers) -> bytes:
    """The head of the same response over HTTP/1.1. Its body, if it may have one, is chunked; else
    the head is the end, whether or not that of the stream has come, and nothing is to follow it."""
    kept = [field for field in headers if field[0] != b"content-length"]
    if status in BODILESS:
        kept.append((b"connection", b"close"))
    else:
        kept.append((b"transfer-encoding", b"chunked"))
    return response_head(status, kept)
