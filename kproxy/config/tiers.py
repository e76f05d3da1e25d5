"""The operator's `[tiers.NAME]` tables in, every tier as it is in force out (contract section 11).

What a table does not say stays as `admission/tiers.py` has it. A name that is not there makes a
tier of the operator's own: what its table does not say is no limit of ours, and it is not paid.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from kproxy.admission.tiers import TIERS, Tier, check_tier_name, own_tier
from kproxy.config.convert import convert
from kproxy.config.document import PlacedError
from kproxy.config.model import TierConfig
from kproxy.money import format_usd, nanos

__all__ = ["build_tiers", "change_tier", "describe_tiers", "read_tiers"]

# The share of a minute's requests that may come at once, where only the rate is given: what the
# three tiers of the contract have in common (5 of 60, 50 of 600, 250 of 3,000).
_BURST_SHARE = 12


def read_tiers(tables: Mapping[str, object]) -> Mapping[str, Tier]:
    """Every tier by name, read only. Raises PlacedError."""
    changed = {}
    for name, table in tables.items():
        steps = ("tiers", name)
        try:
            check_tier_name(name)
        except ValueError as error:
            raise PlacedError(steps, str(error)) from error
        given = convert(table, TierConfig, steps)
        try:
            changed[name] = change_tier(TIERS.get(name) or own_tier(name), given)
        except ValueError as error:
            field, _, reason = str(error).partition(": ")
            raise PlacedError((*steps, field), reason) from error
    return build_tiers(changed)


def build_tiers(changed: Mapping[str, Tier]) -> Mapping[str, Tier]:
    """Every tier by name, read only: the defaults under the changed and the operator's own."""
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
        paid=tier.paid if given.paid is None else given.paid,
    )


def describe_tiers(tiers: Mapping[str, Tier]) -> list[str]:
    """What differs from the contract's tiers, a line for each: a misspelt name is seen here."""
    return [_described(tier) for name, tier in tiers.items() if tier != TIERS.get(name)]


def _described(tier: Tier) -> str:
    told = []
    if tier.requests_per_minute is not None:
        told.append(f"{tier.requests_per_minute} requests/min")
        told.append(f"burst {tier.burst}")
    if tier.tokens_per_month is not None:
        told.append(f"{tier.tokens_per_month} tokens/month")
        if not tier.ends_hard:
            told.append(f"then {format_usd(tier.overage_price or 0)} USD per 1 M")
    if tier.trial_credit is not None:
        told.append(f"{format_usd(tier.trial_credit)} USD of credit")
    told = told or ["no limits"]
    return f"{tier.name} ({'; '.join([*told, 'paid' if tier.paid else 'not paid'])})"


def _amount(field: str, given: float | None, default: int | None) -> int | None:
    if given is None:
        return default
    try:
        return nanos(given)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from error
