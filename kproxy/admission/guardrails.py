"""What a key may spend and where, as a value (contract section 11); and how a listing shows it.

A guardrail can only narrow what the account may do. The planner reads these values; nothing here
routes.
"""

from collections.abc import Iterable

import msgspec

from kproxy.money import format_usd
from kproxy.schema.keys import GuardrailsObject

__all__ = ["NO_GUARDRAILS", "Guardrails", "shown"]


class Guardrails(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """None or empty: not set. Also the form in which the store keeps them.

    `max_cost` is nano-dollars for one request. Providers are slugs: with `allowed` only those,
    and never one of `excluded`. `min_quality` is from 0 to 1.
    """

    max_cost: int | None = None
    allowed: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    min_quality: float | None = None


NO_GUARDRAILS = Guardrails()
"""Of a key for which nothing was set."""


def shown(guardrails: Guardrails, own_providers: Iterable[str]) -> GuardrailsObject:
    """For the key's owner. `own_providers` are those for which the key has a provider key."""
    cost = guardrails.max_cost
    return GuardrailsObject(
        max_cost_per_request_usd=msgspec.Raw(b"null" if cost is None else format_usd(cost)),
        allowed_providers=tuple(sorted(guardrails.allowed)),
        excluded_providers=tuple(sorted(guardrails.excluded)),
        min_quality_threshold=guardrails.min_quality,
        provider_keys=tuple(sorted(own_providers)),
    )
