"""The operator's rules and classifier on one request and its answer, off the event loop where long.

A request's messages are edited before anything is planned, so that prices, the provider and the
ledger know only what is left of them; then the classifier is asked about that. An answer is edited
before it is kept or sent.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import trio
from msgspec.structs import replace

from kproxy.errors import DeadlineExceeded, Fault, FaultKind, Rejected
from kproxy.guard.guarded import Guarded, texts_of
from kproxy.guard.moderation import question, verdict
from kproxy.guard.rules import Ruleset
from kproxy.schema.chat import ChatCall

__all__ = ["SMALL", "Guardrails", "Moderation", "guard_added", "guard_reply", "guard_request"]

SMALL = 8_192
"""Bytes of JSON that are edited at once: at worst some 10 ms. A thread, for what is longer,
costs 0.1 ms."""

Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Moderation:
    """The operator's classifier. `ask` has its own deadline and raises Fault; `note` tells people.

    `max_bytes` is of the question. `fails_open`: a request passes that could not be judged.
    """

    ask: Callable[[bytes], Awaitable[bytes]]
    model: str | None
    max_bytes: int
    fails_open: bool
    note: Callable[[Fault], None]


@dataclass(frozen=True, slots=True)
class Guardrails:
    """What is configured. `threads` bounds how many long texts are looked at, at one time."""

    asked: Ruleset | None
    answered: Ruleset | None
    moderation: Moderation | None
    threads: trio.CapacityLimiter


async def guard_request(
    guardrails: Guardrails, call: ChatCall, deadline: float
) -> tuple[ChatCall, Guarded]:
    """The call as a provider may see it. Raises Rejected, DeadlineExceeded (absolute time)."""
    in_json = call.request.needs_json
    guarded = Guarded(guardrails.asked, guardrails.answered, in_json=in_json)
    messages = call.fields["messages"]
    with trio.move_on_at(deadline):
        edited = await _run(guardrails, len(messages), lambda: guarded.messages(messages))
        if guardrails.moderation is not None:
            texts = await _run(guardrails, len(edited), lambda: texts_of(edited))
            await _moderate(guardrails.moderation, texts)
        if edited is messages:
            return call, guarded
        return replace(call, fields=call.fields | {"messages": edited}), guarded
    raise DeadlineExceeded


async def guard_added(guardrails: Guardrails, guarded: Guarded, text: str) -> str:
    """A text that a plugin brings, as a provider may see it. Raises Rejected 400."""
    return await _run(guardrails, len(text), lambda: guarded.added(text))


async def guard_reply(guardrails: Guardrails, guarded: Guarded, body: bytes) -> bytes:
    """A whole answer as the caller may see it. Raises Withheld."""
    return await _run(guardrails, len(body), lambda: guarded.reply(body))


async def _run(guardrails: Guardrails, size: int, job: Callable[[], Done]) -> Done:
    """A job whose time is linear in `size`; one that was abandoned ends by itself."""
    if size <= SMALL:
        return job()
    return await trio.to_thread.run_sync(job, abandon_on_cancel=True, limiter=guardrails.threads)


async def _moderate(moderation: Moderation, texts: list[str]) -> None:
    """Raises Rejected: 400 for what was flagged; else where it must be judged and was not."""
    asked = question(texts, moderation.model)
    if len(asked) > moderation.max_bytes:
        if not moderation.fails_open:
            message = (
                f"The content is too long to be moderated (over {moderation.max_bytes} bytes)."
            )
            raise Rejected(400, "content_not_moderated", message, param="messages")
        return
    try:
        flagged = verdict(await moderation.ask(asked))
    except (Fault, ValueError) as error:
        fault = error if isinstance(error, Fault) else Fault(FaultKind.BAD_BODY, str(error))
        moderation.note(fault)
        if not moderation.fails_open:
            message = "The content could not be moderated. Nothing was dispatched."
            raise Rejected(503, "moderation_unavailable", message) from error
        return
    if flagged is not None:
        named = f" ({', '.join(flagged)})" if flagged else ""
        message = f"The content was blocked by moderation{named}."
        raise Rejected(400, "content_blocked", message, param="messages")
