"""(method, path) to handler: the whole surface of the API in one table (contract section 1)."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import trio

from kproxy.api.access import access_line, refused_line
from kproxy.api.chat import compare_models, complete_chat
from kproxy.api.keys import change_key, create_key, delete_key, list_keys
from kproxy.api.memories import forget_memories, forget_memory, list_memories
from kproxy.api.models import list_models, show_model
from kproxy.api.operations import show_alive, show_metrics, show_ready
from kproxy.api.performance import show_performance
from kproxy.api.receipts import list_receipts, show_receipt
from kproxy.api.service import Service
from kproxy.api.traced import served
from kproxy.downstream.answering import Refusal
from kproxy.downstream.exchange import Exchange, ExchangeState
from kproxy.downstream.respond import Answer
from kproxy.errors import Rejected
from kproxy.telemetry.traces import Finished

__all__ = ["ADMIN_ROUTES", "PUBLIC_ROUTES", "ROUTES", "Role", "Route", "Router"]

Role = Literal["public", "key"]
"""`key`: the handler answers 401 to whoever shows no good one, before it does anything else."""


class Route(NamedTuple):
    """What answers, and who may ask. A test walks the table and holds every handler to its role."""

    handler: Callable[[Service, Exchange], Awaitable[None]]
    role: Role


ROUTES: Mapping[bytes, Mapping[bytes, Route]] = MappingProxyType(
    {
        b"/v1/chat/completions": {b"POST": Route(complete_chat, "key")},
        b"/v1/compare": {b"POST": Route(compare_models, "key")},
        b"/v1/models": {b"GET": Route(list_models, "key")},
        b"/v1/models/{id}": {b"GET": Route(show_model, "key")},
        b"/v1/performance": {b"GET": Route(show_performance, "key")},
        b"/v1/receipts": {b"GET": Route(list_receipts, "key")},
        b"/v1/receipts/{id}": {b"GET": Route(show_receipt, "key")},
        b"/v1/memories": {
            b"GET": Route(list_memories, "key"),
            b"DELETE": Route(forget_memories, "key"),
        },
        b"/v1/memories/{id}": {b"DELETE": Route(forget_memory, "key")},
        b"/api/auth": {b"GET": Route(list_keys, "key"), b"POST": Route(create_key, "key")},
        b"/api/auth/{id}": {
            b"DELETE": Route(delete_key, "key"),
            b"PATCH": Route(change_key, "key"),
        },
        b"/livez": {b"GET": Route(show_alive, "public")},
        b"/readyz": {b"GET": Route(show_ready, "public")},
        b"/healthz": {b"GET": Route(show_ready, "public")},
        b"/metrics": {b"GET": Route(show_metrics, "public")},
    }
)
"""Paths as the contract spells them. A GET answers HEAD as well, without its body."""

_OPERATORS = {b"/livez", b"/readyz", b"/healthz", b"/metrics"}

ADMIN_ROUTES = MappingProxyType({path: ROUTES[path] for path in ROUTES if path in _OPERATORS})
"""What an admin listener serves."""

PUBLIC_ROUTES = MappingProxyType({path: ROUTES[path] for path in ROUTES if path not in _OPERATORS})
"""What the other listeners serve where there is one."""

_WITH_ID = tuple(path.removesuffix(b"{id}") for path in ROUTES if path.endswith(b"{id}"))

PREFIX = b"/api/v1/"
"""Every `/v1/...` path is also served under `/api/v1/...`."""


class Router:
    """The handler of every exchange, see `downstream.connection.Handler`."""

    def __init__(
        self, service: Service, routes: Mapping[bytes, Mapping[bytes, Route]] = ROUTES
    ) -> None:
        self._service = service
        self._routes = routes

    def use(self, service: Service) -> None:
        """What begins from now on stands on this one; what has begun keeps its own."""
        self._service = service

    async def answer(self, exchange: Exchange) -> None:
        """Find the handler and run it. Raises Rejected 404 and 405, and what the handler raises."""
        path = exchange.head.target.partition(b"?")[0]
        if path.startswith(PREFIX):
            path = path[4:]
        methods = self._routes.get(path)
        if methods is None:
            for start in _WITH_ID:
                if path.startswith(start) and path != start:
                    path = start + b"{id}"  # an id is the rest of the path, slashes included
            methods = self._routes.get(path)
        if methods is None:
            if path == b"*":
                await self._answer_for_all(exchange)
                return
            shown = path[:256].decode("ascii", "replace")
            raise Rejected(404, "not_found", f"There is nothing at {shown}.")
        exchange.route = path.decode("ascii")
        method = exchange.head.method
        route = methods.get(b"GET" if method == b"HEAD" else method)
        if route is None:
            raise _not_allowed(methods)
        service = self._service
        if service.traces is not None and route.role == "key":  # not what asks whether we live
            exchange.trace = service.traces.begin(exchange.head.headers)
        service.metrics.in_flight += 1
        try:
            await route.handler(service, exchange)
        finally:
            service.metrics.in_flight -= 1

    async def _answer_for_all(self, exchange: Exchange) -> None:
        """OPTIONS about the server in general (RFC 9110 section 9.3.7): what it can do at all."""
        exchange.route = "*"
        here = {method for methods in self._routes.values() for method in methods}
        names = b", ".join(sorted(here | {b"HEAD", b"OPTIONS"}))
        await exchange.respond(Answer(204, [(b"allow", names)], b""))

    def ended(self, exchange: Exchange) -> None:
        """Count it, and write it down."""
        over = exchange.state in (ExchangeState.DONE, ExchangeState.ABORTED)
        status = exchange.status if over else 0
        seconds = trio.current_time() - exchange.arrived
        service = self._service
        service.metrics.request(exchange.route, status, seconds)
        if exchange.refused:
            service.metrics.refused(exchange.refused)
        if service.access is not None:
            service.access.note(access_line(exchange, service.unix_now()))
        trace = exchange.trace
        if trace is not None and trace.sampled and service.traces is not None:
            service.traces.note(Finished(trace, served(exchange, service.unix_now())))

    def refused(self, refusal: Refusal) -> None:
        """Count it, and write it down: a caller may ask what became of that name."""
        service = self._service
        service.metrics.malformed(refusal.status, refusal.code)
        if service.access is not None:
            service.access.note(refused_line(refusal, service.unix_now()))


def _not_allowed(methods: Mapping[bytes, Route]) -> Rejected:
    allowed = sorted({*methods, b"HEAD"} if b"GET" in methods else methods)
    names = b", ".join(allowed)
    rejected = Rejected(405, "method_not_allowed", f"Use {names.decode('ascii')} here.")
    rejected.headers = ((b"allow", names),)
    return rejected
