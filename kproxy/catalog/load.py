"""The packaged `models.json` goes in; a frozen `Catalog` comes out: what exists, costs, promises.

1. A lookup is exact. A near match would bill the wrong model.
2. An unknown price is None, never 0; prices are read as decimal strings, so no float is involved.
3. An unknown provider fails closed: it may train on data and retains it (contract section 5).
4. A row that is wrong fails the load, not the first request that meets it, and is named.

The packaged file is written by `tests/catalog/generate.py`; an operator may have one of their own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import le
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw

from kproxy.catalog.quality import Qualities
from kproxy.money import nanos

__all__ = [
    "ALL_CAPABILITIES",
    "VERSION",
    "Capability",
    "Catalog",
    "Model",
    "Price",
    "Provider",
    "RouteTimeouts",
    "Step",
    "load_packaged",
    "parse_catalog",
]

Capability = Literal["tools", "vision", "json"]
ALL_CAPABILITIES: frozenset[Capability] = frozenset(("tools", "vision", "json"))

Precision = Literal["fp32", "fp16", "bf16", "fp8", "int8", "int4"]

VERSION = 1
"""Of the catalog file's form. A file of another one is refused."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Price:
    """List prices: nano-dollars per million tokens; `per_request` is nano-dollars a request.

    Without `cached_input` or `cache_write`, such tokens cost as much as other input. `above` is
    what a long prompt costs, where the provider has a second price list for those.
    """

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    per_request: int = 0
    above: "Step | None" = None

    def __post_init__(self) -> None:
        for amount in (self.input, self.output, self.cached_input, self.cache_write):
            if amount is not None and amount < 0:
                raise ValueError("a price is negative")
        if self.per_request < 0:
            raise ValueError("a price is negative")
        if self.above is not None and not all(map(le, self._rates, self.above.price._rates)):
            raise ValueError("a long prompt is cheaper than a short one")

    def at(self, prompt_tokens: int) -> "Price":
        """What a prompt of that length costs. A long one costs the second price from its first
        token on, and its answer too: that is how every provider with two lists counts."""
        step = self.above
        return self if step is None or prompt_tokens <= step.tokens else step.price

    @property
    def _rates(self) -> tuple[int, ...]:
        """Of each kind of token, and of the request; what has no price of its own is input."""
        cached = self.input if self.cached_input is None else self.cached_input
        written = self.input if self.cache_write is None else self.cache_write
        return (self.input, self.output, cached, written, self.per_request)

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
class Step:
    """The price of prompts of more than `tokens` tokens, cached ones counted in."""

    tokens: int
    price: Price


class RouteTimeouts(msgspec.Struct, frozen=True):
    """Seconds; None: as everywhere. See `[timeouts]`."""

    total: float | None = None
    first_token: float | None = None
    gap: float | None = None


AS_EVERYWHERE = RouteTimeouts()


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
    created: int = 0  # seconds since 1970; 0: not known
    enabled: bool = True
    timeouts: RouteTimeouts = AS_EVERYWHERE
    price_date: str | None = None  # a day on which the price held, ISO 8601
    prefill: bool = False  # continues the assistant message that the request ends with
    quality: tuple[float, ...] = ()  # 0 to 1, in the order of `quality.CATEGORIES`; (): not known
    quality_source: str = ""
    key: str = field(init=False, default="")  # `provider/id`, the spelling that pins both

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{self.provider}/{self.id}")


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

    Raises ValueError when one provider has two models of one id, and names it.
    """

    providers: Mapping[str, Provider] = field(default_factory=lambda: MappingProxyType({}))
    models: tuple[Model, ...] = ()

    def __post_init__(self) -> None:
        if len(self._by_key) != len(self.models):
            keys = [model.key for model in self.models]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"{twice} is listed twice")

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


Text = Annotated[str, Meta(min_length=1)]
Tokens = Annotated[int, Meta(ge=1)]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class _StepRow(msgspec.Struct, forbid_unknown_fields=True):
    tokens: Tokens
    input: str
    output: str
    cached_input: str | None = None
    cache_write: str | None = None


class _PriceRow(msgspec.Struct, forbid_unknown_fields=True):
    input: str
    output: str
    cached_input: str | None = None
    cache_write: str | None = None
    per_request: str = "0"
    above: _StepRow | None = None


class _ModelRow(msgspec.Struct, forbid_unknown_fields=True):
    id: Text
    provider: Text
    upstream: Text
    price: _PriceRow
    context_tokens: Tokens
    max_output_tokens: Tokens | None
    capabilities: frozenset[Capability]
    quantization: Precision | None
    prefill: bool
    created: Annotated[int, Meta(ge=0)]  # 0: not known
    source: Text
    date: Day
    quality: Qualities | None = None  # older files have none
    quality_source: str = ""


class _ProviderRow(msgspec.Struct, forbid_unknown_fields=True):
    slug: Text
    display: Text
    may_train: bool
    zdr: bool
    source: Text
    date: Day


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    providers: list[Raw]
    models: list[Raw]


class _Label(msgspec.Struct):
    id: str | None = None
    slug: str | None = None
    provider: str | None = None


def load_packaged() -> Catalog:
    """The catalog that is part of the package."""
    # Not importlib.resources: it brings tempfile, shutil and three compressors along.
    return parse_catalog((Path(__file__).parent / "models.json").read_bytes())


def parse_catalog(data: bytes) -> Catalog:
    """Read a catalog file. Raises ValueError that names the row and the field that are wrong."""
    file = _file(data)
    providers: dict[str, Provider] = {}
    for label, row in _rows("providers", file.providers, _ProviderRow):
        if row.slug in providers:
            raise ValueError(f"{label}: slug: it is listed twice")
        providers[row.slug] = Provider(row.slug, row.display, row.may_train, row.zdr)
    models = []
    for label, one in _rows("models", file.models, _ModelRow):
        if one.provider not in providers:
            raise ValueError(f"{label}: provider: no row of `providers` has this slug")
        models.append(_model(label, one))
    return Catalog(MappingProxyType(providers), tuple(models))


def _file(data: bytes) -> _File:
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a catalog: {error}") from error
    if file.version != VERSION:
        raise ValueError(f"the catalog's version is {file.version}; this kproxy reads {VERSION}")
    return file


def _rows(name: str, rows: list[Raw], kind: type[T]) -> Iterable[tuple[str, T]]:
    for at, raw in enumerate(rows):
        label = f"{name}[{at}]{_label(raw)}"
        try:
            yield label, msgspec.json.decode(raw, type=kind)
        except msgspec.DecodeError as error:
            reason, _, place = str(error).partition(" - at `$.")
            field = place.removesuffix("`")
            raise ValueError(f"{label}: {field + ': ' if field else ''}{reason}") from error


def _label(raw: Raw) -> str:
    """` (openai/gpt-4.1)` as far as the row says who it is."""
    try:
        label = msgspec.json.decode(raw, type=_Label)
    except msgspec.DecodeError:
        return ""
    names = [name for name in (label.slug, label.provider, label.id) if name]
    return f" ({'/'.join(names)})" if names else ""


def _model(label: str, row: _ModelRow) -> Model:
    return Model(
        id=row.id,
        provider=row.provider,
        upstream=row.upstream,
        price=_price(label, row.price),
        context_tokens=row.context_tokens,
        max_output_tokens=row.max_output_tokens,
        capabilities=row.capabilities,
        quantization=row.quantization,
        created=row.created,
        price_date=row.date,
        prefill=row.prefill,
        quality=() if row.quality is None else row.quality.in_order(),
        quality_source=row.quality_source,
    )


def _price(label: str, row: _PriceRow) -> Price:
    request = _nanos(label, "price.per_request", row.per_request)
    rates = _read_rates(label, "price", row)
    if row.above is None:
        return Price(*rates, request)
    step = Step(row.above.tokens, Price(*_read_rates(label, "price.above", row.above), request))
    try:
        return Price(*rates, request, step)
    except ValueError as error:
        raise ValueError(f"{label}: price.above: {error}") from error


def _read_rates(
    label: str, place: str, row: _PriceRow | _StepRow
) -> tuple[int, int, int | None, int | None]:
    def rate(name: str) -> int | None:
        text = getattr(row, name)
        return None if text is None else _nanos(label, f"{place}.{name}", text)

    output = _nanos(label, f"{place}.output", row.output)
    if not output:
        raise ValueError(f"{label}: {place}.output: it is 0, and an unknown price is none")
    return (
        _nanos(label, f"{place}.input", row.input),
        output,
        rate("cached_input"),
        rate("cache_write"),
    )


def _nanos(label: str, field: str, text: str) -> int:
    try:
        return nanos(text)
    except ValueError as error:
        raise ValueError(f"{label}: {field}: {error}") from error
