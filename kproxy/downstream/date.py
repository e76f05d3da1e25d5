"""The Date field of our responses: the wall clock in, the field out, written once a second.

kproxy writes its own responses, so towards its callers it is an origin server (RFC 9110 section
3.7), and an origin server with a clock must send Date (section 6.6.1). One without must not: that
is `no_date`, and what a connection does until it is given a clock.
"""

from collections.abc import Callable
from email.utils import formatdate

from kproxy.wire.events import Headers

__all__ = ["DateField", "DateSource", "no_date"]

DateSource = Callable[[], Headers]
"""The Date field as a list: of one, or of none without a clock."""


def no_date() -> Headers:
    """Nothing: there is no clock."""
    return []


class DateField:
    """A `DateSource` over `unix_now`, which gives Unix seconds."""

    __slots__ = ("_fields", "_second", "_unix_now")

    def __init__(self, unix_now: Callable[[], float]) -> None:
        self._unix_now = unix_now
        self._second: int | None = None
        self._fields: Headers = []

    def __call__(self) -> Headers:
        """The field for now. The list is kept: do not change it."""
        second = int(self._unix_now())
        if second != self._second:
            self._second = second
            self._fields = [(b"date", formatdate(second, usegmt=True).encode("ascii"))]
        return self._fields
