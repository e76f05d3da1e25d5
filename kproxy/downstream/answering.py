"""One exchange and its handler: whatever the handler raises becomes the response.

An exchange in; it has been answered, ended by an error event, or its caller is gone. The same over
HTTP/1.1 and HTTP/2.
"""

import logging
from typing import Protocol

import trio

from kproxy.downstream.exchange import Exchange, ExchangeState
from kproxy.downstream.respond import error_event, to_answer
from kproxy.errors import Rejected
from kproxy.transport.duplex import Broken, Expired

__all__ = ["FAREWELL", "Handler", "carry_out", "tell_cut"]

INTERNAL = 500

FAREWELL = 1.0
"""Seconds in which the caller of an answer that is cut can be told so, and take it."""

log = logging.getLogger("kproxy.connection")


class Handler(Protocol):
    """What answers exchanges."""

    async def answer(self, exchange: Exchange) -> None:
        """Read from and respond on `exchange`; what it raises is turned into the response."""
        ...

    def ended(self, exchange: Exchange) -> None:
        """The exchange is over, whatever its end; synchronous, so that nothing can skip it."""
        ...


async def carry_out(handler: Handler, exchange: Exchange) -> None:
    """Have it answered. Raises Broken and Expired of the caller's side, and nothing else."""
    try:
        await handler.answer(exchange)
        if exchange.state in (ExchangeState.WAITING, ExchangeState.STARTED):
            raise RuntimeError(f"left unanswered: {exchange!r}")
    except Exception as error:
        if isinstance(error, Broken | Expired) and error.link is exchange.link:
            raise
        await _fail(exchange, error)


async def _fail(exchange: Exchange, error: Exception) -> None:
    answer = to_answer(error)
    exchange.refused = answer.code
    if answer.status == INTERNAL:
        log.error("request %s failed", exchange.request_id, exc_info=error)
    await trio.lowlevel.checkpoint_if_cancelled()  # its body was cut because the caller left
    if exchange.state is ExchangeState.WAITING:
        await exchange.respond(answer)
    elif exchange.state is ExchangeState.STARTED:
        exchange.abort()
        await exchange.link.send_all(exchange.due() + exchange.frame(error_event(error)))


async def tell_cut(exchange: Exchange) -> bool:
    """A refusal where nothing has left, an error event in a stream; nothing else can be said
    without being taken for a part of the answer. Whether anything could. Raises Broken, Expired."""
    if exchange.link.torn:
        return False
    error = Rejected(503, "shutting_down", "The server is shutting down.", close=True)
    error.headers = ((b"retry-after", b"1"),)
    if exchange.state is ExchangeState.WAITING:
        await exchange.respond(to_answer(error))
    elif exchange.state is ExchangeState.STARTED:
        exchange.abort()
        await exchange.link.send_all(exchange.due() + exchange.frame(error_event(error)))
    return True
