"""A plan goes in; the decision as JSON for people and programs comes out (contract section 5)."""

import msgspec

from kproxy.money import format_usd
from kproxy.routing.plan import Plan
from kproxy.schema.receipt import Candidate

__all__ = ["explain_json"]

_encode = msgspec.json.Encoder().encode


def explain_json(plan: Plan, attempts: bytes | None = None) -> bytes:
    """The `classification`, the `dial`, the `candidates` in order with what to expect of each, what
    it is worth by the dial, what it would cost and what kept it out, the `chain`, and the
    `policy_version` that made it.

    `attempts` is the JSON of what became of it, put in as it is.
    """
    candidates = b",".join(_candidate(one) for one in plan.candidates)
    told = b",".join(
        (
            b'"classification":' + _encode(plan.classification),
            b'"dial":' + _encode(plan.dial),
            b'"policy_version":' + _encode(plan.policy_version),
            b'"strategy":' + _encode(plan.strategy),
            b'"chain":' + _encode([spec.model.key for spec in plan.attempts]),
            b'"candidates":[' + candidates + b"]",
        )
    )
    return b"{%b}" % (told if attempts is None else b'%b,"attempts":%b' % (told, attempts))


def _candidate(one: Candidate) -> bytes:
    cost = b"null" if one.est_cost is None else format_usd(one.est_cost).encode()
    return (
        b'{"model_id":%b,"provider":%b,"score":%b,"worth":%b,"est_cost_usd":%b,'
        b'"filtered_out_by":%b,"reasons":%b}'
    ) % (
        _encode(one.model_id),
        _encode(one.provider),
        _encode(one.score),
        b"null" if one.worth is None else b"%.4f" % one.worth,
        cost,
        _encode(one.filtered_out_by),
        _encode(one.reasons),
    )
