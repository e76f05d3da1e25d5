"""POST /v1/chat/completions and /v1/compare: the life of a request, top to bottom.

who -> limited -> body -> parsed -> allowed -> its turn (with an Idempotency-Key, idempotency.py) ->
guarded (by the operator's rules, where there are some) -> planned -> reserved -> carried out. Each
step either gives the next one its value or raises what the caller is told; nothing is dispatched,
counted or charged for a refused request.
"""

import hashlib
import math
from collections.abc import Callable

import trio

from kproxy.api.admit import Passed, key_constraints, limited_by, reserve, reserve_all, take_turn
from kproxy.api.compare import answer_compared
from kproxy.api.guardrails import guard_request
from kproxy.api.idempotency import Asked, Keep, idempotency_key, replay
from kproxy.api.job import Admitted, Job
from kproxy.api.service import Service
from kproxy.api.stream import answer_stream
from kproxy.api.whole import answer_whole
from kproxy.downstream.exchange import Exchange
from kproxy.guard.forms import read_forms
from kproxy.guard.validate import validate
from kproxy.routing.candidates import is_auto
from kproxy.routing.compare import compare
from kproxy.routing.conversation import turn_of
from kproxy.routing.estimate import estimate_prompt_tokens
from kproxy.routing.plan import Plan
from kproxy.routing.planner import plan
from kproxy.schema.chat import ChatCall, ChatRequest
from kproxy.schema.compare import CompareRequest, decode_compare, decode_either
from kproxy.schema.jsonlimits import JsonLimits

__all__ = ["compare_models", "complete_chat"]

Decode = Callable[[bytes, JsonLimits], ChatCall]
"""Reads a whole body. Raises Rejected 400."""


async def complete_chat(service: Service, exchange: Exchange) -> None:
    """Answer one chat request, streamed or whole; with an Idempotency-Key, once or once more."""
    await _answer(service, exchange, decode_either)


async def compare_models(service: Service, exchange: Exchange) -> None:
    """Answer one comparison (contract section 8), like a chat request whose model is that."""
    await _answer(service, exchange, decode_compare)


async def _answer(service: Service, exchange: Exchange, decode: Decode) -> None:
    caller = service.identify(exchange)
    rate, arrived = take_turn(service, caller), service.unix_now()
    body = await exchange.read_body()
    call = decode(body, service.json_limits)
    validate(call.request, paid=caller.paid)
    passed = Passed(caller, call, rate, arrived, read_forms(call.request, call.fields))
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
    call, now = passed.call, trio.current_time()
    prompt_tokens = estimate_prompt_tokens(call.prompt)
    if isinstance(call.request, CompareRequest):
        comparison = compare(call.request, _decider(service, passed, prompt_tokens, judged=True))
        plans = [one.plan for one in comparison.entries if one.plan is not None]
        held = reserve_all(service, passed, prompt_tokens, plans)
        admitted = Admitted(passed, prompt_tokens, held, keep, guarded)
        with Job(service, exchange, admitted, comparison.plan) as job:
            await answer_compared(job, comparison.entries)
        return
    free = is_auto(call.request.model)
    turn = turn_of(call, passed.caller.account.id) if free else None
    stays = None if turn is None else service.conversations.route(turn, now)
    decide = _decider(service, passed, prompt_tokens, judged=free, stays=stays)
    held, decision = reserve(service, passed, prompt_tokens, decide(call.request))
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


def _decider(
    service: Service, passed: Passed, prompt_tokens: int, *, judged: bool, stays: str | None = None
) -> Callable[[ChatRequest], Plan]:
    """The planner with what is known at this moment. `judged`: the router is to be asked, as it is
    in any case where something depends on it. `stays`: who answered the conversation's last turn.
    """
    key = key_constraints(passed.caller)
    judged = judged or key.min_quality is not None or bool(service.policy.routing.floors)
    appraisal = service.appraise(passed.call.request) if judged else None
    routes = service.routes.snapshot(trio.current_time())

    def decide(request: ChatRequest) -> Plan:
        catalog, policy = service.catalog, service.policy
        return plan(request, prompt_tokens, catalog, policy, routes, key, appraisal, stays)

    return decide
