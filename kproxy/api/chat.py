"""POST /v1/chat/completions: the life of a request, top to bottom.

who -> limited -> body -> parsed -> allowed -> its turn (with an Idempotency-Key, idempotency.py) ->
guarded (by the operator's rules, where there are some) -> planned -> reserved -> carried out. Each
step either gives the next one its value or raises what the caller is told; nothing is dispatched,
counted or charged for a refused request.
"""

import hashlib
import math

import trio

from kproxy.api.admit import Passed, key_constraints, limited_by, reserve, take_turn
from kproxy.api.guardrails import guard_request
from kproxy.api.idempotency import Asked, Keep, idempotency_key, replay
from kproxy.api.job import Admitted, Job
from kproxy.api.service import Service
from kproxy.api.stream import answer_stream
from kproxy.api.whole import answer_whole
from kproxy.downstream.exchange import Exchange
from kproxy.guard.validate import validate
from kproxy.routing.candidates import is_auto
from kproxy.routing.conversation import turn_of
from kproxy.routing.estimate import estimate_prompt_tokens
from kproxy.routing.planner import plan
from kproxy.schema.chat import ChatCall, decode_chat

__all__ = ["complete_chat"]


async def complete_chat(service: Service, exchange: Exchange) -> None:
    """Answer one chat request, streamed or whole; with an Idempotency-Key, once or once more."""
    caller = service.identify(exchange)
    rate, arrived = take_turn(service, caller), service.unix_now()
    body = await exchange.read_body()
    call = decode_chat(body, service.json_limits)
    validate(call.request, paid=caller.paid)
    passed = Passed(caller, call, rate, arrived)
    key = idempotency_key(exchange.head.headers, call.request)
    if key is None:
        await _carry_out(service, exchange, passed)
        return
    deadline = _deadline(service, exchange, call)
    asked = Asked(caller.account.id, key, hashlib.sha256(body).digest(), deadline)
    async with service.once.turn(asked) as turn:
        if turn.kept is None:
            exchange.link.on_gone = None  # see idempotency.py: carried out, whoever hangs up
            await _carry_out(service, exchange, passed, turn.keep)
            return
    await exchange.respond(replay(turn.kept, limited_by(rate, None)))


async def _carry_out(
    service: Service, exchange: Exchange, passed: Passed, keep: Keep | None = None
) -> None:
    """Plan, reserve, dispatch, answer. Raises what the caller is told."""
    guarded = None
    if service.guardrails is not None:
        deadline = _deadline(service, exchange, passed.call)
        call, guarded = await guard_request(service.guardrails, passed.call, deadline)
        passed = passed._replace(call=call)
    call, key, now = passed.call, key_constraints(passed.caller), trio.current_time()
    prompt_tokens = estimate_prompt_tokens(call.prompt)
    free = is_auto(call.request.model)
    turn = turn_of(call, passed.caller.account.id) if free else None
    judged = free or key.min_quality is not None or service.policy.routing.floors
    decision = plan(
        call.request,
        prompt_tokens,
        service.catalog,
        service.policy,
        service.routes.snapshot(now),
        key,
        service.appraise(call.request) if judged else None,
        None if turn is None else service.conversations.route(turn, now),
    )
    held, decision = reserve(service, passed, prompt_tokens, decision)
    admitted = Admitted(passed, prompt_tokens, held, keep, guarded)
    with Job(service, exchange, admitted, decision) as job:
        if call.request.stream:
            await answer_stream(job)
        else:
            await answer_whole(job)
    if turn is not None:
        service.conversations.answered(turn, job.answered_by, trio.current_time())


def _deadline(service: Service, exchange: Exchange, call: ChatCall) -> float:
    """When the caller's patience ends, or ours; the plan's own total may be shorter."""
    wish = call.request.extension.deadline_ms
    total = min(service.policy.timeouts.total, math.inf if wish is None else wish / 1000)
    return exchange.arrived + total
