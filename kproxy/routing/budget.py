"""Requests and time go in; whether one more attempt may be made comes out.

The problem: a hedge, or a repeat at the same endpoint, is an attempt that nobody asked for. The
obvious way is a maximum for each request, "two retries at most". It fails when it matters: a
provider that slows down makes every request hedge, the load doubles or triples just where it cannot
be borne, the provider slows down further, and the storm feeds itself until the callers stop.

Our way: a budget shared by all requests. Each of them pays in a small share of an attempt, and each
hedge takes a whole one out. While few need it, they have it at once; when all need it, the share
bounds the extra load, however slow the provider is. A sidecar with a request now and then would
never save up a whole attempt, so time pays in a little too. The reserve bounds what a long quiet
time may save up for one burst.

What we do not do: a budget for fallbacks. Another endpoint after a failure is what the caller came
for, and the plan's length bounds it.
"""

import math
from collections.abc import Iterable

import msgspec

__all__ = ["Budget", "BudgetParams", "affordable"]


class BudgetParams(msgspec.Struct, frozen=True):
    """In attempts: paid in per request, paid in per second, the most that is kept, and the first.

    Raises ValueError for what is no such number. With nothing paid in and no `start`, no attempt is
    allowed at all.
    """

    share: float = 0.05
    floor: float = 0.1
    reserve: float = 20.0
    start: float = 1.0  # the first one need not be saved up for

    def __post_init__(self) -> None:
        if not (0 <= self.share < math.inf and 0 <= self.floor < math.inf):
            raise ValueError("a budget's share or floor is negative or no number")
        if not 1 <= self.reserve < math.inf:
            raise ValueError("a budget's reserve does not hold one attempt")
        if not 0 <= self.start <= self.reserve:
            raise ValueError("a budget starts with less than nothing or more than its reserve")


class Budget:
    """A token bucket. `now` is in seconds of a steady clock.

    Over any stretch of time it lets through at most reserve + share x requests + floor x seconds.
    """

    __slots__ = ("_at", "_params", "_tokens")

    def __init__(self, params: BudgetParams) -> None:
        self._params = params
        self._tokens = params.start
        self._at: float | None = None  # when time last paid in

    def deposit(self, now: float) -> None:
        """A request came: once for each, whatever it will need."""
        self._pay_in(now, self._params.share)

    def withdraw(self, now: float) -> bool:
        """Whether one more attempt may be made; if so, it is paid for."""
        self._pay_in(now, 0.0)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def give_back(self) -> None:
        """An attempt that was paid for was not made."""
        self._tokens = min(self._params.reserve, self._tokens + 1.0)

    def _pay_in(self, now: float, amount: float) -> None:
        if self._at is not None:
            amount += self._params.floor * (now - self._at)
        self._at = now
        self._tokens = min(self._params.reserve, self._tokens + amount)


def affordable(running: Iterable[int | None], est_cost: int | None, cap: int | None) -> bool:
    """Whether one more attempt keeps the estimates of all that run within the cap, in nano-dollars.

    `running` are the estimates of the attempts so far, those that ended included where they may be
    billed. No cap affords everything; under one, what has no known price affords nothing.
    """
    if cap is None:
        return True
    total = 0
    for cost in (*running, est_cost):
        if cost is None:
            return False
        total += cost
    return total <= cap
