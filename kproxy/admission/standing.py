"""How a caller stands against a limit in, the response fields that say so out (contract section 3).

The six fields and the spelling of their durations are OpenAI's (`1s`, `6m0s`, `20ms`). Durations
are integer nanoseconds inside and are rounded up on the way out, so that nobody who waits as told
is early. What has no limit has no fields.
"""

import msgspec

__all__ = ["Standing", "limit_fields", "retry_fields", "spell_duration"]

_MS = 1_000_000
_SECOND = 1_000_000_000

Fields = tuple[tuple[bytes, bytes], ...]


class Standing(msgspec.Struct, frozen=True):
    """`remaining` is what may be used now; after `reset_ns` it is at its most again.

    For requests `limit` is the number per minute, and `remaining` is never above the burst.
    """

    limit: int
    remaining: int
    reset_ns: int


def limit_fields(requests: Standing | None, tokens: Standing | None) -> Fields:
    """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; three for each one that is given."""
    fields: Fields = ()
    if requests is not None:
        fields = (
            (b"x-ratelimit-limit-requests", b"%d" % requests.limit),
            (b"x-ratelimit-remaining-requests", b"%d" % requests.remaining),
            (b"x-ratelimit-reset-requests", spell_duration(requests.reset_ns)),
        )
    if tokens is None:
        return fields
    return (
        *fields,
        (b"x-ratelimit-limit-tokens", b"%d" % tokens.limit),
        (b"x-ratelimit-remaining-tokens", b"%d" % tokens.remaining),
        (b"x-ratelimit-reset-tokens", spell_duration(tokens.reset_ns)),
    )


def retry_fields(wait_ns: int) -> Fields:
    """`retry-after` (RFC 9110 section 10.2.3: whole seconds) and OpenAI's `retry-after-ms`.

    At least 1 s and 1 ms, and never before the wait is over.
    """
    return (
        (b"retry-after", b"%d" % max(1, _up(wait_ns, _SECOND))),
        (b"retry-after-ms", b"%d" % max(1, _up(wait_ns, _MS))),
    )


def spell_duration(ns: int) -> bytes:
    """A duration to the millisecond as OpenAI writes it: `0s`, `20ms`, `8.64s`, `6m0s`."""
    total = max(0, _up(ns, _MS))
    if 0 < total < 1_000:
        return b"%dms" % total
    seconds, ms = divmod(total, 1_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    spelled = (b"%d.%03d" % (seconds, ms)).rstrip(b"0") if ms else b"%d" % seconds
    if hours:
        return b"%dh%dm%bs" % (hours, minutes, spelled)
    if minutes:
        return b"%dm%bs" % (minutes, spelled)
    return spelled + b"s"


def _up(ns: int, unit: int) -> int:
    return -(-ns // unit)
