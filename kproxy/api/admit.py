"""A caller and a request in; leave to go on, and what has to be given back, out.

Limits come in two moments (house plan 4.3). The rate is taken on the head, so that an abuser never
makes us read a body. Tokens and credit are reserved once the plan says what the request may use,
and the reservation is the job's from then on.
"""

from collections.abc import Iterable

import msgspec

from kproxy.admission.guardrails import NO_GUARDRAILS
from kproxy.admission.identity import Caller
from kproxy.admission.quota import Amount, counted
from kproxy.admission.ratelimit import Verdict, rate_exceeded
from kproxy.admission.standing import limit_fields
from kproxy.api.service import Held, Service
from kproxy.errors import Rejected
from kproxy.guard.forms import Forms
from kproxy.routing.constraints import ANYTHING, KeyConstraints
from kproxy.routing.estimate import estimate_cost
from kproxy.routing.plan import AttemptSpec, Plan
from kproxy.schema.chat import ChatCall
from kproxy.store.database import StoreError

__all__ = ["Passed", "key_constraints", "limited_by", "reserve", "reserve_all", "take_turn"]

LONG_OUTPUT = 4_096
"""Tokens of a long answer, for whom the caller's budget ends hard: reserved, and given back."""

OVER_A_LIMIT = 429

ROOM_AGAIN = b"5"
"""Seconds after which a caller may look whether the ledger has room again."""


class Passed(msgspec.Struct, frozen=True):
    """A request that nothing stands against so far. `arrived` is Unix seconds; `forms` is what is
    to be healed of its answer."""

    caller: Caller
    call: ChatCall
    rate: Verdict | None
    arrived: float
    forms: Forms | None = None


def take_turn(service: Service, caller: Caller) -> Verdict | None:
    """One request of the account's rate; None: it has no limit. Raises Rejected 429, and 503 where
    the counters cannot be used."""
    try:
        verdict = service.limits.take(caller.account.id, caller.tier.rate, service.boot_ns())
    except StoreError as error:
        raise _no_room("The counters of the limits cannot be used.") from error
    if verdict is not None and not verdict.allowed:
        raise rate_exceeded(verdict)
    return verdict


def key_constraints(caller: Caller) -> KeyConstraints:
    """What the key allows, as the planner reads it."""
    guardrails, tier, own = caller.guardrails, caller.tier, caller.provider_keys
    if guardrails is NO_GUARDRAILS and not (own or caller.locked) and tier.trial_credit is None:
        return ANYTHING
    return KeyConstraints(
        max_cost=guardrails.max_cost,
        allowed=guardrails.allowed,
        excluded=guardrails.excluded,
        min_quality=guardrails.min_quality,
        locked=caller.locked,
        on_credit=tier.trial_credit is not None,
        own=frozenset(own),
    )


def reserve(service: Service, passed: Passed, prompt_tokens: int, plan: Plan) -> tuple[Held, Plan]:
    """Hold back what the request may use, and the plan without the attempts that do not fit.

    Raises Rejected: 429 `insufficient_quota` where none fits, 503 where there is no room for its
    receipt. Of attempts that run one after the other only one is charged, see `api/job.py`; so
    what is held is the most of those that may run at one time. Each of the plan may be reached,
    since one that rests when its turn comes does not count.
    """
    if len(plan.attempts) == 1:
        return _hold(service, passed, _may_use(passed, prompt_tokens, plan.attempts[0])), plan
    fitting = list(plan.attempts)
    while True:
        amounts = [_may_use(passed, prompt_tokens, spec) for spec in fitting]
        at_once = min(plan.beside, plan.most, len(amounts))
        asked = Amount(
            at_once * max(one.tokens for one in amounts),
            at_once * max(one.spend for one in amounts),
        )
        try:
            held = _hold(service, passed, asked)
        except Rejected as refusal:
            if len(fitting) == 1 or refusal.status != OVER_A_LIMIT:
                raise
            del fitting[amounts.index(max(amounts, key=lambda one: (one.spend, one.tokens)))]
            continue
        if len(fitting) < len(plan.attempts):
            plan = msgspec.structs.replace(plan, attempts=tuple(fitting))
        return held, plan


def reserve_all(
    service: Service, passed: Passed, prompt_tokens: int, plans: Iterable[Plan]
) -> Held:
    """Hold back what plans that are carried out beside each other may use: the sum, since each
    answer was asked for. Raises Rejected 429 and 503 like `reserve`."""
    most = Amount(0, 0)
    for plan in plans:
        amounts = [_may_use(passed, prompt_tokens, spec) for spec in plan.attempts]
        most = Amount(
            most.tokens + max(one.tokens for one in amounts),
            most.spend + max(one.spend for one in amounts),
        )
    return _hold(service, passed, most)


def _hold(service: Service, passed: Passed, asked: Amount) -> Held:
    """Raises Rejected: 429 where it does not fit, 503 where nothing can be held."""
    if not service.journal.healthy:
        raise _no_room("The ledger has no room for another receipt.")
    caller = passed.caller
    try:
        return service.limits.reserve(caller.account.id, caller.tier, asked, passed.arrived)
    except StoreError as error:
        raise _no_room("The counters of the limits cannot be used.") from error


def _may_use(passed: Passed, prompt_tokens: int, spec: AttemptSpec) -> Amount:
    """What an attempt may use of its account's budgets: what its plan says. But where one has a
    hard end, an answer that has no limit may be long."""
    caller, request = passed.caller, passed.call.request
    tier, output, cost = caller.tier, spec.output_tokens, spec.est_cost
    if request.most_output is None and (tier.trial_credit is not None or tier.ends_hard):
        most = min(spec.model.max_output_tokens or LONG_OUTPUT, LONG_OUTPUT)
        output = most * (request.n or 1)
        cost = estimate_cost(spec.model.price, prompt_tokens, output)
    managed = spec.model.provider not in caller.provider_keys
    return counted(tier, prompt_tokens + output, cost or 0, managed=managed)


def limited_by(rate: Verdict | None, held: Held | None) -> tuple[tuple[bytes, bytes], ...]:
    """The fields that say how the caller's limits stand; none where there are no limits.

    Without `held`, nothing is reserved: only the rate is said.
    """
    tokens = None if held is None else held.standing
    return limit_fields(None if rate is None else rate.standing, tokens)


def _no_room(why: str) -> Rejected:
    rejected = Rejected(503, "ledger_unavailable", f"{why} Nothing was dispatched.")
    rejected.headers = ((b"retry-after", ROOM_AGAIN),)
    return rejected
