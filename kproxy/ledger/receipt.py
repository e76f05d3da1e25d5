"""A stored receipt goes in; the JSON that its account reads comes out (contract section 7).

1. Amounts leave as plain decimal numbers of USD, never through a float; times as milliseconds.
2. A price that is not known gives null beside `"price_unknown": true`, never 0.
3. Savings keep their sign here; only an answer's header and body floor them.
"""

from collections.abc import Sequence

import msgspec

from kproxy.money import format_usd
from kproxy.outcome import AttemptOutcome, Usage
from kproxy.schema.receipt import Candidate, Execution, Receipt

__all__ = ["attempts_json", "receipt_id", "receipt_json", "receipts_json"]

Members = dict[str, object]

_encode = msgspec.json.Encoder().encode


def receipt_id(arrived: float, exchange_id: str) -> str:
    """The name of the receipt of an exchange (its own name: 24 random hexadecimal digits) that has
    arrived then, Unix seconds.

    The time comes first, as in UUIDv7 (RFC 9562 section 5.7), so that an index is written at its
    end: each id at a place of its own was half of what a receipt costs the database. But with 40
    bits of 1/256 s and 56 of chance, not 48 and 48: a receipt whose id is there already is taken
    for one that was moved twice, and at 4,400 a second two would meet in 60,000 years, not 1,000.
    """
    return f"rcpt_{int(256 * arrived) & 0xFF_FFFF_FFFF:010x}{exchange_id[10:]}"


def receipt_json(receipt: Receipt) -> bytes:
    """One receipt as a JSON object."""
    return _encode(_receipt(receipt))


def receipts_json(page: Sequence[Receipt], *, more: bool) -> bytes:
    """A page of receipts in the order given; `more` says whether the next page holds any."""
    return _encode(
        {
            "object": "list",
            "data": [_receipt(receipt) for receipt in page],
            "first_id": page[0].receipt_id if page else None,
            "last_id": page[-1].receipt_id if page else None,
            "has_more": more,
        }
    )


def attempts_json(outcomes: Sequence[AttemptOutcome]) -> bytes:
    """The attempts alone as a JSON array, for the `explain` object of an answer."""
    return _encode([_attempt(outcome) for outcome in outcomes])


def _receipt(receipt: Receipt) -> Members:
    classification, decision, joins = (
        receipt.classification,
        receipt.decision,
        receipt.execution.joins,
    )
    members: Members = {
        "receipt_id": receipt.receipt_id,
        "object": "receipt",
        "created": int(receipt.arrived),
        "key_id": receipt.key_id,
        "routed_from": receipt.asked,
        "stream": receipt.stream,
        "classification": classification,
        "candidates": [_candidate(candidate) for candidate in receipt.candidates],
        "decision": decision,
        "attempts": [_attempt(outcome) for outcome in receipt.attempts],
        "execution": _execution(receipt.execution),
        "policy_version": receipt.policy_version,
    }
    if joins:
        members["joins"] = joins
    if receipt.guardrails:
        members["guardrails"] = receipt.guardrails
    if receipt.plugins:
        members["plugins"] = receipt.plugins
    return members


def _candidate(candidate: Candidate) -> Members:
    members: Members = {
        "model_id": candidate.model_id,
        "provider": candidate.provider,
        "score": candidate.score,
        "worth": None if candidate.worth is None else round(candidate.worth, 4),
        "est_cost_usd": _usd(candidate.est_cost),
        "reasons": candidate.reasons,
        "filtered_out_by": candidate.filtered_out_by,
    }
    return _marked(members, candidate.est_cost)


def _attempt(outcome: AttemptOutcome) -> Members:
    usage = outcome.usage
    members: Members = {
        "model": outcome.model,
        "provider": outcome.provider,
        "started_ms": _ms(outcome.started),
        "first_token_ms": _ms(outcome.first_token),
        "ended_ms": _ms(outcome.ended),
        "ending": outcome.ending,
        "fault": outcome.fault,
        "usage": _usage(usage),
        "cost_usd": _usd(outcome.cost),
        "estimated": usage is not None and usage.estimated,
        "price_date": outcome.price_date,
    }
    if outcome.own_key:
        members["own_key"] = True
    return _marked(members, outcome.cost)


def _execution(execution: Execution) -> Members:
    known = execution.cost is not None
    members: Members = {
        "status": execution.status,
        "actual_cost_usd": _usd(execution.cost),
        # What was saved against a cost that is not known is not known either.
        "savings_usd": _usd(execution.savings if known else None),
        "actual_latency_ms": _ms(execution.latency),
        "first_token_ms": _ms(execution.first_token),
        "usage": _usage(execution.usage),
        "charged_tokens": execution.charged_tokens,
        "charged_spend_usd": _usd(execution.charged_spend),
    }
    if execution.healed is not None:
        members["healed"] = execution.healed
    return _marked(members, execution.cost)


def _usage(usage: Usage | None) -> Members | None:
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "estimated": usage.estimated,
    }


def _marked(members: Members, amount: int | None) -> Members:
    if amount is None:
        members["price_unknown"] = True
    return members


def _usd(amount: int | None) -> msgspec.Raw | None:
    return None if amount is None else msgspec.Raw(format_usd(amount).encode("ascii"))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 3)
