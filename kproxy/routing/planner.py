"""A request, its estimated size, the catalog and what is known of its routes go in; a `Plan`, or
`Rejected`, comes out.

1. Pure: the same arguments give the same plan. No clock, no chance; statistics are an argument.
2. A pinned model that breaks a constraint is an error, never silently replaced.
3. The order is the caller's, where `x_kairosroute.models` is given. Then come those that meet both
   soft thresholds, then the cheapest estimate, then the healthiest; an unknown price comes last.
4. An endpoint whose breaker is open, or that asked for time, is left out; where nothing else is
   left, the answer is 503 and says when.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import msgspec

from kproxy.catalog.load import ALL_CAPABILITIES, Catalog, Model
from kproxy.errors import Rejected
from kproxy.routing.constraints import (
    ANYTHING,
    COST_CAPS,
    KeyConstraints,
    Violation,
    named,
    usd_cap,
    violations,
)
from kproxy.routing.estimate import DEFAULT_OUTPUT_TOKENS, estimate_cost
from kproxy.routing.live import UNKNOWN, Live
from kproxy.routing.plan import AttemptPolicy, AttemptSpec, Plan, Strategy, Timeouts
from kproxy.routing.rescue import is_rescuable
from kproxy.routing.window import patience
from kproxy.schema.chat import ChatRequest
from kproxy.schema.receipt import Candidate

__all__ = ["AUTO", "POLICY_VERSION", "is_auto", "plan"]

POLICY_VERSION = "1"
"""Of the rules below; a receipt says which made its decision."""

AUTO = frozenset(("auto", "kr-auto"))
BREAKER = "breaker"

_NAME_SHOWN = 256
_PASSED = ("meets every constraint",)

_REASONS_SHOWN = 5  # of a refusal; the whole decision is for `explain`

Snapshot = Mapping[str, Live]
"""What is known of each route, by `provider/id`, at one moment."""


class _Judged(msgspec.Struct, frozen=True):
    model: Model
    est_cost: int | None
    live: Live
    against: tuple[Violation, ...]
    slow: str  # why it misses a soft threshold; empty: it does not


def is_auto(model: str) -> bool:
    """Whether this name asks kproxy to choose."""
    return model in AUTO


def plan(
    request: ChatRequest,
    prompt_tokens: int,
    catalog: Catalog,
    policy: AttemptPolicy,
    snapshot: Snapshot = MappingProxyType({}),
    key: KeyConstraints = ANYTHING,
) -> Plan:
    """Decide. Raises `Rejected`: 404 unknown model, 400 no model left, 402 all above the cap, 503
    all resting."""
    judged = [
        _judge(request, prompt_tokens, catalog, model, snapshot.get(model.key, UNKNOWN), key)
        for model in _candidates(request, catalog)
    ]
    left = sorted((one for one in judged if not one.against), key=_order(request))
    if not left:
        raise _refusal(request, judged)
    left = _one_probe(left)
    extension = request.extension
    total = min(_seconds(extension.deadline_ms) or math.inf, policy.timeouts.total)
    strategy = _strategy(request, policy) if len(left) > 1 else "single"
    filtered = [one for one in judged if one.against]
    return Plan(
        attempts=tuple(_spec(one, request, policy, strategy, total) for one in left),
        total=total,
        strategy=strategy,
        most=1 + policy.retries,
        beside=1 if strategy == "single" else policy.beside,
        rescue=_rescue(request, policy),
        cost_cap=_cost_cap(request, key),
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


def _judge(
    request: ChatRequest,
    prompt_tokens: int,
    catalog: Catalog,
    model: Model,
    live: Live,
    key: KeyConstraints,
) -> _Judged:
    output_tokens = request.most_output or DEFAULT_OUTPUT_TOKENS * (request.n or 1)
    est_cost = estimate_cost(model.price, prompt_tokens, output_tokens)
    against = violations(request, model, catalog, prompt_tokens, est_cost, key)
    if not against and live.resting > 0:
        against = (Violation(BREAKER, f"{live.why}, for {math.ceil(live.resting)} s"),)
    return _Judged(model, est_cost, live, against, _slow(request, live))


def _slow(request: ChatRequest, live: Live) -> str:
    """Why this route misses a soft threshold (contract section 5); with few samples it meets them.

    A stream is measured by its first token, a whole answer by its end.
    """
    latency, throughput = request.preferred_max_latency, request.preferred_min_throughput
    if (latency is None and throughput is None) or not live.measured.sufficient:
        return ""
    seen = live.measured.first_token if request.stream else live.measured.total
    if latency is not None and seen is not None and 1000 * seen.p75 > latency:
        return f"P75 latency of {1000 * seen.p75:.0f} ms is above {latency:g}"
    pace = live.measured.throughput_p50
    if throughput is not None and pace is not None and pace < throughput:
        return f"P50 throughput of {pace:.0f} tokens/s is below {throughput:g}"
    return ""


def _order(
    request: ChatRequest,
) -> Callable[[_Judged], tuple[int, bool, bool, int, float, str, str]]:
    listed = request.extension.models or ()

    def key(one: _Judged) -> tuple[int, bool, bool, int, float, str, str]:
        place = next((at for at, name in enumerate(listed) if named(one.model, name)), 0)
        cost, health = one.est_cost or 0, one.live.measured.error_rate
        slow, unknown = bool(one.slow), one.est_cost is None
        return place, slow, unknown, cost, health, one.model.id, one.model.provider

    return key


def _one_probe(left: list[_Judged]) -> list[_Judged]:
    """At most one of those that are due for a probe keeps its place, the others come last: one
    request must not spend all its attempts on endpoints that were down a moment ago."""
    due = [one for one in left if one.live.due][1:]
    return [*(one for one in left if one not in due), *due] if due else left


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _strategy(request: ChatRequest, policy: AttemptPolicy) -> Strategy:
    """The caller's, else the operator's; whoever states a latency in a request wants it kept."""
    asked = request.extension.strategy or "auto"
    if asked != "auto":
        return asked
    if policy.strategy == "single" and _stated(request) < math.inf:
        return "hedge"
    return policy.strategy


def _stated(request: ChatRequest) -> float:
    """The latency that the request asks for, in seconds; infinite where it asks for none."""
    wishes = [request.preferred_max_latency]
    if request.stream:
        wishes.append(request.extension.first_token_ms)
    return min((wish / 1000 for wish in wishes if wish is not None), default=math.inf)


def _spec(
    one: _Judged, request: ChatRequest, policy: AttemptPolicy, strategy: Strategy, total: float
) -> AttemptSpec:
    """The attempt with its timers. A whole answer is silent until it is written: only the total
    deadline binds it. Where a stream may be rescued, a silence leaves time for who goes on."""
    own, usual = one.model.timeouts, policy.timeouts
    full = Timeouts(
        total=own.total or usual.total,
        first_token=own.first_token or usual.first_token,
        gap=own.gap or usual.gap,
    )
    if not request.stream:
        full = Timeouts(full.total, full.total, full.total)
    first = (request.stream and _seconds(request.extension.first_token_ms)) or full.first_token
    total = min(total, full.total)
    return AttemptSpec(
        model=one.model,
        est_cost=one.est_cost,
        total=total,
        first_token=min(first, total),
        gap=min(full.gap, total / 4 if _rescue(request, policy) else math.inf),
        full=full,
        patience=_patience(one.live, request, policy, strategy),
    )


def _patience(live: Live, request: ChatRequest, policy: AttemptPolicy, strategy: Strategy) -> float:
    """Contract section 6: the tail of what the route has shown, or half of what the caller states,
    so that the second attempt still has as long as the first."""
    if strategy != "hedge":
        return 0.0 if strategy == "race" else math.inf
    waits = _stated(request) / 2
    known = live.measured
    seen = known.waits if request.stream else known.total
    samples = known.waits_samples if request.stream else known.samples
    if seen is not None and samples >= policy.hedge_samples:
        waits = min(waits, patience(seen))
    return max(waits, policy.hedge_floor)


def _rescue(request: ChatRequest, policy: AttemptPolicy) -> bool:
    asked = request.extension.rescue
    return (policy.rescue if asked is None else asked) and is_rescuable(request)


def _cost_cap(request: ChatRequest, key: KeyConstraints) -> int | None:
    asked = request.extension.max_cost_usd
    caps = (None if asked is None else usd_cap(asked), key.max_cost)
    return min((cap for cap in caps if cap is not None), default=None)


def _candidate(one: _Judged) -> Candidate:
    if one.against:
        reasons = tuple(violation.reason for violation in one.against)
    elif one.est_cost is None:
        reasons = ("the price is not known",)
    else:
        reasons = _PASSED
    if one.slow:
        reasons += (one.slow,)
    return Candidate(
        model_id=one.model.id,
        provider=one.model.provider,
        est_cost=one.est_cost,
        filtered_out_by=one.against[0].constraint if one.against else None,
        reasons=reasons,
    )


def _refusal(request: ChatRequest, judged: Iterable[_Judged]) -> Rejected:
    """Why nothing is left: what rests, when that is all; then the cost cap, when something passed
    all the rest; else the others."""
    filters = [(one.model, one.against[0]) for one in judged]
    resting = [one for one in judged if one.against[0].constraint == BREAKER]
    if resting:
        return _unavailable(resting)
    capped = [(model, why) for model, why in filters if why.constraint in COST_CAPS]
    if capped:
        return Rejected(
            402,
            "cost_guardrail_exceeded",
            f"No candidate is known to stay within '{capped[0][1].constraint}': {_listed(capped)}.",
            param=capped[0][1].constraint,
        )
    shown = [(model, why) for model, why in filters if why.constraint != "enabled"] or filters
    names = tuple(dict.fromkeys(why.constraint for _, why in shown))
    return Rejected(
        400,
        "no_models_available",
        f"No model is left for '{request.model}' after {', '.join(names)}: {_listed(shown)}.",
        param=names[0] if len(names) == 1 else None,
    )


def _unavailable(resting: list[_Judged]) -> Rejected:
    listed = _listed([(one.model, one.against[0]) for one in resting])
    message = f"All models are currently unavailable ({listed})."
    rejected = Rejected(503, "all_models_unavailable", message)
    wait = math.ceil(min(one.live.resting for one in resting))
    rejected.headers = ((b"retry-after", b"%d" % max(1, wait)),)
    return rejected


def _listed(filters: list[tuple[Model, Violation]]) -> str:
    lines = [f"{model.key}: {why.reason}" for model, why in filters[:_REASONS_SHOWN]]
    more = len(filters) - len(lines)
    return "; ".join(lines) + (f"; and {more} more" if more else "")
