"""The Date field of our responses: the wall clock in, the field out, written once a second.

kproxy writes its own responses, so towards its callers it is an origin server (RFC 9110 section
3.7), and an origin server with a clock must send Date (section 6.6.1). One without must not: that
is `no_date`, and what a connection does until it is given a clock.
"""

from collections.abc import Callable
from time import gmtime

from kproxy.wire.events import Headers

__all__ = ["DateField", "DateSource", "no_date"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

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
            self._fields = [(b"date", _spelled(second))]
        return self._fields


def _spelled(second: int) -> bytes:
    """An IMF-fixdate (RFC 9110 section 5.6.7). `email.utils` can do it, for 0.6 MB."""
    at = gmtime(second)
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"{day}, {at.tm_mday:02} {month} {at.tm_year:04} {clock} GMT".encode()
