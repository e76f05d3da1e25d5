"""One provider as this process reaches it: its dialect, its connections, the head of a request."""

from dataclasses import dataclass

from kproxy.dialect.base import Dialect
from kproxy.transport.pool import Pool
from kproxy.wire.events import Headers
from kproxy.wire.frame import request_head
from kproxy.wire.limits import H1Limits

__all__ = ["AnswerLimits", "Endpoint", "request_prefix"]


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """What a provider may send: bytes of a JSON answer, of one event line, of one event."""

    body: int = 33_554_432
    sse_line: int = 1_048_576
    sse_event: int = 4_194_304


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`prefix` is everything of a request's head that never changes, without the blank line."""

    provider: str
    dialect: Dialect
    pool: Pool
    prefix: bytes
    h1: H1Limits
    limits: AnswerLimits

    def request(self, body: bytes, passed: Headers) -> bytes:
        """A whole request; `passed` are the caller's fields that may go upstream."""
        fields = b"".join(b"%b: %b\r\n" % field for field in passed)
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (self.prefix, fields, len(body), body)


def request_prefix(target: str, authority: str, fields: Headers) -> bytes:
    """The constant part of a POST's head. No compression is asked for: bytes go through as are.

    Raises ValueError for a control byte in any of them, such as a line end in a credential.
    """
    lines: Headers = [
        (b"host", authority.encode("ascii")),
        (b"user-agent", b"kproxy"),
        (b"content-type", b"application/json"),
        (b"accept", b"application/json, text/event-stream"),
        (b"accept-encoding", b"identity"),
        *fields,
    ]
    return request_head(b"POST", target.encode("ascii"), lines)[:-2]
