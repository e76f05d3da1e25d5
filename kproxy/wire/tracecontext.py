"""The fields of W3C Trace Context: a caller's in, those that may travel on out.

Where no span is recorded, a valid context is passed on as it is: a receiver that changed the
parent's id without recording a span of that id would tear the trace apart. (Where one is:
`ledger/trace.py`.) An invalid `traceparent` is dropped, and `tracestate` with it; an invalid
`tracestate` alone.
(https://www.w3.org/TR/trace-context/, sections 3.2, 3.3 and 4)
"""

import re
from typing import NamedTuple

from kproxy.wire.events import Headers

__all__ = ["SAMPLED", "TRACEPARENT", "TRACESTATE", "TraceContext", "read_trace", "write_trace"]

TRACEPARENT, TRACESTATE = b"traceparent", b"tracestate"

SAMPLED = 0x01
"""The flag that says that the caller may have recorded (section 3.2.2.5.1)."""

KNOWN_FLAGS = 0x03
"""That one, and "the id is random" of level 2, which goes on with the id."""

MEMBERS = 32
"""Of a `tracestate` (section 3.3.1.1)."""

LONGEST = 4_096
"""Bytes of it; 512 must be passed on, and nobody needs more than a few thousand."""

# A version after 00 may have more behind another dash (section 4.1).
_PARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?"
)
_KEY = rb"(?:[a-z0-9][a-z0-9_*/\-]{0,240}@[a-z][a-z0-9_*/\-]{0,13}|[a-z][a-z0-9_*/\-]{0,255})"
_MEMBER = re.compile(_KEY + rb"=[ -+\--<>-~]{0,255}[!-+\--<>-~]")


class TraceContext(NamedTuple):
    """What a request belongs to. `state` is empty where there is none that may travel."""

    parent: bytes  # the whole field
    state: bytes = b""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, for logs."""
        return self.parent[3:35].decode("ascii")

    @property
    def span_id(self) -> str:
        """The parent's, 16 hexadecimal digits."""
        return self.parent[36:52].decode("ascii")

    @property
    def flags(self) -> int:
        """Those that have a meaning."""
        return int(self.parent[53:55], 16) & KNOWN_FLAGS

    def fields(self) -> Headers:
        """As they go to a provider."""
        state = [(TRACESTATE, self.state)] if self.state else []
        return [(TRACEPARENT, self.parent), *state]


def read_trace(headers: Headers) -> TraceContext | None:
    """The context that a request's fields give; None: none, or none that is valid."""
    parents = [value for name, value in headers if name == TRACEPARENT]
    if len(parents) != 1 or not _is_parent(parents[0]):
        return None
    state = b",".join(value for name, value in headers if name == TRACESTATE)
    return TraceContext(parents[0], state if _is_state(state) else b"")


def write_trace(trace_id: str, span_id: str, flags: int, state: bytes = b"") -> TraceContext:
    """The context of what is asked for inside that span; ids in hexadecimal digits."""
    return TraceContext(b"00-%b-%b-%02x" % (trace_id.encode(), span_id.encode(), flags), state)


def _is_parent(value: bytes) -> bool:
    found = _PARENT.fullmatch(value)
    return found is not None and (found[1] != b"00" or found[5] is None)


def _is_state(value: bytes) -> bool:
    """Whether it may travel; empty members are allowed, and count for nothing."""
    if len(value) > LONGEST:
        return False
    members = [one for part in value.split(b",") if (one := part.strip(b" \t"))]
    keys = [one.partition(b"=")[0] for one in members]
    unique = len(set(keys)) == len(keys) <= MEMBERS
    return bool(members) and unique and all(map(_MEMBER.fullmatch, members))
