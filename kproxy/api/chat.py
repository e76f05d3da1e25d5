"""POST /v1/chat/completions and /v1/compare: the life of a request, top to bottom.

who -> room for it -> limited -> body -> parsed -> allowed -> its turn (with an Idempotency-Key,
idempotency.py) -> guarded (by the operator's rules, where there are some) and plugged (where it
asks for plugins) -> planned -> reserved -> carried out. Each step either gives the next one its
value or raises what the caller is told; nothing is dispatched, counted or charged for a refused
request.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import trio
from msgspec.structs import replace

from kproxy.api.admit import Passed, key_constraints, limited_by, reserve, reserve_all, take_turn
from kproxy.api.compare import answer_compared
from kproxy.api.guardrails import guard_added, guard_request
from kproxy.api.idempotency import Asked, Keep, idempotency_key, replay
from kproxy.api.job import Admitted, Job
from kproxy.api.plugged import Plugged, Preparation, asking_of
from kproxy.api.service import Held, Service
from kproxy.api.stream import answer_stream
from kproxy.api.whole import answer_whole
from kproxy.downstream.exchange import Exchange
from kproxy.errors import NotCarried, Rejected
from kproxy.guard.forms import read_forms
from kproxy.guard.guarded import Guarded
from kproxy.guard.validate import validate
from kproxy.routing.candidates import is_auto
from kproxy.routing.compare import Entry, compare
from kproxy.routing.constraints import Refuses, takes_anything
from kproxy.routing.conversation import Turn, turn_of
from kproxy.routing.estimate import estimate_prompt_tokens
from kproxy.routing.plan import Plan
from kproxy.routing.planner import plan
from kproxy.routing.queues import without_queues
from kproxy.schema.chat import ChatCall, ChatRequest
from kproxy.schema.compare import COMPARE, CompareRequest, decode_compare, decode_either
from kproxy.schema.jsonlimits import JsonLimits
from kproxy.wire.via import MOST_PASSES, VIA, passes

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
    _check_loop(exchange)
    service.make_room(exchange)
    rate, arrived = take_turn(service, caller), service.unix_now()
    body = await exchange.read_body()
    call = decode(body, service.json_limits)
    validate(call.request, paid=caller.paid, offered=service.plugins.offered)
    plugins = call.request.plugins
    ours = plugins is not None and service.plugins.bring_tools(plugins)
    forms = read_forms(call.request, call.fields, ours=ours)
    if forms is not None and forms.content is not None:
        await service.apart.check(forms.content, _deadline(service, exchange, call))
    passed = Passed(caller, call, rate, arrived, forms)
    key = idempotency_key(exchange.head.headers, call.request)
    if key is None:
        del body  # its members hold it for as long as they are needed
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


def _check_loop(exchange: Exchange) -> None:
    """Raises Rejected 400 where kproxies ask each other in a ring (RFC 9110 section 7.6). No 5xx:
    every one of them would ask somebody else beside."""
    if exchange.head.get(VIA) is None:
        return
    if passes([value for name, value in exchange.head.headers if name == VIA]) > MOST_PASSES:
        raise Rejected(400, "loop_detected", "The request comes back to where it came from.")


async def _carry_out(
    service: Service, exchange: Exchange, passed: Passed, keep: Keep | None = None
) -> None:
    """Plan, reserve, dispatch, answer. Raises what the caller is told."""
    words = passed.call  # what the caller said itself: what plugins add is no part of the question
    guarded, plugged = None, None
    if service.guardrails is not None or words.request.plugins:
        passed, guarded, plugged = await _prepared(service, exchange, passed)
    turn = turn_of(words, passed.caller.account.id) if is_auto(words.request.model) else None
    ready = _ready(service, passed, words, turn, _refusals(service, passed.call))
    if passed.call is not words:
        words.let_go()  # providers are asked for what rules and plugins made of it
    admitted = Admitted(
        passed, ready.prompt_tokens, ready.held, ready.began, keep, guarded, plugged
    )
    with Job(service, exchange, admitted, ready.plan) as job:
        if ready.entries is not None:
            await answer_compared(job, ready.entries)
        elif words.request.stream:
            await answer_stream(job)
        else:
            await answer_whole(job)
    if turn is not None:
        service.conversations.answered(turn, job.answered_by, trio.current_time())


async def _prepared(
    service: Service, exchange: Exchange, passed: Passed
) -> tuple[Passed, Guarded | None, Plugged | None]:
    """The request as a provider may see it: what plugins read, what rules leave of it, what plugins
    find. What would be refused anyway is refused before a plugin does anything.

    Raises Rejected, DeadlineExceeded.
    """
    call, rules, guarded = passed.call, service.guardrails, None
    deadline = _deadline(service, exchange, call)
    work = None
    if call.request.plugins:
        # Plugins may read what a provider has no words for, so nobody is asked about that yet.
        _ready(service, passed, call, None, takes_anything).held.release()
        asking = asking_of(call, passed.caller.account.id)
        work = Preparation(service.plugins, call, asking, deadline)
        call = await work.read(exchange.id)
    if rules is not None:
        call, guarded = await guard_request(rules, call, deadline)
    if work is None:
        return replace(passed, call=call), guarded, None
    screen = None
    if rules is not None and guarded is not None:
        screen = partial(guard_added, rules, guarded)
    call = await work.find(call, exchange.id, screen)
    return replace(passed, call=call), guarded, work.plugged()


class _Known(msgspec.Struct, frozen=True):
    """What a plan is made of beside the request. `stays`: who answered the conversation's last
    turn."""

    prompt_tokens: int
    stays: str | None
    now: float


class _Ready(msgspec.Struct, frozen=True):
    """A request that may be dispatched. `began`: when its plan was begun, on trio's clock;
    `entries`: it is a comparison."""

    held: Held
    plan: Plan
    prompt_tokens: int
    began: float
    entries: Sequence[Entry] | None = None


def _ready(
    service: Service, passed: Passed, words: ChatCall, turn: Turn | None, refuses: Refuses
) -> _Ready:
    """Planned, and what it may use reserved. Raises Rejected."""
    request, now = passed.call.request, trio.current_time()
    prompt_tokens = estimate_prompt_tokens(passed.call.prompt)
    stays = None if turn is None else service.conversations.route(turn, now)
    decide = _decider(service, passed, words, _Known(prompt_tokens, stays, now), refuses)
    if not isinstance(request, CompareRequest):
        held, decision = reserve(service, passed, prompt_tokens, decide(request))
        return _Ready(held, decision, prompt_tokens, now)
    comparison = compare(request, decide)
    plans = [one.plan for one in comparison.entries if one.plan is not None]
    held = reserve_all(service, passed, prompt_tokens, plans)
    return _Ready(held, comparison.plan, prompt_tokens, now, comparison.entries)


def _refusals(service: Service, call: ChatCall) -> Refuses:
    """What the APIs of providers have no words for in this request, each looked at once."""

    known: dict[str, NotCarried | None] = {}

    def refuses(provider: str) -> NotCarried | None:
        if provider not in known:
            endpoint = service.endpoints.get(provider)
            known[provider] = None if endpoint is None else endpoint.dialect.refuses(call.fields)
        return known[provider]

    return refuses


def _deadline(service: Service, exchange: Exchange, call: ChatCall) -> float:
    """When the caller's patience ends, or ours; the plan's own total may be shorter."""
    wish = call.request.extension.deadline_ms
    total = min(service.policy.timeouts.total, math.inf if wish is None else wish / 1000)
    return exchange.arrived + total


def _decider(
    service: Service,
    passed: Passed,
    words: ChatCall,
    known: _Known,
    refuses: Refuses,
) -> Callable[[ChatRequest], Plan]:
    """The planner with what is known at this moment. The router is asked about `words` where
    something depends on it.
    """
    key = key_constraints(passed.caller)
    model = words.request.model
    judged = is_auto(model) or model == COMPARE or key.min_quality is not None
    judged = judged or bool(service.policy.routing.floors)
    appraisal = service.appraise(words.request) if judged else None
    routes, queues = service.routes.snapshot(known.now), service.queues(known.now)
    if queues:
        routes = without_queues(routes, queues, (model, *(words.request.extension.models or ())))
    return partial(
        plan,
        prompt_tokens=known.prompt_tokens,
        catalog=service.catalog,
        policy=service.policy,
        snapshot=routes,
        key=key,
        appraisal=appraisal,
        stays=known.stays,
        refuses=refuses,
    )
