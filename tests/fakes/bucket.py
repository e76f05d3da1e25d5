"""A bucket of tokens in exact integers: what any limit of requests is measured against.

In: a rate, a burst and times in nanoseconds. Out: whether each one finds a whole token. A token is
counted as a minute of nanoseconds, so that one nanosecond brings `per_minute` parts and nothing is
ever rounded.
"""

__all__ = ["MINUTE", "Bucket"]

MINUTE = 60_000_000_000  # nanoseconds


class Bucket:
    """Full at first. `level` is in parts, `MINUTE` of them a token."""

    def __init__(self, per_minute: int, burst: int) -> None:
        self.per_minute = per_minute
        self.most = self.level = burst * MINUTE
        self.seen = 0

    def take(self, now: int) -> bool:
        """Take a token, if there is one. Times do not go back."""
        self.level = min(self.most, self.level + (now - self.seen) * self.per_minute)
        self.seen = now
        if self.level < MINUTE:
            return False
        self.level -= MINUTE
        return True
