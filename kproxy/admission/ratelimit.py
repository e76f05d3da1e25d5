"""When the last requests came and the time now in, whether one more may come out.

The problem: a limit of so many requests per minute, with so many at once, that is exact, costs
nothing to keep and is shared by processes. The obvious way, a counter per minute, lets through
twice the limit around the turn of a minute; a list of recent requests is as long as the limit; a
bucket of tokens is two numbers that must change together.

Our way is the generic cell rate algorithm (ITU-T I.371, annex A), which is the bucket of tokens
kept as one integer: the theoretical arrival time `tat`, at which the bucket is full again. A
request moves it on by one interval, and is refused while that would put it more than `burst`
intervals ahead of now. Everything is integer nanoseconds of one clock, so nothing is rounded: a
rate that does not divide a minute has its interval rounded up, which makes it too strict by less
than one request in 10 minutes up to 77,000 requests per minute.

A refused request moves nothing: whoever keeps knocking is let in as soon as whoever waits. A `tat`
in the past is a full bucket, so 0 stands for a caller that has never been seen.
"""

import msgspec

from kproxy.admission.standing import Standing, limit_fields, retry_fields
from kproxy.errors import Rejected

__all__ = ["RateParams", "Verdict", "decide", "rate_exceeded", "rate_params"]

_MINUTE = 60_000_000_000  # nanoseconds


class RateParams(msgspec.Struct, frozen=True):
    """One request per `interval_ns`, `burst` at once; `per_minute` is the limit as it is told."""

    per_minute: int
    burst: int
    interval_ns: int


class Verdict(msgspec.Struct, frozen=True):
    """`tat_ns` is what to keep if `allowed`, and what was kept if not.

    `retry_after_ns` is the exact wait until one request is let in, 0 for one that is.
    """

    allowed: bool
    tat_ns: int
    retry_after_ns: int
    standing: Standing


def rate_params(per_minute: int, burst: int) -> RateParams:
    """The parameters of a rate. Raises ValueError for numbers below 1."""
    if per_minute < 1 or burst < 1:
        raise ValueError(f"a rate is at least 1, not {per_minute} with {burst} at once")
    return RateParams(per_minute, burst, -(-_MINUTE // per_minute))


def decide(tat_ns: int, now_ns: int, rate: RateParams) -> Verdict:
    """Whether a request at `now_ns` is within the rate. Both times are of the same clock."""
    interval = rate.interval_ns
    window = rate.burst * interval
    ahead = tat_ns - now_ns if tat_ns > now_ns else 0
    if ahead + interval > window:
        standing = Standing(rate.per_minute, 0, ahead)
        return Verdict(False, tat_ns, ahead + interval - window, standing)
    ahead += interval
    standing = Standing(rate.per_minute, (window - ahead) // interval, ahead)
    return Verdict(True, now_ns + ahead, 0, standing)


def rate_exceeded(verdict: Verdict) -> Rejected:
    """The 429 for a verdict that does not allow: `rate_limit_exceeded` (contract section 4)."""
    limit = verdict.standing.limit
    wait = retry_fields(verdict.retry_after_ns)
    rejected = Rejected(
        429,
        "rate_limit_exceeded",
        f"Rate limit reached: {limit} requests per minute. "
        f"Please try again in {int(wait[1][1])} ms.",
    )
    rejected.headers = wait + limit_fields(verdict.standing, None)
    return rejected
