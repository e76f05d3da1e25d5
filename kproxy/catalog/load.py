"""The packaged `models.json` goes in; a frozen `Catalog` comes out: what exists, costs, promises.

1. A lookup is exact. A near match would bill the wrong model.
2. An unknown price is None, never 0; prices are read as decimal strings, so no float is involved.
3. An unknown provider fails closed: it may train on data and retains it (contract section 5).
4. A row that is wrong fails the load, not the first request that meets it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

import msgspec

from kproxy.money import nanos

__all__ = [
    "ALL_CAPABILITIES",
    "Capability",
    "Catalog",
    "Model",
    "Price",
    "Provider",
    "load_packaged",
    "parse_catalog",
]

Capability = Literal["tools", "vision", "json"]
ALL_CAPABILITIES: frozenset[Capability] = frozenset(("tools", "vision", "json"))

Precision = Literal["fp32", "fp16", "bf16", "fp8", "int8", "int4"]


@dataclass(frozen=True, slots=True)
class Price:
    """List prices: nano-dollars per million tokens; `per_request` is nano-dollars a request.

    Without `cached_input` or `cache_write`, such tokens cost as much as other input.
    """

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    per_request: int = 0

    def __post_init__(self) -> None:
        for amount in (self.input, self.output, self.cached_input, self.cache_write):
            if amount is not None and amount < 0:
                raise ValueError("a price is negative")
        if self.per_request < 0:
            raise ValueError("a price is negative")

    @classmethod
    def from_usd(
        cls,
        input: str | float,
        output: str | float,
        cached_input: str | float | None = None,
        cache_write: str | float | None = None,
        per_request: str | float = 0,
    ) -> "Price":
        """From USD per million tokens (and USD a request). Raises ValueError as `money.nanos`."""
        return cls(
            input=nanos(input),
            output=nanos(output),
            cached_input=None if cached_input is None else nanos(cached_input),
            cache_write=None if cache_write is None else nanos(cache_write),
            per_request=nanos(per_request),
        )


@dataclass(frozen=True, slots=True)
class Model:
    """One model at one provider. None where a limit, a price or the precision is not known."""

    id: str  # what callers ask for
    provider: str  # slug
    upstream: str  # what the provider calls it
    price: Price | None
    context_tokens: int | None = None  # prompt and output together
    max_output_tokens: int | None = None
    capabilities: frozenset[Capability] = ALL_CAPABILITIES
    quantization: Precision | None = None
    created: int = 0  # seconds since 1970
    enabled: bool = True
    price_date: str | None = None  # when the price was published, ISO 8601

    @property
    def key(self) -> str:
        """`provider/id`, the spelling that pins both."""
        return f"{self.provider}/{self.id}"


@dataclass(frozen=True, slots=True)
class Provider:
    """What a host promises. `any_models`: it takes names that no row lists."""

    slug: str
    display: str
    may_train: bool = True
    zdr: bool = False
    any_models: bool = False


@dataclass(frozen=True)
class Catalog:
    """All models and providers. Several models may share an id at different providers.

    Raises ValueError when one provider has two models of one id.
    """

    providers: Mapping[str, Provider] = field(default_factory=lambda: MappingProxyType({}))
    models: tuple[Model, ...] = ()

    def __post_init__(self) -> None:
        if len(self._by_key) != len(self.models):
            raise ValueError("a provider lists one model id twice")

    @cached_property
    def _by_key(self) -> Mapping[str, Model]:
        return MappingProxyType({model.key: model for model in self.models})

    @cached_property
    def _by_id(self) -> Mapping[str, tuple[Model, ...]]:
        groups: dict[str, tuple[Model, ...]] = {}
        for model in self.models:
            groups[model.id] = (*groups.get(model.id, ()), model)
        return MappingProxyType(groups)

    def by_id(self, model_id: str) -> tuple[Model, ...]:
        """Every provider's model of that id; empty when there is none."""
        return self._by_id.get(model_id, ())

    def pinned(self, key: str) -> Model | None:
        """The model that `provider/id` names."""
        return self._by_key.get(key)

    def provider(self, slug: str) -> Provider:
        """The provider's facts; for an unknown one, those that fail closed."""
        return self.providers.get(slug) or Provider(slug, slug)

    def with_models(self, models: Iterable[Model], providers: Iterable[Provider] = ()) -> "Catalog":
        """A catalog in which these rows replace their namesakes and the others are added."""
        rows = {model.key: model for model in self.models}
        rows.update((model.key, model) for model in models)
        facts = dict(self.providers)
        facts.update((provider.slug, provider) for provider in providers)
        return Catalog(MappingProxyType(facts), tuple(rows.values()))

    def at_providers(self, slugs: Iterable[str]) -> "Catalog":
        """A catalog with only the models of these providers; their facts all stay."""
        wanted = frozenset(slugs)
        kept = tuple(model for model in self.models if model.provider in wanted)
        return Catalog(self.providers, kept)


class _PriceRow(msgspec.Struct, forbid_unknown_fields=True):
    input: str
    output: str
    cached_input: str | None = None
    cache_write: str | None = None
    per_request: str = "0"


class _ModelRow(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    provider: str
    upstream: str
    price: _PriceRow
    context_tokens: int
    max_output_tokens: int | None
    capabilities: frozenset[Capability]
    quantization: Precision | None
    created: int
    source: str
    date: str


class _ProviderRow(msgspec.Struct, forbid_unknown_fields=True):
    slug: str
    display: str
    may_train: bool
    zdr: bool
    source: str
    date: str


class _File(msgspec.Struct, forbid_unknown_fields=True):
    providers: list[_ProviderRow]
    models: list[_ModelRow]


def load_packaged() -> Catalog:
    """The catalog that is part of the package."""
    return parse_catalog((files("kproxy.catalog") / "models.json").read_bytes())


def parse_catalog(data: bytes) -> Catalog:
    """Read a catalog file. Raises ValueError (msgspec's errors are ValueErrors) on a wrong row."""
    rows = msgspec.json.decode(data, type=_File)
    providers = {
        row.slug: Provider(row.slug, row.display, row.may_train, row.zdr) for row in rows.providers
    }
    return Catalog(MappingProxyType(providers), tuple(_model(row) for row in rows.models))


def _model(row: _ModelRow) -> Model:
    price = row.price
    if nanos(price.output) == 0:
        raise ValueError(f"{row.provider}/{row.id}: output without a price")
    return Model(
        id=row.id,
        provider=row.provider,
        upstream=row.upstream,
        price=Price.from_usd(
            price.input, price.output, price.cached_input, price.cache_write, price.per_request
        ),
        context_tokens=row.context_tokens,
        max_output_tokens=row.max_output_tokens,
        capabilities=row.capabilities,
        quantization=row.quantization,
        created=row.created,
        price_date=row.date,
    )
