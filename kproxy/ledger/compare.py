"""What became of each model of a comparison goes in; the reply's JSON comes out (contract section
8), but for its own `x_kairosroute`.

1. A choice for each model, in the order asked. Of one that answered it is the provider's own first
   choice, with our index and our object; of one that failed a message without content, and no
   finish reason, since there was none.
2. A price that is not known makes no model the cheapest.
3. `first_token_ms` is null: whole answers are asked for, and a provider is silent until it has
   written everything. So the fastest is who had its whole answer first.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw

from kproxy.ledger.settle import Summary
from kproxy.money import format_usd
from kproxy.outcome import Usage
from kproxy.schema.compare import COMPARE

__all__ = ["Compared", "Named", "comparison_json", "summed_up"]

FAILED = {
    "index": Raw(b"0"),
    "message": Raw(b'{"role":"assistant","content":null}'),
    "finish_reason": Raw(b"null"),
}
"""The choice of a model without an answer. Its index is set like any other's."""

_encode = msgspec.json.Encoder().encode


class Named(msgspec.Struct, frozen=True):
    """The reply itself. `created` is Unix seconds."""

    id: str
    created: int


class Compared(msgspec.Struct, frozen=True):
    """One model of a comparison. `latency` is seconds from the start of all to its end, None where
    it was not asked; `cost` nano-dollars of all its attempts, None where a price is not known.
    """

    name: str  # as it was asked for
    model: str  # the catalog's id
    provider: str | None  # display spelling; None: nobody was asked
    cost: int | None
    latency: float | None
    choice: Mapping[str, Raw] | None = None  # None: it failed
    error: Raw | None = None  # an error object of the API


def comparison_json(named: Named, compared: Sequence[Compared], usage: Usage) -> bytes:
    """A `chat.completion`. `usage` is the sum of those who answered."""
    return _encode(
        {
            "id": named.id,
            "object": "chat.completion",
            "created": named.created,
            "model": COMPARE,
            "choices": [_choice(index, one) for index, one in enumerate(compared)],
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
                "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
                "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            },
        }
    )


def summed_up(compared: Sequence[Compared]) -> Summary:
    """The cheapest and the fastest of those who answered; of equals the first."""
    answered = [one for one in compared if one.choice is not None]
    priced = [(one.cost, one.name) for one in answered if one.cost is not None]
    timed = [(one.latency, one.name) for one in answered if one.latency is not None]
    return Summary(
        cheapest=min(priced, key=lambda one: one[0])[1] if priced else None,
        fastest=min(timed, key=lambda one: one[0])[1] if timed else None,
    )


def _choice(index: int, one: Compared) -> dict[str, object]:
    said = FAILED if one.choice is None else one.choice
    ours = {
        "model": one.model,
        "provider": one.provider,
        "cost_usd": None if one.cost is None else Raw(format_usd(one.cost).encode("ascii")),
        "latency_ms": None if one.latency is None else round(1000 * one.latency, 3),
        "first_token_ms": None,
        "error": one.error,
    }
    return {**said, "index": index, "x_kairosroute": ours}
