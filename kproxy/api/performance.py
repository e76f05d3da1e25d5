"""GET /v1/performance: the figures that soft thresholds are held against (contract section 5)."""

import trio

from kproxy.api.service import Service
from kproxy.catalog.load import Model
from kproxy.downstream.exchange import Exchange
from kproxy.downstream.respond import JSON_TYPE, Answer
from kproxy.routing.live import UNKNOWN, Live
from kproxy.routing.window import SLICE_SECONDS, SLICES, Quantiles
from kproxy.schema.performance import (
    Percentiles,
    RoutePerformance,
    Throughput,
    performance_body,
)

__all__ = ["show_performance"]


async def show_performance(service: Service, exchange: Exchange) -> None:
    """Every enabled model at every provider, asked or not, in the catalog's order."""
    service.identify(exchange)
    known = service.routes.snapshot(trio.current_time())
    routes = tuple(
        _route(model, known.get(model.key, UNKNOWN))
        for model in service.catalog.models
        if model.enabled
    )
    body = performance_body(routes, int(SLICES * SLICE_SECONDS))
    await exchange.respond(Answer(200, [JSON_TYPE], body))


def _route(model: Model, live: Live) -> RoutePerformance:
    seen = live.measured
    pace = seen.throughput_p50
    return RoutePerformance(
        provider=model.provider,
        model=model.id,
        samples=seen.samples,
        sufficient=seen.sufficient,
        latency_ms=_milliseconds(seen.total),
        first_token_ms=_milliseconds(seen.first_token),
        throughput_tps=None if pace is None else Throughput(round(pace, 2)),
        error_rate=round(seen.error_rate, 4),
        breaker=live.breaker,
        resting_ms=round(1000 * live.resting, 2),
    )


def _milliseconds(seen: Quantiles | None) -> Percentiles | None:
    if seen is None:
        return None
    figures = (seen.p50, seen.p75, seen.p95, seen.p99)
    return Percentiles(*(round(1000 * seconds, 2) for seconds in figures))
