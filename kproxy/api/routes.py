"""(method, path) to handler: the whole surface of the API in one table (contract section 1)."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import trio

from kproxy.api.chat import complete_chat
from kproxy.api.models import list_models, show_model
from kproxy.api.operations import show_alive, show_metrics, show_ready
from kproxy.api.performance import show_performance
from kproxy.api.service import Service
from kproxy.downstream.exchange import Exchange, ExchangeState
from kproxy.errors import Rejected

__all__ = ["ROUTES", "Router"]

Route = Callable[[Service, Exchange], Awaitable[None]]

ROUTES: Mapping[bytes, Mapping[bytes, Route]] = MappingProxyType(
    {
        b"/v1/chat/completions": {b"POST": complete_chat},
        b"/v1/models": {b"GET": list_models},
        b"/v1/models/{id}": {b"GET": show_model},
        b"/v1/performance": {b"GET": show_performance},
        b"/livez": {b"GET": show_alive},
        b"/readyz": {b"GET": show_ready},
        b"/healthz": {b"GET": show_ready},
        b"/metrics": {b"GET": show_metrics},
    }
)
"""Paths as the contract spells them. A GET answers HEAD as well, without its body."""

PREFIX = b"/api/v1/"
"""Every `/v1/...` path is also served under `/api/v1/...`."""


class Router:
    """The handler of every exchange, see `downstream.connection.Handler`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def answer(self, exchange: Exchange) -> None:
        """Find the handler and run it. Raises Rejected 404 and 405, and what the handler raises."""
        path = exchange.head.target.partition(b"?")[0]
        if path.startswith(PREFIX):
            path = path[4:]
        if path.startswith(b"/v1/models/") and len(path) > len(b"/v1/models/"):
            path = b"/v1/models/{id}"
        methods = ROUTES.get(path)
        if methods is None:
            shown = path[:256].decode("ascii", "replace")
            raise Rejected(404, "not_found", f"There is nothing at {shown}.")
        exchange.route = path.decode("ascii")
        method = exchange.head.method
        handler = methods.get(b"GET" if method == b"HEAD" else method)
        if handler is None:
            raise _not_allowed(methods)
        await handler(self._service, exchange)

    def ended(self, exchange: Exchange) -> None:
        """Count it."""
        over = exchange.state in (ExchangeState.DONE, ExchangeState.ABORTED)
        status = exchange.status if over else 0
        seconds = trio.current_time() - exchange.arrived
        self._service.metrics.request(exchange.route, status, seconds)


def _not_allowed(methods: Mapping[bytes, Route]) -> Rejected:
    allowed = sorted({*methods, b"HEAD"} if b"GET" in methods else methods)
    names = b", ".join(allowed)
    rejected = Rejected(405, "method_not_allowed", f"Use {names.decode('ascii')} here.")
    rejected.headers = ((b"allow", names),)
    return rejected
