"""The packaged catalog, or the operator's own, and `[[models]]` in; this process's catalog out.

What the file says wins over what the package knows; what neither says is unknown, never guessed.
A quality is the exception: where nobody says one, the price does, and the source says so.
"""

import dataclasses
from collections.abc import Set as AbstractSet

from kproxy.catalog.load import (
    Capability,
    Catalog,
    Model,
    Price,
    Provider,
    RouteTimeouts,
)
from kproxy.catalog.quality import CATEGORIES, PRIOR, Qualities, price_prior
from kproxy.config.load import Config
from kproxy.config.model import ModelConfig, PriceConfig, ProviderConfig

__all__ = ["OPERATOR", "build_catalog"]

OPERATOR = "operator"
"""The source of a quality that the configuration states."""


def build_catalog(config: Config) -> Catalog:
    """The catalog as far as its providers are configured, under the operator's rows."""
    played = {slug for slug, given in config.providers.items() if given.dialect == "sim"}
    known = _played(config.catalog, played)
    facts = [_facts(known, slug, given) for slug, given in config.providers.items()]
    rows = [_model(known, row, played) for row in config.models]
    built = known.at_providers(config.providers).with_models(rows, facts)
    return built.with_models([_by_price(model) for model in built.models if not model.quality])


def _played(catalog: Catalog, played: AbstractSet[str]) -> Catalog:
    """Simulated providers have no names of their own for a model: they are asked for its id. And
    each of them continues what it is given."""
    rows = [
        dataclasses.replace(model, upstream=model.id, prefill=True)
        for model in catalog.models
        if model.provider in played
    ]
    return catalog.with_models(rows)


def _facts(catalog: Catalog, slug: str, given: ProviderConfig) -> Provider:
    known = catalog.provider(slug)
    return Provider(
        slug=slug,
        display=given.display or known.display,
        may_train=known.may_train if given.may_train is None else given.may_train,
        zdr=known.zdr if given.zdr is None else given.zdr,
        any_models=given.models == "any",
    )


def _model(catalog: Catalog, row: ModelConfig, played: AbstractSet[str]) -> Model:
    known = catalog.pinned(f"{row.provider}/{row.id}") or Model(
        row.id, row.provider, row.upstream, price=None, prefill=row.provider in played
    )
    capabilities: frozenset[Capability] | None = (
        None if row.capabilities is None else frozenset(row.capabilities)  # type: ignore[arg-type]
    )
    quality, source = _quality(catalog, row, known)
    return Model(
        id=row.id,
        provider=row.provider,
        upstream=row.upstream,
        price=known.price if row.price is None else _price(row.price),
        context_tokens=row.context_tokens or known.context_tokens,
        max_output_tokens=row.max_output_tokens or known.max_output_tokens,
        capabilities=known.capabilities if capabilities is None else capabilities,
        quantization=known.quantization if row.quantization is None else row.quantization,  # type: ignore[arg-type]
        created=known.created,
        enabled=row.enabled,
        price_date=known.price_date if row.price is None else None,
        prefill=known.prefill if row.prefill is None else row.prefill,
        timeouts=RouteTimeouts(row.timeouts.total, row.timeouts.first_token, row.timeouts.gap),
        quality=quality,
        quality_source=source,
    )


def _quality(catalog: Catalog, row: ModelConfig, known: Model) -> tuple[tuple[float, ...], str]:
    """The operator's, or the row's own in the catalog, or that of the same id elsewhere."""
    if isinstance(row.quality, Qualities):
        return row.quality.in_order(), OPERATOR
    if row.quality is not None:
        return (row.quality,) * len(CATEGORIES), OPERATOR
    if known.quality:
        return known.quality, known.quality_source
    elsewhere = next((model for model in catalog.by_id(row.id) if model.quality), None)
    return (elsewhere.quality, elsewhere.quality_source) if elsewhere is not None else ((), "")


def _by_price(model: Model) -> Model:
    if model.price is None:
        return model
    quality = price_prior(model.price.input, model.price.output)
    return dataclasses.replace(model, quality=quality, quality_source=PRIOR)


def _price(given: PriceConfig) -> Price:
    return Price.from_usd(
        given.input, given.output, given.cached_input, given.cache_write, given.request or 0
    )
