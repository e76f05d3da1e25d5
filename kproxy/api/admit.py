"""A caller and a request in; leave to go on, and what has to be given back, out.

Limits come in two moments (house plan 4.3). The rate is taken on the head, so that an abuser never
makes us read a body. Tokens and credit are reserved once the plan says what the request may use,
and the reservation is the job's from then on.
"""

from kproxy.admission.identity import Caller
from kproxy.admission.quota import Amount, counted
from kproxy.admission.ratelimit import Verdict, rate_exceeded
from kproxy.admission.standing import limit_fields
from kproxy.api.service import Held, Service
from kproxy.errors import Rejected
from kproxy.routing.constraints import KeyConstraints
from kproxy.routing.estimate import DEFAULT_OUTPUT_TOKENS
from kproxy.routing.plan import Plan
from kproxy.schema.chat import ChatRequest

__all__ = ["key_constraints", "reserve", "take_turn"]

ROOM_AGAIN = b"5"
"""Seconds after which a caller may look whether the ledger has room again."""


def take_turn(service: Service, caller: Caller) -> Verdict | None:
    """One request of the account's rate; None: it has no limit. Raises Rejected 429."""
    verdict = service.limits.take(caller.account.id, caller.tier.rate, service.boot_ns())
    if verdict is not None and not verdict.allowed:
        raise rate_exceeded(verdict)
    return verdict


def key_constraints(caller: Caller) -> KeyConstraints:
    """What the key allows, as the planner reads it."""
    guardrails, tier = caller.guardrails, caller.tier
    return KeyConstraints(
        max_cost=guardrails.max_cost,
        allowed=guardrails.allowed,
        excluded=guardrails.excluded,
        min_quality=guardrails.min_quality,
        locked=caller.locked,
        on_credit=tier.trial_credit > 0,
        own=frozenset(caller.provider_keys),
    )


def reserve(
    service: Service, caller: Caller, request: ChatRequest, prompt_tokens: int, plan: Plan
) -> Held:
    """Hold back what the request may use at most. Raises Rejected: 429 `insufficient_quota`, 503
    where there is no room for its receipt."""
    if not service.journal.healthy:
        raise _no_room()
    tokens = prompt_tokens + (request.output_limit or DEFAULT_OUTPUT_TOKENS) * (request.n or 1)
    asked = Amount(0, 0)
    for spec in plan.attempts:
        managed = spec.model.provider not in caller.provider_keys
        cost = plan.beside * (spec.est_cost or 0)
        one = counted(caller.tier, tokens, cost, managed=managed)
        asked = Amount(max(asked.tokens, one.tokens), max(asked.spend, one.spend))
    return service.limits.reserve(caller.account.id, caller.tier, asked, service.unix_now())


def limited_by(rate: Verdict | None, held: Held | None) -> tuple[tuple[bytes, bytes], ...]:
    """The fields that say how the caller's limits stand; none where there are no limits.

    Without `held`, nothing is reserved: only the rate is said.
    """
    tokens = None if held is None else held.standing
    return limit_fields(None if rate is None else rate.standing, tokens)


def _no_room() -> Rejected:
    message = "The ledger has no room for another receipt; nothing was dispatched."
    rejected = Rejected(503, "ledger_unavailable", message)
    rejected.headers = ((b"retry-after", ROOM_AGAIN),)
    return rejected
