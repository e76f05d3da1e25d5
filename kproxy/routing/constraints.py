"""A request and one candidate go in; the constraints that the candidate breaks come out.

Hard filters only (contract section 5.2): a candidate that breaks one is not used, and the reason
stays with it. The order is fixed and the cost cap comes last, so a candidate is filtered out by
the cap only when nothing else stands against it.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from kproxy.catalog.load import ALL_CAPABILITIES, Catalog, Model
from kproxy.money import NANOS_PER_USD, format_usd
from kproxy.schema.chat import PRECISION_RANK, ChatRequest

__all__ = ["COST_CAP", "Violation", "named", "violations"]

COST_CAP = "x_kairosroute.max_cost_usd"


class Violation(NamedTuple):
    """`constraint` is the request's field where there is one; `reason` is for people."""

    constraint: str
    reason: str


def violations(
    request: ChatRequest,
    model: Model,
    catalog: Catalog,
    prompt_tokens: int,
    est_cost: int | None,
) -> tuple[Violation, ...]:
    """Everything that stands against this model, the first reason first.

    Runs for every candidate of every request, so what the request does not ask for costs nothing.
    """
    found: list[Violation] = []
    if not model.enabled:
        found.append(Violation("enabled", "the model is disabled"))
    if len(model.capabilities) < len(ALL_CAPABILITIES):
        found += _capabilities(request, model)
    found += _sizes(request, model, prompt_tokens)
    if request.data_collection == "deny" or request.zdr:
        found += _policies(request, model, catalog)
    if request.min_quantization is not None or request.max_quantization is not None:
        found += _precision(request, model)
    if request.x_kairosroute is not None:
        found += _membership(request, model)
        found += _cost(request, est_cost)
    return tuple(found)


def named(model: Model, name: str) -> bool:
    """Whether a caller's `id` or `provider/id` means this model."""
    return name in (model.id, model.key)


def _capabilities(request: ChatRequest, model: Model) -> Iterator[Violation]:
    if request.needs_tools and "tools" not in model.capabilities:
        yield Violation("tools", "the model cannot call tools")
    if request.needs_vision and "vision" not in model.capabilities:
        yield Violation("vision", "the model cannot read images")
    if request.needs_json and "json" not in model.capabilities:
        yield Violation("response_format", "the model has no JSON mode")


def _sizes(request: ChatRequest, model: Model, prompt_tokens: int) -> Iterator[Violation]:
    output = request.output_limit
    if model.context_tokens is not None and prompt_tokens + (output or 1) > model.context_tokens:
        yield Violation(
            "context_length",
            f"about {prompt_tokens} prompt tokens and {output or 1} for the answer exceed "
            f"the context of {model.context_tokens}",
        )
    most = model.max_output_tokens
    if output is not None and most is not None and output > most:
        yield Violation("max_tokens", f"the model writes at most {most} tokens")


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
        yield Violation("x_kairosroute.models", "the model is not in the request's list")


def _cost(request: ChatRequest, est_cost: int | None) -> Iterator[Violation]:
    cap_usd = request.extension.max_cost_usd
    if cap_usd is None:
        return
    if est_cost is None:
        yield Violation(COST_CAP, "the price is not known")
        return
    cap = int(Decimal(str(cap_usd)) * NANOS_PER_USD)  # rounded down: the cap is never exceeded
    if est_cost > cap:
        yield Violation(COST_CAP, f"estimated at {format_usd(est_cost)} USD")
