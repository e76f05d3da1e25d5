"""An exchange that is over in, what its spans say of it out."""

import trio

from kproxy.api.access import ending
from kproxy.downstream.exchange import Exchange, ExchangeState
from kproxy.downstream.h2_exchange import H2Exchange
from kproxy.ledger.spans import LENGTH, Accounted, Served
from kproxy.schema.receipt import Receipt
from kproxy.transport.secure import SecureLink

__all__ = ["served"]


def served(exchange: Exchange, unix_now: float) -> Served:
    """Of it. A path with an id in it is left out: some would write a secret there."""
    seconds, receipt = trio.current_time() - exchange.arrived, exchange.receipt
    path = exchange.head.target.partition(b"?")[0]
    return Served(
        arrived=unix_now - seconds,
        seconds=seconds,
        method=exchange.head.method.decode("ascii"),
        route=exchange.route,
        path="" if exchange.route.endswith("{id}") else path.decode("ascii"),
        status=exchange.status,
        request_id=exchange.request_id,
        ending=ending(exchange),
        is_whole=exchange.state is not ExchangeState.ABORTED,
        scheme=_scheme(exchange),
        version=_version(exchange),
        refused=exchange.refused,
        account_id=exchange.account_id,
        key_id=exchange.key_id,
        accounted=None if receipt is None else _accounted(receipt),
    )


def _accounted(receipt: Receipt) -> Accounted:
    return Accounted(
        receipt.receipt_id,
        receipt.asked[:LENGTH],  # it may wait for a collector
        receipt.classification,
        receipt.decision,
        receipt.execution,
    )


def _scheme(exchange: Exchange) -> str:
    """A stream of HTTP/2 does not know what it runs over."""
    if isinstance(exchange, H2Exchange):
        return ""
    return "https" if isinstance(exchange.link, SecureLink) else "http"


def _version(exchange: Exchange) -> str:
    if isinstance(exchange, H2Exchange):
        return "2"
    return "1.0" if exchange.head.http_10 else "1.1"
