"""A tier's name in, the numbers it stands for out (contract section 11).

`None` is "no limit of ours" everywhere. The numbers are what limits and quotas are built from;
this file counts nothing itself. An operator's numbers come on top of them, and tiers of the
operator's own beside them, in `config/tiers.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from kproxy.admission.ratelimit import RateParams, rate_params
from kproxy.money import nanos

__all__ = ["TIERS", "Tier", "check_tier_name", "own_tier"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Tier:
    """What an account may use.

    `overage_price` is nano-dollars per million tokens beyond the month's; None means that the
    month's tokens are a hard end (429 `insufficient_quota`), as `hard_cap` does in spite of a
    price. `trial_credit` is nano-dollars of use on the operator's provider keys; with 0 there is
    no such use, and with None it counts against the month's tokens. `paid` opens the paid plugins
    (contract section 9). `rate` follows from the first two numbers, made once because every
    request needs it. Raises ValueError for a rate without a burst, or below 1.
    """

    name: str
    requests_per_minute: int | None
    burst: int | None  # requests at once
    tokens_per_month: int | None
    overage_price: int | None
    trial_credit: int | None
    paid: bool
    hard_cap: bool = False
    rate: RateParams | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if (self.requests_per_minute is None) != (self.burst is None):
            raise ValueError("a rate and its burst are given together")
        rate = None
        if self.requests_per_minute is not None and self.burst is not None:
            rate = rate_params(self.requests_per_minute, self.burst)
        object.__setattr__(self, "rate", rate)  # frozen for everybody else

    @property
    def ends_hard(self) -> bool:
        """Whether the month's tokens end in a refusal; else further ones are sold."""
        return self.overage_price is None or self.hard_cap


def _table(*tiers: Tier) -> Mapping[str, Tier]:
    return MappingProxyType({tier.name: tier for tier in tiers})


TIERS: Mapping[str, Tier] = _table(
    Tier("free", 60, 5, 100_000, None, nanos(5), paid=False),
    Tier("team", 600, 50, 10_000_000, nanos("0.40"), None, paid=True),
    Tier("business", 3_000, 250, 50_000_000, nanos("0.30"), None, paid=True),
    # The seed leaves enterprise to a contract with the customer, so no number is ours to invent.
    Tier("enterprise", None, None, None, None, None, paid=True),
    # For a sidecar: one application, whose own limits are its provider's.
    Tier("unlimited", None, None, None, None, None, paid=True),
)
"""The five tiers by name, read only."""


def own_tier(name: str) -> Tier:
    """A tier of the operator's own before any number is said: no limit of ours, and not paid."""
    return Tier(name, None, None, None, None, None, paid=False)


def check_tier_name(name: str) -> None:
    """Pass what can be the name of a tier, there or not, or raise ValueError.

    One case alone: `Team` beside `team` would be a mistake that nothing finds.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("a tier's name is 1 to 64 of a-z, 0-9, _ and -, and no sign comes first")
