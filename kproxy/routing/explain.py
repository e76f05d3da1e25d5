"""A plan goes in; the decision as JSON for people and programs comes out (contract section 5)."""

import msgspec

from kproxy.money import format_usd
from kproxy.routing.plan import Plan
from kproxy.schema.receipt import Candidate

__all__ = ["explain_json"]

_encode = msgspec.json.Encoder().encode


def explain_json(plan: Plan, attempts: bytes | None = None) -> bytes:
    """`candidates` in order with what each would cost and what kept it out, and the `chain`.

    `attempts` is the JSON of what became of it, put in as it is.
    """
    candidates = b",".join(_candidate(one) for one in plan.candidates)
    chain = _encode([spec.model.key for spec in plan.attempts])
    strategy = _encode(plan.strategy)
    told = b'"strategy":%b,"chain":%b,"candidates":[%b]' % (strategy, chain, candidates)
    return b"{%b}" % (told if attempts is None else b'%b,"attempts":%b' % (told, attempts))


def _candidate(one: Candidate) -> bytes:
    cost = b"null" if one.est_cost is None else format_usd(one.est_cost).encode()
    return b'{"model_id":%b,"provider":%b,"est_cost_usd":%b,"filtered_out_by":%b,"reasons":%b}' % (
        _encode(one.model_id),
        _encode(one.provider),
        cost,
        _encode(one.filtered_out_by),
        _encode(one.reasons),
    )
