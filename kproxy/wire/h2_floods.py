"""What one HTTP/2 connection may ask for that costs us more than its bytes: frames in, refusal out.

Every frame here is legal. Thousands of them are an attack: streams opened and reset at once
(CVE-2023-44487), or reset by our own answer to a fault of the peer's (CVE-2025-8671); PING and
SETTINGS that each want an answer; DATA without data; CONTINUATION without end (CVE-2024-27316).
The engine counts none of it. Each kind has an allowance: so many at once, so many more a second.

The counts are of a connection, because that is what ends. Time is an argument.
"""

from dataclasses import dataclass, field

from kproxy.wire.h2_frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    SETTINGS,
    WINDOW_UPDATE,
    Code,
    Frame,
    H2Error,
)

__all__ = ["Allowance", "FloodLimits", "Floods"]

READ = 4096
"""Bytes of which a peer tells that they were read, at the least (Go's net/http2 does so)."""

UNREAD = 16 * 1024 * 1024
"""Bytes, sent and not told of, up to which that is remembered."""

SAMPLE = 500
"""Streams over which the share of resets is taken (Envoy: the same, and one half)."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """`most` at once, and `rate` more in a second."""

    most: float
    rate: float


@dataclass(frozen=True, slots=True)
class FloodLimits:
    """How many frames of a kind are no attack, see the module.

    `window_updates` are beyond those that our DATA may be answered with: for each `READ` bytes one
    of the stream and one of the connection, and two more for each frame. `refused`
    are streams over the limit that the peer has not heard of yet: until it acknowledges our
    SETTINGS it may open any number. `others`: PRIORITY, and frames that we do not know.
    """

    resets: Allowance = field(default_factory=lambda: Allowance(100, 10))
    pings: Allowance = field(default_factory=lambda: Allowance(20, 10))
    settings: Allowance = field(default_factory=lambda: Allowance(20, 10))
    empty: Allowance = field(default_factory=lambda: Allowance(100, 10))
    window_updates: Allowance = field(default_factory=lambda: Allowance(400, 100))
    refused: Allowance = field(default_factory=lambda: Allowance(1000, 0))
    others: Allowance = field(default_factory=lambda: Allowance(200, 10))
    continuations: int = 8
    block: int = 64 * 1024  # bytes of one field block, compressed


class _Bucket:
    __slots__ = ("_allowance", "_at", "_left", "_what")

    def __init__(self, what: str, allowance: Allowance, now: float) -> None:
        self._what = what
        self._allowance = allowance
        self._left = allowance.most
        self._at = now

    def take(self, now: float) -> None:
        most, rate = self._allowance.most, self._allowance.rate
        self._left = min(most, self._left + rate * (now - self._at)) - 1
        self._at = now
        if self._left < 0:
            raise H2Error(Code.ENHANCE_YOUR_CALM, f"too many {self._what}")


class Floods:
    """The counts of one connection. All methods raise H2Error(ENHANCE_YOUR_CALM)."""

    def __init__(self, limits: FloodLimits, now: float) -> None:
        self._limits = limits
        self._resets = _Bucket("streams reset", limits.resets, now)
        self._refused = _Bucket("streams refused", limits.refused, now)
        self._empty = _Bucket("empty DATA frames", limits.empty, now)
        self._answers = 0  # WINDOW_UPDATE frames that our DATA may still be answered with
        others = _Bucket("frames for nothing", limits.others, now)
        self._others = others
        self._kinds = {
            PING: _Bucket("PING frames", limits.pings, now),
            SETTINGS: _Bucket("SETTINGS frames", limits.settings, now),
            WINDOW_UPDATE: _Bucket("WINDOW_UPDATE frames", limits.window_updates, now),
            PRIORITY: others,
        }
        self._opened = 0
        self._cut = 0  # of those that were opened
        self._block = 0  # bytes of the field block that is open
        self._continuations = 0

    def frame(self, frame: Frame, now: float) -> None:
        """A frame came; what it does to streams is told by the other methods."""
        kind = frame.kind
        if kind > CONTINUATION:
            self._others.take(now)
        elif kind == WINDOW_UPDATE and self._answers:
            self._answers -= 1
        elif (bucket := self._kinds.get(kind)) is not None:
            bucket.take(now)
        elif kind == HEADERS:
            self._block, self._continuations = frame.size, 0
        elif kind == CONTINUATION:
            self._continuations += 1
            self._block += frame.size
            if self._continuations > self._limits.continuations or self._block > self._limits.block:
                raise H2Error(Code.ENHANCE_YOUR_CALM, "a field block without end")
        elif kind == DATA and not frame.size and not frame.flags & END_STREAM:
            self._empty.take(now)

    def empty(self, now: float) -> None:
        """A DATA frame held padding alone."""
        self._empty.take(now)

    def sent(self, size: int) -> None:
        """We sent a DATA frame: the peer will tell that it has room again, for stream and whole."""
        self._answers = min(_answers(size) + self._answers, _answers(UNREAD))

    def opened(self) -> None:
        """The peer opened a stream."""
        self._opened += 1
        if self._opened >= SAMPLE:
            if 2 * self._cut > self._opened:
                raise H2Error(Code.ENHANCE_YOUR_CALM, "most streams are reset")
            self._opened = self._cut = 0

    def reset(self, now: float) -> None:
        """A stream was cut short, by the peer or for a fault of the peer's."""
        self._cut += 1
        self._resets.take(now)

    def refused(self, now: float, *, knows: bool) -> None:
        """The peer opened a stream over the limit; `knows`: it had been told."""
        (self._resets if knows else self._refused).take(now)


def _answers(size: int) -> int:
    return 2 * -(-size // READ) + 2
