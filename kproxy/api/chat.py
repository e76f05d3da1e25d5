"""POST /v1/chat/completions: the life of a request, top to bottom.

who -> limited -> body -> parsed -> allowed -> planned -> reserved -> carried out. Each step either
gives the next one its value or raises what the caller is told; nothing is dispatched, counted or
charged for a refused request.
"""

import trio

from kproxy.api.admit import key_constraints, limited_by, reserve, take_turn
from kproxy.api.job import Admitted, Job
from kproxy.api.service import Service
from kproxy.api.stream import answer_stream
from kproxy.api.whole import answer_whole
from kproxy.downstream.exchange import Exchange
from kproxy.guard.validate import validate
from kproxy.routing.estimate import estimate_prompt_tokens
from kproxy.routing.planner import plan
from kproxy.schema.chat import decode_chat

__all__ = ["complete_chat"]


async def complete_chat(service: Service, exchange: Exchange) -> None:
    """Answer one chat request, streamed or whole."""
    caller = service.identify(exchange)
    rate = take_turn(service, caller)
    body = await exchange.read_body()
    call = decode_chat(body, service.json_limits)
    validate(call.request, paid=caller.paid)
    prompt_tokens = estimate_prompt_tokens(call.prompt)
    decision = plan(
        call.request,
        prompt_tokens,
        service.catalog,
        service.policy,
        service.routes.snapshot(trio.current_time()),
        key_constraints(caller),
    )
    held = reserve(service, caller, call.request, prompt_tokens, decision)
    admitted = Admitted(caller, call, prompt_tokens, held, limited_by(rate, held))
    with Job(service, exchange, admitted, decision) as job:
        if call.request.stream:
            await answer_stream(job)
        else:
            await answer_whole(job)
