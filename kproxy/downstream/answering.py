"""One exchange and its handler: whatever the handler raises becomes the response.

An exchange in; it has been answered, ended by an error event, or its caller is gone. The same over
HTTP/1.1 and HTTP/2.
"""

import logging
from typing import NamedTuple, Protocol

import trio

from kproxy.downstream.date import DateSource
from kproxy.downstream.exchange import Exchange, ExchangeState, new_id
from kproxy.downstream.respond import Answer, error_event, to_answer
from kproxy.errors import Rejected
from kproxy.transport.duplex import Broken, Expired
from kproxy.wire.events import Headers, ProtocolError
from kproxy.wire.names import RECEIPT, REQUEST_ID

__all__ = ["CUT", "FAREWELL", "TAKEN", "Handler", "Refusal", "carry_out", "refuse", "tell_cut"]

INTERNAL = 500

FAREWELL = 1.0
"""Seconds in which the caller of an answer that is cut can be told so, and take it."""

log = logging.getLogger("kproxy.connection")


TAKEN = 0.25
"""Seconds of these in which a caller on HTTP/2 takes it before it hears that nothing follows:
clients by h2 drop what they have not read then."""

CUT = "shutting_down"


class Refusal(NamedTuple):
    """What was no request for a handler, and what was answered. `peer`: whose it was."""

    request_id: str
    peer: str
    status: int
    code: str


class Handler(Protocol):
    """What answers exchanges."""

    async def answer(self, exchange: Exchange) -> None:
        """Read from and respond on `exchange`; what it raises is turned into the response."""
        ...

    def ended(self, exchange: Exchange) -> None:
        """The exchange is over, whatever its end; synchronous, so that nothing can skip it."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """Something came that was no request."""
        ...


def refuse(
    handler: Handler, error: ProtocolError, peer: object, date: DateSource
) -> tuple[Answer, Headers]:
    """The answer to what is no request for the handler, who is told, and all its fields."""
    answer, request_id = to_answer(error), "req_" + new_id()
    handler.refused(Refusal(request_id, str(peer), answer.status, answer.code))
    return answer, [
        *answer.headers,
        (b"content-length", b"%d" % len(answer.body)),
        (REQUEST_ID, request_id.encode("ascii")),
        *date(),
    ]


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
    if exchange.receipt is not None:  # whoever asks what became of it needs its name
        answer.headers.append((RECEIPT, exchange.receipt.receipt_id.encode("ascii")))
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
    error = Rejected(503, CUT, "The server is shutting down.", close=True)
    error.headers = ((b"retry-after", b"1"),)
    if exchange.state is ExchangeState.WAITING:
        await exchange.respond(to_answer(error))
    elif exchange.state is ExchangeState.STARTED:
        exchange.abort()
        await exchange.link.send_all(exchange.due() + exchange.frame(error_event(error)))
    return True
