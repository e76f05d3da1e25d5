"""An exchange that is over in, its line of the access log out."""

from datetime import UTC, datetime

import trio
from msgspec import Raw

from kproxy.downstream.answering import CUT, Refusal
from kproxy.downstream.exchange import Exchange, ExchangeState
from kproxy.money import format_usd
from kproxy.outcome import AttemptOutcome, Ending
from kproxy.schema.receipt import Receipt
from kproxy.telemetry.accesslog import AccessLine
from kproxy.wire.tracecontext import read_trace

__all__ = ["access_line", "ending", "refused_line"]

SHOWN = 128
"""Characters of what a caller chooses."""

FAILED, REFUSED = 500, 400

UNAVAILABLE = 503


def access_line(exchange: Exchange, unix_now: float) -> AccessLine:
    """What is to be written of it. Nothing of what was said is in it, and nothing secret."""
    trace = exchange.trace or read_trace(exchange.head.headers)
    receipt = exchange.receipt
    parts = {} if receipt is None else _accounted(receipt)
    return AccessLine(
        time=datetime.fromtimestamp(round(unix_now, 3), UTC),
        request_id=exchange.request_id,
        client=str(exchange.link.peer),
        method=exchange.head.method[:SHOWN].decode("ascii", "replace"),
        route=exchange.route,
        status=_status(exchange),
        ending=ending(exchange).value,
        total_ms=_ms(trio.current_time() - exchange.arrived),
        bytes_out=exchange.sent,
        bytes_in=exchange.received,
        trace_id=None if trace is None else trace.trace_id,
        account=exchange.account_id or None,
        key=exchange.key_id or None,
        error=exchange.refused or None,
        **parts,  # type: ignore[arg-type]
    )


def refused_line(refusal: Refusal, unix_now: float) -> AccessLine:
    """What is to be written of what was no request."""
    return AccessLine(
        time=datetime.fromtimestamp(round(unix_now, 3), UTC),
        request_id=refusal.request_id,
        client=refusal.peer,
        method="",
        route="none",
        status=refusal.status,
        ending=Ending.REJECTED.value,
        error=refusal.code,
    )


def _status(exchange: Exchange) -> int:
    """What was sent; of who waits while the process ends, what is about to be."""
    told = exchange.refused == CUT and exchange.state is ExchangeState.WAITING
    return UNAVAILABLE if told else exchange.status


def _accounted(receipt: Receipt) -> dict[str, object]:
    done, last = receipt.execution, _answered(receipt)
    return {
        "receipt_id": receipt.receipt_id,
        "asked": receipt.asked[:SHOWN],
        "provider": None if last is None else last.provider,
        "model": None if last is None else last.model[:SHOWN],
        "stream": receipt.stream,
        "attempts": len(receipt.attempts),
        "prompt_tokens": None if done.usage is None else done.usage.prompt_tokens,
        "completion_tokens": None if done.usage is None else done.usage.completion_tokens,
        "cost_usd": None if done.cost is None else Raw(format_usd(done.cost).encode("ascii")),
        "first_token_ms": None if done.first_token is None else _ms(done.first_token),
    }


def _answered(receipt: Receipt) -> AttemptOutcome | None:
    """Who answered; where nobody did, who was asked last."""
    last = receipt.attempts[-1] if receipt.attempts else None
    whole = (one for one in reversed(receipt.attempts) if one.ending is Ending.COMPLETE)
    return next(whole, last)


def ending(exchange: Exchange) -> Ending:
    """How it has ended as a whole."""
    if exchange.receipt is not None:
        return exchange.receipt.execution.status
    if exchange.state in (ExchangeState.WAITING, ExchangeState.STARTED):
        return Ending.CANCELLED
    if exchange.status >= FAILED:
        return Ending.ERROR
    return Ending.REJECTED if exchange.status >= REFUSED else Ending.COMPLETE


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)
