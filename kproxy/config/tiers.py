"""The operator's `[tiers.NAME]` tables in, every tier as it is in force out (contract section 11).

What a table does not say stays as `admission/tiers.py` has it.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from kproxy.admission.tiers import TIERS, Tier
from kproxy.config.model import TierConfig
from kproxy.money import nanos

__all__ = ["build_tiers", "change_tier"]

# The share of a minute's requests that may come at once, where only the rate is given: what the
# three tiers of the contract have in common (5 of 60, 50 of 600, 250 of 3,000).
_BURST_SHARE = 12


def build_tiers(changed: Mapping[str, Tier]) -> Mapping[str, Tier]:
    """Every tier by name, read only: the defaults under the changed ones."""
    return MappingProxyType({**TIERS, **changed})


def change_tier(tier: Tier, given: TierConfig) -> Tier:
    """The tier with the given numbers. Raises ValueError `field: reason`.

    A rate without a burst has a twelfth of it at once.
    """
    per_minute, burst = given.requests_per_minute, given.burst
    if per_minute is not None and burst is None:
        burst = max(1, per_minute // _BURST_SHARE)
    if per_minute is None:
        per_minute = tier.requests_per_minute
    if burst is not None and per_minute is None:
        raise ValueError("burst: needs requests_per_minute beside it")
    return dataclasses.replace(
        tier,
        requests_per_minute=per_minute,
        burst=tier.burst if burst is None else burst,
        tokens_per_month=(
            tier.tokens_per_month if given.tokens_per_month is None else given.tokens_per_month
        ),
        overage_price=_amount("overage", given.overage, tier.overage_price),
        hard_cap=tier.hard_cap if given.hard_cap is None else given.hard_cap,
        trial_credit=_amount("trial_credit", given.trial_credit, tier.trial_credit),
    )


def _amount(field: str, given: float | None, default: int | None) -> int | None:
    if given is None:
        return default
    try:
        return nanos(given)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from error
