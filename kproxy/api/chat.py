"""POST /v1/chat/completions: the life of a request, top to bottom.

who -> body -> parsed -> allowed -> planned -> carried out. Each step either gives the next one its
value or raises what the caller is told; nothing is dispatched or counted for a refused request.
"""

import trio

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
    body = await exchange.read_body()
    call = decode_chat(body, service.json_limits)
    validate(call.request, paid=caller.paid)
    prompt_tokens = estimate_prompt_tokens(call.prompt)
    known = service.routes.snapshot(trio.current_time())
    decision = plan(call.request, prompt_tokens, service.catalog, service.policy, known)
    with Job(service, exchange, Admitted(caller, call, prompt_tokens), decision) as job:
        if call.request.stream:
            await answer_stream(job)
        else:
            await answer_whole(job)
