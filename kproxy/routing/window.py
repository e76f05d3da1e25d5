"""Times and speeds of one model at one provider go in; their quantiles of five minutes come out.

The problem: every answer adds an observation, and every plan wants P50 to P99 of the last 5
minutes. The obvious way, to keep the observations and sort them, costs memory and time that grow
with the load. A decaying sketch stays small, but it cannot say which minutes it speaks of, and an
old outage fades from it instead of ending.

Our way: counters in fixed buckets, eight to an octave, so that a quantile is within one bucket,
9.1 %, of the observation that has this rank. The window is a ring of ten slices of 30 seconds.
Beside the slices stands their sum: an observation adds one to both, a slice whose turn comes again
is taken off the sum and starts at 0, and a quantile reads the sum alone.

1. An observation counts for 270 to 300 seconds, never longer: up to the end of its slice's ring.
2. What lies outside of the buckets counts in the outermost one.
3. `now` is a steady clock's, from 0 on; it does not go back.

Several processes may see the same endpoint. Each has windows of its own and shows their sums
(`Seen`); whoever reads adds up its own and those that it was shown.

What we do not do: smooth, weigh by age, or fill in where nothing was seen.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import sub

import msgspec

__all__ = ["SLICES", "SLICE_SECONDS", "Measured", "Quantiles", "Seen", "Window", "patience"]

SLICES = 10
SLICE_SECONDS = 30.0  # ten make the contract's 5 minutes (section 5)

SUFFICIENT = 3
"""Samples from which a model is judged by its figures (contract section 5)."""

_PER_OCTAVE = 8


def _edges(least: float, most: float) -> tuple[float, ...]:
    """The ends of buckets that reach from `least` to `most` or just above."""
    edges = [least]
    while edges[-1] < most:
        edges.append(least * 2 ** (len(edges) / _PER_OCTAVE))
    return tuple(edges)


_SECONDS = _edges(0.001, 3_600.0)
_SPEEDS = _edges(0.1, 100_000.0)  # tokens per second


class Quantiles(msgspec.Struct, frozen=True):
    """Seconds that so many percent of the observations did not exceed."""

    p50: float
    p75: float
    p90: float
    p95: float
    p99: float


class Measured(msgspec.Struct, frozen=True):
    """What a window shows at one moment. A figure is None where nothing was observed for it."""

    samples: int  # completed answers
    first_token: Quantiles | None
    waits: Quantiles | None  # for a first token, in vain or not: what patience is taken from
    waits_samples: int
    total: Quantiles | None
    throughput_p50: float | None  # tokens per second
    error_rate: float  # failed attempts among those that ended with a verdict; 0.0 without any

    @property
    def sufficient(self) -> bool:
        """Whether there are enough samples to judge by (contract section 5)."""
        return self.samples >= SUFFICIENT


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """The sums of a window, for other processes. Of each kind: a bucket's place and its count, a
    bucket's place and its count, and so on, where there are any."""

    first_token: tuple[int, ...]
    waits: tuple[int, ...]
    total: tuple[int, ...]
    throughput: tuple[int, ...]
    attempts: int
    failed: int


class _Buckets:
    """Counters between `edges`: one row for each slice, and the sum of the rows.

    The rows are made when there is something to count: many a route is never asked.
    """

    __slots__ = ("_edges", "_rows", "_size", "_sum")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self._edges = edges
        self._size = len(edges) - 1
        self._sum = array("I", [0]) * self._size
        self._rows = array("I")

    def add(self, row: int, value: float) -> None:
        at = bisect_right(self._edges, value, 1, self._size) - 1
        try:
            self._rows[row * self._size + at] += 1
        except IndexError:
            self._rows = array("I", [0]) * (self._size * SLICES)
            self._rows[row * self._size + at] += 1
        self._sum[at] += 1

    def clear(self, row: int) -> None:
        if not self._rows:
            return
        start = row * self._size
        end = start + self._size
        self._sum[:] = array("I", map(sub, self._sum, self._rows[start:end]))
        self._rows[start:end] = array("I", [0]) * self._size

    def shown(self) -> tuple[int, ...]:
        """See Seen."""
        return tuple(x for at, count in enumerate(self._sum) if count for x in (at, count))

    def ends(self, others: Iterable[Sequence[int]]) -> list[int]:
        """How many observations are in each bucket or below, those of others too."""
        sums = self._sum
        for shown in others:
            sums = sums[:]
            for at, count in zip(shown[::2], shown[1::2], strict=True):
                sums[at] += count
        return list(accumulate(sums))

    def at(self, ends: list[int], *percents: int) -> tuple[float, ...]:
        """The observations of these ranks, each to within its bucket. There must be some."""
        return tuple(self._ranked(ends, -(-percent * ends[-1] // 100)) for percent in percents)

    def _ranked(self, ends: list[int], rank: int) -> float:
        """The `rank`-th smallest, as if a bucket's observations were spread evenly over it."""
        at = bisect_left(ends, rank)
        before = ends[at - 1] if at else 0
        low, high = self._edges[at], self._edges[at + 1]
        return low + (high - low) * (rank - before - 0.5) / (ends[at] - before)


class Window:
    """The last 5 minutes of one model at one provider.

    Adding is O(1) and leaves nothing behind on the heap. A window holds 31.4 kB (tracemalloc),
    nearly all of it the counters: 685 buckets x (10 slices + their sum) x 4 bytes; and 4.0 kB as
    long as nothing was seen.
    """

    __slots__ = (
        "_attempts",
        "_failed",
        "_first_token",
        "_slice",
        "_throughput",
        "_total",
        "_waits",
    )

    def __init__(self) -> None:
        self._slice = 0  # since the clock's zero
        self._first_token = _Buckets(_SECONDS)
        self._waits = _Buckets(_SECONDS)
        self._total = _Buckets(_SECONDS)
        self._throughput = _Buckets(_SPEEDS)
        self._attempts = array("I", [0]) * SLICES
        self._failed = array("I", [0]) * SLICES

    def first_token(self, now: float, seconds: float) -> None:
        """An attempt's first token came after `seconds`."""
        row = self._row(now)
        self._first_token.add(row, seconds)
        self._waits.add(row, seconds)

    def waited(self, now: float, seconds: float) -> None:
        """An attempt was superseded after it had waited for `seconds`, more than its patience.

        Its true time is longer and nobody will know it, so it is no first-token time. But left out
        of the waits it would be missing just where the model is slow: only the quick answers would
        be counted, and patience would shrink with every hedge.
        """
        self._waits.add(self._row(now), seconds)

    def total(self, now: float, seconds: float) -> None:
        """An answer was complete after `seconds`."""
        self._total.add(self._row(now), seconds)

    def throughput(self, now: float, tokens_per_second: float) -> None:
        """A complete answer came at this speed."""
        self._throughput.add(self._row(now), tokens_per_second)

    def attempt(self, now: float, failed: bool) -> None:
        """An attempt ended with a verdict: for the error rate."""
        row = self._row(now)
        self._attempts[row] += 1
        self._failed[row] += failed

    def measure(self, now: float, others: Sequence[Seen] = ()) -> Measured:
        """The figures of the window that ends now, with what others have seen of the same."""
        self._row(now)
        attempts = sum(self._attempts) + sum(one.attempts for one in others)
        failed = sum(self._failed) + sum(one.failed for one in others)
        totals = self._total.ends(one.total for one in others)
        waits = self._waits.ends(one.waits for one in others)
        speeds = self._throughput.ends(one.throughput for one in others)
        first = self._first_token.ends(one.first_token for one in others)
        return Measured(
            samples=totals[-1],
            first_token=_quantiles(self._first_token, first),
            waits=_quantiles(self._waits, waits),
            waits_samples=waits[-1],
            total=_quantiles(self._total, totals),
            throughput_p50=self._throughput.at(speeds, 50)[0] if speeds[-1] else None,
            error_rate=failed / attempts if attempts else 0.0,
        )

    def shown(self, now: float) -> Seen:
        """The sums of the window that ends now. Some 60 us."""
        self._row(now)
        return Seen(
            self._first_token.shown(),
            self._waits.shown(),
            self._total.shown(),
            self._throughput.shown(),
            sum(self._attempts),
            sum(self._failed),
        )

    def _row(self, now: float) -> int:
        """The row of the slice that is running, after those that expired were cleared."""
        current = int(now // SLICE_SECONDS)
        if current > self._slice:
            for expired in range(max(self._slice, current - SLICES) + 1, current + 1):
                self._clear(expired % SLICES)
            self._slice = current
        return self._slice % SLICES

    def _clear(self, row: int) -> None:
        for buckets in (self._first_token, self._waits, self._total, self._throughput):
            buckets.clear(row)
        self._attempts[row] = self._failed[row] = 0


def patience(first: Quantiles) -> float:
    """Seconds to wait for a first token before a hedge starts: P95, or 1.5 x P90 if that is less.

    P95 hedges one request in twenty. But where the tail begins before the 95th percentile, P95 lies
    inside of the tail, and waiting that long gives away what a hedge is for. What 1.5 x P90 adds in
    hedges is bounded by the budget: that, not the patience, is what keeps the cost. For an ordinary
    log-normal distribution (sigma 0.26 to 1.02) P95 is 1.1 to 1.45 times P90, so it is P95 there.
    """
    return min(first.p95, 1.5 * first.p90)


def _quantiles(buckets: _Buckets, ends: list[int]) -> Quantiles | None:
    return Quantiles(*buckets.at(ends, 50, 75, 90, 95, 99)) if ends[-1] else None
