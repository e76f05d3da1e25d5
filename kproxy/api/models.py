"""GET /v1/models and /v1/models/{id}: what a key may ask for."""

from urllib.parse import unquote_to_bytes

from kproxy.api.service import Service
from kproxy.catalog.load import Catalog
from kproxy.downstream.exchange import Exchange
from kproxy.downstream.respond import JSON_TYPE, Answer
from kproxy.errors import Rejected
from kproxy.schema.models import ModelObject, model_body, models_body

__all__ = ["list_models", "show_model"]

AUTO = ModelObject("auto", 1_743_465_600, "kairosroute")  # 2025-04-01, the API's first


def _objects(catalog: Catalog) -> tuple[ModelObject, ...]:
    """`auto`, then each enabled id once, under its first provider (contract section 1)."""
    found = {AUTO.id: AUTO}
    for model in catalog.models:
        if model.enabled:
            found.setdefault(model.id, ModelObject(model.id, model.created, model.provider))
    return tuple(found.values())


async def list_models(service: Service, exchange: Exchange) -> None:
    """Every model."""
    service.identify(exchange)
    await exchange.respond(Answer(200, [JSON_TYPE], models_body(_objects(service.catalog))))


async def show_model(service: Service, exchange: Exchange) -> None:
    """One model; its id is the rest of the path, slashes included."""
    service.identify(exchange)
    path = exchange.head.target.partition(b"?")[0]
    name = unquote_to_bytes(path.partition(b"/models/")[2]).decode("utf-8", "replace")
    for model in _objects(service.catalog):
        if model.id == name:
            await exchange.respond(Answer(200, [JSON_TYPE], model_body(model)))
            return
    pinned = service.catalog.pinned(name)
    if pinned is None or not pinned.enabled:
        shown = name[:256]
        raise Rejected(404, "model_not_found", f"The model '{shown}' does not exist", param="model")
    found = ModelObject(name, pinned.created, pinned.provider)
    await exchange.respond(Answer(200, [JSON_TYPE], model_body(found)))
