"""A request, its estimated size and the catalog go in; a `Plan`, or `Rejected`, comes out.

1. Pure: the same arguments give the same plan. No clock, no chance, no statistics yet.
2. A pinned model that breaks a constraint is an error, never silently replaced.
3. The order is the caller's, where `x_kairosroute.models` is given, else the cheapest estimate
   first; what has no known price comes last.
"""

from collections.abc import Callable, Iterable

import msgspec

from kproxy.catalog.load import ALL_CAPABILITIES, Catalog, Model
from kproxy.errors import Rejected
from kproxy.routing.constraints import COST_CAP, Violation, named, violations
from kproxy.routing.estimate import DEFAULT_OUTPUT_TOKENS, estimate_cost
from kproxy.routing.plan import AttemptSpec, Candidate, Plan, Timeouts
from kproxy.schema.chat import ChatRequest

__all__ = ["AUTO", "is_auto", "plan"]

AUTO = frozenset(("auto", "kr-auto"))

_NAME_SHOWN = 256
_PASSED = ("meets every constraint",)

_REASONS_SHOWN = 5  # of a refusal; the whole decision is for `explain`


class _Judged(msgspec.Struct, frozen=True):
    model: Model
    est_cost: int | None
    against: tuple[Violation, ...]


def is_auto(model: str) -> bool:
    """Whether this name asks kproxy to choose."""
    return model in AUTO


def plan(request: ChatRequest, prompt_tokens: int, catalog: Catalog, timeouts: Timeouts) -> Plan:
    """Decide. Raises `Rejected`: 404 unknown model, 400 no model left, 402 all above the cap."""
    judged = [
        _judge(request, prompt_tokens, catalog, model) for model in _candidates(request, catalog)
    ]
    left = sorted((one for one in judged if not one.against), key=_order(request))
    if not left:
        raise _refusal(request, judged)
    total, first_token = _deadlines(request, timeouts)
    filtered = [one for one in judged if one.against]
    return Plan(
        attempts=tuple(AttemptSpec(one.model, one.est_cost) for one in left),
        total=total,
        first_token=first_token,
        gap=timeouts.gap,
        strategy="single",
        candidates=tuple(_candidate(one) for one in (*left, *filtered)),
    )


def _candidates(request: ChatRequest, catalog: Catalog) -> tuple[Model, ...]:
    if not is_auto(request.model):
        return _named_models(request.model, catalog, "model")
    found = {model.key: model for model in catalog.models}
    for name in request.extension.models or ():
        listed = _named_models(name, catalog, "x_kairosroute.models")
        found.update((model.key, model) for model in listed)
    if not found:
        raise Rejected(503, "all_models_unavailable", "No model is configured.")
    return tuple(found.values())


def _named_models(name: str, catalog: Catalog, param: str) -> tuple[Model, ...]:
    """The models that `id` or `provider/id` names; a host that takes any name takes this one."""
    pinned = catalog.pinned(name)
    models = catalog.by_id(name) or ((pinned,) if pinned is not None else ())
    if any(model.enabled for model in models):
        return models
    slug, slash, rest = name.partition("/")
    if not models and slash and rest and catalog.provider(slug).any_models:
        return (Model(rest, slug, rest, None, capabilities=ALL_CAPABILITIES),)
    message = f"The model '{name[:_NAME_SHOWN]}' does not exist"
    rejected = Rejected(404, "model_not_found", message, param=param)
    rejected.type = "invalid_request_error"
    raise rejected


def _judge(request: ChatRequest, prompt_tokens: int, catalog: Catalog, model: Model) -> _Judged:
    output_tokens = (request.output_limit or DEFAULT_OUTPUT_TOKENS) * (request.n or 1)
    est_cost = estimate_cost(model.price, prompt_tokens, output_tokens)
    return _Judged(model, est_cost, violations(request, model, catalog, prompt_tokens, est_cost))


def _order(request: ChatRequest) -> Callable[[_Judged], tuple[int, bool, int, str, str]]:
    listed = request.extension.models or ()

    def key(one: _Judged) -> tuple[int, bool, int, str, str]:
        place = next((at for at, name in enumerate(listed) if named(one.model, name)), 0)
        unknown = one.est_cost is None
        return place, unknown, one.est_cost or 0, one.model.id, one.model.provider

    return key


def _deadlines(request: ChatRequest, timeouts: Timeouts) -> tuple[float, float]:
    extension = request.extension
    total, first_token = timeouts.total, timeouts.first_token
    if extension.deadline_ms is not None:
        total = extension.deadline_ms / 1000
    if extension.first_token_ms is not None:
        first_token = extension.first_token_ms / 1000
    return total, min(first_token, total)


def _candidate(one: _Judged) -> Candidate:
    if one.against:
        reasons = tuple(violation.reason for violation in one.against)
    elif one.est_cost is None:
        reasons = ("the price is not known",)
    else:
        reasons = _PASSED
    return Candidate(
        model_id=one.model.id,
        provider=one.model.provider,
        est_cost=one.est_cost,
        filtered_out_by=one.against[0].constraint if one.against else None,
        reasons=reasons,
    )


def _refusal(request: ChatRequest, judged: Iterable[_Judged]) -> Rejected:
    """Why nothing is left: the cost cap, when something passed all the rest; else the others."""
    filters = [(one.model, one.against[0]) for one in judged]
    capped = [(model, why) for model, why in filters if why.constraint == COST_CAP]
    if capped:
        return Rejected(
            402,
            "cost_guardrail_exceeded",
            f"No candidate is known to stay within '{COST_CAP}': {_listed(capped)}.",
            param=COST_CAP,
        )
    shown = [(model, why) for model, why in filters if why.constraint != "enabled"] or filters
    names = tuple(dict.fromkeys(why.constraint for _, why in shown))
    return Rejected(
        400,
        "no_models_available",
        f"No model is left for '{request.model}' after {', '.join(names)}: {_listed(shown)}.",
        param=names[0] if len(names) == 1 else None,
    )


def _listed(filters: list[tuple[Model, Violation]]) -> str:
    lines = [f"{model.key}: {why.reason}" for model, why in filters[:_REASONS_SHOWN]]
    more = len(filters) - len(lines)
    return "; ".join(lines) + (f"; and {more} more" if more else "")
