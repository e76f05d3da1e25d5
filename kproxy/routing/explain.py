"""A plan goes in; the decision as JSON for people and programs comes out (contract section 5)."""

import msgspec

from kproxy.money import format_usd
from kproxy.routing.plan import Plan
from kproxy.schema.receipt import Candidate

__all__ = ["explain_json"]

_encode = msgspec.json.Encoder().encode


def explain_json(plan: Plan, attempts: bytes | None = None) -> bytes:
    """The `classification`, the `candidates` in order with what to expect of each, what it would
    cost and what kept it out, the `chain`, and the `policy_version` that made it.

    `attempts` is the JSON of what became of it, put in as it is.
    """
    candidates = b",".join(_candidate(one) for one in plan.candidates)
    told = b'"classification":%b,"policy_version":%b,"strategy":%b,"chain":%b,"candidates":[%b]' % (
        _encode(plan.classification),
        _encode(plan.policy_version),
        _encode(plan.strategy),
        _encode([spec.model.key for spec in plan.attempts]),
        candidates,
    )
    return b"{%b}" % (told if attempts is None else b'%b,"attempts":%b' % (told, attempts))


def _candidate(one: Candidate) -> bytes:
    cost = b"null" if one.est_cost is None else format_usd(one.est_cost).encode()
    return (
        b'{"model_id":%b,"provider":%b,"score":%b,"est_cost_usd":%b,'
        b'"filtered_out_by":%b,"reasons":%b}'
    ) % (
        _encode(one.model_id),
        _encode(one.provider),
        _encode(one.score),
        cost,
        _encode(one.filtered_out_by),
        _encode(one.reasons),
    )
