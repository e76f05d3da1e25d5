"""Which gateways a request has come through: a caller's Via fields in, the one that we send out.

kproxy is a gateway: it answers for the whole of an API and takes what it is asked to a provider.
RFC 9110 section 7.6.3 has a gateway say so in each request that it forwards, behind whoever said
so before it. Of those before, the protocol is passed on and the name is not: hosts inside of
somebody's network are nothing to a provider, and the section tells a portal to hide them. What is
no Via at all is left out.

Section 7.6 forbids an endless loop: a kproxy may stand behind another one, but not behind itself,
so their number is counted (`passes`).
"""

import re
from collections.abc import Sequence

__all__ = ["MOST_PASSES", "VIA", "passes", "via"]

VIA = b"via"

MOST_PASSES = 4
"""Of kproxies before this one: a sidecar, an edge, and one more for the sake of it."""

_OURS = b"kproxy"
_HIDDEN = b"gateway"
_LONGEST = 1_024
"""Bytes of a Via that are looked at, its last; a hop takes some twenty."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_COMMENT = re.compile(rb"\([^()]*\)")
_HOP = re.compile(rb"((?:" + _TOKEN + rb"/)?" + _TOKEN + rb")[ \t]+([!-'*+\--~]+)")
_DEPTH = 4
"""Comments inside of comments."""


def via(received: Sequence[bytes], protocol: bytes) -> bytes:
    """The value to send. `received`: the values that came, in order; `protocol`: the version of
    HTTP by which the request came, as in `1.1`."""
    own = b"%b %b" % (protocol, _OURS)
    if not received:
        return own
    hops = [b"%b %b" % (hop, name if name == _OURS else _HIDDEN) for hop, name in _hops(received)]
    return b", ".join([*hops, own])


def passes(received: Sequence[bytes]) -> int:
    """How many kproxies a request has come through."""
    return sum(name == _OURS for _, name in _hops(received))


def _hops(received: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Protocol and name of each hop that can be read, of the last ones where there are many."""
    value = b",".join(received)
    if len(value) > _LONGEST:
        # Those nearest to us; what stands before the first comma is half of one, or empty.
        value = value[-_LONGEST - 1 :].partition(b",")[2]
    for _ in range(_DEPTH):
        value = _COMMENT.sub(b" ", value)
    matches = [_HOP.fullmatch(member) for one in value.split(b",") if (member := one.strip())]
    return [(found[1], found[2]) for found in matches if found]
