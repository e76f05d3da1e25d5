"""A request and one candidate go in; the constraints that the candidate breaks come out.

Hard filters only (contract section 5.2): a candidate that breaks one is not used, and the reason
stays with it. The order is fixed and the cost cap comes last, so a candidate is filtered out by
the cap only when nothing else stands against it. Before it comes what the provider's API has no
words for; it is the dearest to find out, and asked only where nothing else stands against it.
"""

from collections.abc import Callable, Container, Iterator
from decimal import Decimal
from typing import NamedTuple

import msgspec

from kproxy.catalog.load import ALL_CAPABILITIES, Capability, Catalog, Model
from kproxy.errors import NotCarried
from kproxy.money import NANOS_PER_USD, format_usd
from kproxy.schema.chat import PRECISION_RANK, ChatRequest

__all__ = [
    "ANYTHING",
    "COST_CAP",
    "COST_CAPS",
    "KEY_COST_CAP",
    "LISTED",
    "UNSUPPORTED",
    "Expected",
    "KeyConstraints",
    "Refuses",
    "Violation",
    "named",
    "takes_anything",
    "usd_cap",
    "violations",
    "with_floor",
]

COST_CAP = "x_kairosroute.max_cost_usd"
LISTED = "x_kairosroute.models"
KEY_COST_CAP = "maxCostPerRequestUsd"
COST_CAPS = frozenset({COST_CAP, KEY_COST_CAP})

UNSUPPORTED = "unsupported_parameter"

Refuses = Callable[[str], NotCarried | None]
"""A provider's slug to what its API has no words for in the request; None: it has all."""


class KeyConstraints(msgspec.Struct, frozen=True):
    """What the caller's key allows (contract section 11); empty and None: everything.

    `max_cost` is nano-dollars. `locked` are providers whose own key is stored and cannot be opened:
    the operator's instead would be unasked for. `on_credit`: use of the operator's keys is paid
    from a credit, so it must have a price; `own` are the providers at which it is not. `floor` is
    the operator's least quality for this kind of prompt, `min_quality` the key's.
    """

    max_cost: int | None = None
    allowed: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    min_quality: float | None = None
    locked: frozenset[str] = frozenset()
    on_credit: bool = False
    own: frozenset[str] = frozenset()
    floor: float | None = None


class Expected(msgspec.Struct, frozen=True):
    """What is to be expected of a model on one request: nano-dollars (None: the price is not
    known), tokens of the answer, and quality, 0 to 1 (None: nobody has said)."""

    cost: int | None
    output_tokens: int
    quality: float | None


ANYTHING = KeyConstraints()


def with_floor(key: KeyConstraints, floor: float | None) -> KeyConstraints:
    """The same with the operator's floor for the request's category; a key's own one is instead of
    it (contract section 5)."""
    if floor is None or key.min_quality is not None:
        return key
    return msgspec.structs.replace(key, floor=floor)


class Violation(NamedTuple):
    """`constraint` is the request's field where there is one; `reason` is for people. `param` is
    what the provider has no words for, where that is the constraint."""

    constraint: str
    reason: str
    param: str | None = None


def takes_anything(_: str) -> None:
    """`Refuses` where nobody knows better."""
    return


def violations(
    request: ChatRequest,
    model: Model,
    catalog: Catalog,
    prompt_tokens: int,
    expected: Expected,
    key: KeyConstraints = ANYTHING,
    refuses: Refuses = takes_anything,
) -> tuple[Violation, ...]:
    """Everything that stands against this model, the first reason first.

    Runs for every candidate of every request, so what the request does not ask for costs nothing.
    """
    found: list[Violation] = []
    if not model.enabled:
        found.append(Violation("enabled", "the model is disabled"))
    if len(model.capabilities) < len(ALL_CAPABILITIES):
        found += _capabilities(request, model.capabilities)
    output, most = request.output_limit, model.max_output_tokens
    if model.context_tokens is not None and prompt_tokens + (output or 1) > model.context_tokens:
        found.append(_too_long(prompt_tokens, output or 1, model.context_tokens))
    if output is not None and most is not None and output > most:
        found.append(Violation("max_tokens", f"the model writes at most {most} tokens"))
    if request.data_collection == "deny" or request.zdr:
        found += _policies(request, model, catalog)
    if request.min_quantization is not None or request.max_quantization is not None:
        found += _precision(request, model)
    if request.x_kairosroute is not None:
        found += _membership(request, model)
    if key is not ANYTHING:
        found += _guardrails(key, model, expected)
    if not found and (refused := refuses(model.provider)) is not None:
        reason = f"'{refused.param}': {refused.message}"
        found.append(Violation(UNSUPPORTED, reason, refused.param))
    if request.x_kairosroute is not None:
        found += _cost(COST_CAP, _cap(request), expected.cost)
    if key.max_cost is not None:
        found += _cost(KEY_COST_CAP, key.max_cost, expected.cost)
    return tuple(found)


def named(model: Model, name: str) -> bool:
    """Whether a caller's `id` or `provider/id` means this model."""
    return name in (model.id, model.key)


def _capabilities(request: ChatRequest, has: Container[Capability]) -> list[Violation]:
    """What it has is asked first: who needs vision is found by a look at all messages."""
    found = []
    if "tools" not in has and request.needs_tools:
        found.append(Violation("tools", "the model cannot call tools"))
    if "vision" not in has and request.needs_vision:
        found.append(Violation("vision", "the model cannot read images"))
    if "json" not in has and request.needs_json:
        found.append(Violation("response_format", "the model has no JSON mode"))
    return found


def _too_long(prompt_tokens: int, output: int, window: int) -> Violation:
    return Violation(
        "context_length",
        f"about {prompt_tokens} prompt tokens and {output} for the answer exceed "
        f"the context of {window}",
    )


def _policies(request: ChatRequest, model: Model, catalog: Catalog) -> Iterator[Violation]:
    provider = catalog.provider(model.provider)
    if request.data_collection == "deny" and provider.may_train:
        yield Violation("data_collection", "the provider may train on data")
    if request.zdr and not provider.zdr:
        yield Violation("zdr", "the provider guarantees no zero data retention")


def _precision(request: ChatRequest, model: Model) -> Iterator[Violation]:
    least, most, own = request.min_quantization, request.max_quantization, model.quantization
    if least is not None:
        if own is None:
            yield Violation("min_quantization", "the host does not disclose its precision")
        elif PRECISION_RANK[own] < PRECISION_RANK[least]:
            yield Violation("min_quantization", f"{own} is below {least}")
    if most is not None and own is not None and PRECISION_RANK[own] > PRECISION_RANK[most]:
        yield Violation("max_quantization", f"{own} is above {most}")


def _membership(request: ChatRequest, model: Model) -> Iterator[Violation]:
    wanted = request.extension.models
    if wanted is not None and not any(named(model, name) for name in wanted):
        yield Violation(LISTED, "the model is not in the request's list")


def _guardrails(key: KeyConstraints, model: Model, expected: Expected) -> Iterator[Violation]:
    slug = model.provider
    if key.allowed and slug not in key.allowed:
        yield Violation("allowedProviders", "the key does not allow this provider")
    if slug in key.excluded:
        yield Violation("excludedProviders", "the key excludes this provider")
    if slug in key.locked:
        yield Violation("providerKeys", "the key's own key for this provider cannot be opened")
    yield from _quality("minQualityThreshold", key.min_quality, expected.quality)
    yield from _quality("routing.floors", key.floor, expected.quality)
    if key.on_credit and slug not in key.own and expected.cost is None:
        yield Violation("price", "the price is not known, and the account pays from a credit")


def _quality(name: str, least: float | None, quality: float | None) -> Iterator[Violation]:
    if least is None:
        return
    if quality is None:
        yield Violation(name, "the model's quality is not known")
    elif quality < least:
        yield Violation(name, f"the expected quality of {quality:.3f} is below {least:g}")


def _cap(request: ChatRequest) -> int | None:
    cap = request.extension.max_cost_usd
    return None if cap is None else usd_cap(cap)


def usd_cap(usd: float) -> int:
    """A cap in nano-dollars, rounded down: it is never exceeded."""
    return int(Decimal(str(usd)) * NANOS_PER_USD)


def _cost(name: str, cap: int | None, est_cost: int | None) -> Iterator[Violation]:
    if cap is None:
        return
    if est_cost is None:
        yield Violation(name, "the price is not known")
    elif est_cost > cap:
        yield Violation(name, f"estimated at {format_usd(est_cost)} USD, above {format_usd(cap)}")
