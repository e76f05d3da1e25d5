"""Usage and prices go in; cost, savings and the response's `x_kairosroute` object come out.

1. Amounts are integers of nano-dollars; there is one rounding, on the sum (money.py).
2. An unknown price gives an unknown cost, None and null, never 0.
3. Savings are signed here and on the receipt, and floored at 0 in header and body.
"""

from collections.abc import Iterable, Sequence

import msgspec

from kproxy.catalog.load import Price
from kproxy.money import PER_MILLION, format_usd, round_half_up
from kproxy.outcome import AttemptOutcome, Ending, Usage
from kproxy.schema.receipt import Fired, Join, PluginReport
from kproxy.wire.events import Headers
from kproxy.wire.names import COST, SAVINGS

__all__ = [
    "Settlement",
    "Summary",
    "cost",
    "extension_json",
    "savings",
    "total_cost",
    "total_usage",
    "used",
]

NULL = msgspec.Raw(b"null")

_quote = msgspec.json.Encoder().encode


def cost(usage: Usage, price: Price | None) -> int | None:
    """Nano-dollars of that usage; None when the price is not known.

    Reasoning is part of the completion. What was read from or written to the provider's cache has
    its own price where the catalog knows it, and so has a long prompt.
    """
    if price is None:
        return None
    price = price.at(usage.prompt_tokens)
    cached_price = price.input if price.cached_input is None else price.cached_input
    written_price = price.input if price.cache_write is None else price.cache_write
    fresh = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens
    total = (
        fresh * price.input
        + usage.cached_tokens * cached_price
        + usage.cache_write_tokens * written_price
        + usage.completion_tokens * price.output
        + price.per_request * PER_MILLION
    )
    return round_half_up(total, PER_MILLION)


def savings(usage: Usage, reference: Price | None, actual: int | None) -> int:
    """Nano-dollars that the reference model would have cost more; negative when it costs less.

    0 where either cost is not known (contract section 5). A pinned request has no reference.
    """
    if actual is None:
        return 0
    there = cost(usage, reference)
    return 0 if there is None else there - actual


def total_cost(costs: Iterable[int | None]) -> int | None:
    """The sum; None where one of them is not known."""
    total = 0
    for amount in costs:
        if amount is None:
            return None
        total += amount
    return total


def used(outcomes: Iterable[AttemptOutcome], shown: Sequence[AttemptOutcome]) -> Usage:
    """What all answers have used that were asked for: whole ones, and those that were shown."""
    return total_usage(
        [
            one.usage
            for one in outcomes
            if one.usage is not None and (one.ending is Ending.COMPLETE or one in shown)
        ]
    )


def total_usage(parts: Sequence[Usage]) -> Usage:
    """The sum of what the parts of one answer used; estimated where one of them is."""
    if len(parts) == 1:
        return parts[0]
    return Usage(
        prompt_tokens=sum(part.prompt_tokens for part in parts),
        completion_tokens=sum(part.completion_tokens for part in parts),
        cached_tokens=sum(part.cached_tokens for part in parts),
        reasoning_tokens=sum(part.reasoning_tokens for part in parts),
        estimated=any(part.estimated for part in parts),
        cache_write_tokens=sum(part.cache_write_tokens for part in parts),
    )


class Summary(msgspec.Struct, frozen=True):
    """Who was best of a comparison, by the names that were asked for; None: nobody can be said."""

    cheapest: str | None
    fastest: str | None


class Settlement(msgspec.Struct, frozen=True):
    """What a caller is told about one answer. Amounts are nano-dollars."""

    provider: str | None  # display spelling; None, like the model: of a comparison, of several
    model: str | None  # the catalog's id
    cost: int | None  # None: the price is not known
    savings: int  # signed
    estimated: bool  # the usage is our own count
    routed_from: str  # the caller's `model`, as it was
    receipt_id: str
    attempts: int
    strategy: str
    joins: tuple[Join, ...] = ()  # where a broken stream was continued
    guardrails: tuple[Fired, ...] = ()  # rules of the operator that have found something
    summary: Summary | None = None  # of a comparison
    healed: bool | None = None  # None: nothing was to be healed
    healing: tuple[str, ...] = ()  # what was done for it
    unhealed: str | None = None  # what stood against it
    plugins: tuple[PluginReport, ...] = ()

    @property
    def cost_usd(self) -> bytes | None:
        """Plain decimal for the header; None when the price is not known."""
        return None if self.cost is None else format_usd(self.cost).encode("ascii")

    @property
    def savings_usd(self) -> bytes:
        """Plain decimal for the header, never below 0."""
        return format_usd(self.savings).encode("ascii") if self.savings > 0 else b"0"

    @property
    def fields(self) -> Headers:
        """Cost and savings; no cost where the price is not known (contract section 7)."""
        fields: Headers = [(SAVINGS, self.savings_usd)]
        cost_usd = self.cost_usd
        if cost_usd is not None:
            fields.append((COST, cost_usd))
        return fields


def extension_json(settlement: Settlement, explain: bytes | None = None) -> bytes:
    """The `x_kairosroute` object (contract section 3); `explain` is JSON and is put in as it is."""
    cost_usd = settlement.cost_usd
    usual = _quote(
        _Usual(
            settlement.provider,
            NULL if cost_usd is None else msgspec.Raw(cost_usd),
            msgspec.Raw(settlement.savings_usd),
            settlement.routed_from,
            settlement.model,
            settlement.receipt_id,
            settlement.attempts,
            settlement.strategy,
        )
    )
    members = _unusual(settlement)
    if explain is not None:
        members.append((b"explain", explain))
    if not members:
        return usual
    return b"%b,%b}" % (usual[:-1], b",".join([b'"%b":%b' % member for member in members]))


class _Usual(msgspec.Struct, frozen=True):
    """What every such object has, in this order."""

    provider: str | None
    cost_usd: msgspec.Raw
    savings_usd: msgspec.Raw
    routed_from: str
    model: str | None
    receipt_id: str
    attempts: int
    strategy: str


def _unusual(settlement: Settlement) -> list[tuple[bytes, bytes]]:
    members = []
    if settlement.joins:
        members.append((b"rescued", _quote(settlement.joins)))
    if settlement.guardrails:
        members.append((b"guardrails", _quote(settlement.guardrails)))
    if settlement.summary is not None:
        members.append((b"summary", _quote(settlement.summary)))
    if settlement.healed is not None:
        members.append((b"healed", _quote(settlement.healed)))
        members.append((b"healing", _quote(settlement.healing)))
    if settlement.unhealed is not None:
        members.append((b"unhealed", _quote(settlement.unhealed)))
    if settlement.plugins:
        members.append((b"plugins", _quote(settlement.plugins)))
    if settlement.estimated:
        members.append((b"estimated", b"true"))
    return members
