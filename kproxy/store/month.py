"""Unix seconds in, the calendar month around them in UTC out (contract section 11)."""

from datetime import UTC, datetime
from typing import NamedTuple

__all__ = ["Month", "month_at"]


class Month(NamedTuple):
    """`number` counts months and never repeats; from `start` until before `end`, Unix seconds."""

    number: int
    start: int
    end: int


def month_at(unix: float) -> Month:
    """The month of that moment. Raises ValueError or OverflowError for what is in no calendar."""
    moment = datetime.fromtimestamp(unix, UTC)
    number = moment.year * 12 + moment.month - 1
    return Month(number, _start(number), _start(number + 1))


def _start(number: int) -> int:
    year, month = divmod(number, 12)
    return int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp())
