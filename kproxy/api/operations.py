"""What operators and their orchestrators ask: alive, ready, metrics. No key, no provider called."""

import msgspec
import trio

from kproxy.api.service import Service
from kproxy.downstream.exchange import Exchange
from kproxy.downstream.respond import JSON_TYPE, Answer
from kproxy.telemetry.metrics import METRICS_TYPE

__all__ = ["show_alive", "show_metrics", "show_ready"]


async def show_alive(service: Service, exchange: Exchange) -> None:
    """GET /livez: the process answers; stays 200 while draining."""
    await exchange.respond(Answer(200, [JSON_TYPE], b'{"status":"ok"}'))


async def show_ready(service: Service, exchange: Exchange) -> None:
    """GET /readyz: new work is welcome; 503 as soon as draining starts. Where code-exec has been
    opened, which layers of its sandbox hold."""
    if service.ready():
        body: dict[str, object] = {"status": "ready"}
        layers = service.plugins.layers()
        if layers:
            body["sandbox"] = {layer.name: layer.holds for layer in layers}
        await exchange.respond(Answer(200, [JSON_TYPE], msgspec.json.encode(body)))
    else:
        await exchange.respond(Answer(503, [JSON_TYPE], b'{"status":"draining"}'))


async def show_metrics(service: Service, exchange: Exchange) -> None:
    """GET /metrics: Prometheus' text, rendered off the loop."""
    metrics = service.metrics
    metrics.note_routes(service.routes.snapshot(trio.current_time()))
    body = await trio.to_thread.run_sync(metrics.render, limiter=service.renderers)
    await exchange.respond(Answer(200, [(b"content-type", METRICS_TYPE)], body))
