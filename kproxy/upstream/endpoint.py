"""One provider as this process reaches it: its dialect, its connections, the head of a request."""

from dataclasses import dataclass
from functools import cached_property

from kproxy.admission.keys import Secret
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


@dataclass(frozen=True)
class Endpoint:
    """`target` is the path of every request, `api_key` the operator's, empty where there is none.

    The part of a request's head that never changes is made once for it, see `request_prefix`.
    """

    provider: str
    dialect: Dialect
    pool: Pool
    target: str
    api_key: Secret
    h1: H1Limits
    limits: AnswerLimits

    @cached_property
    def _prefix(self) -> bytes:
        return self._prefix_with(self.api_key)

    def request(self, body: bytes, passed: Headers, own: Secret | None = None) -> bytes:
        """A whole request; `passed` are the caller's fields that may go upstream, `own` a key of
        the caller's to be sent instead of the operator's."""
        prefix = self._prefix if own is None else self._prefix_with(own)
        fields = b"".join([b"%b: %b\r\n" % field for field in passed])
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (prefix, fields, len(body), body)

    def without_key(self, text: bytes) -> bytes:
        """What a provider says, without the operator's key: it goes on to the caller."""
        key = self.api_key.reveal().encode()
        return text.replace(key, b"***") if key else text

    def _prefix_with(self, key: Secret) -> bytes:
        credentials = self.dialect.credentials(key.reveal())
        return request_prefix(self.target, self.pool.origin.authority(), credentials)


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
