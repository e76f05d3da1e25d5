"""A request and the catalog go in; the models that may be meant, each one judged, come out.

Judged is a model at a provider on its own: what to expect of it, what stands against it, whether it
misses a soft threshold. Who comes first among those that are left is the planner's.
"""

import math
from typing import NamedTuple

import msgspec

from kproxy.catalog.load import ALL_CAPABILITIES, Catalog, Model
from kproxy.errors import Rejected
from kproxy.routing.appraise import Appraisal
from kproxy.routing.constraints import (
    Expected,
    KeyConstraints,
    Refuses,
    Violation,
    takes_anything,
    violations,
)
from kproxy.routing.dial import DEARER
from kproxy.routing.estimate import DEFAULT_OUTPUT_TOKENS, estimate_cost
from kproxy.routing.live import Live
from kproxy.schema.chat import ChatRequest
from kproxy.schema.receipt import Candidate

__all__ = ["AUTO", "BREAKER", "Case", "Judged", "candidate", "candidates", "is_auto", "judge"]

AUTO = frozenset(("auto", "kr-auto"))
BREAKER = "breaker"

_NAME_SHOWN = 256
_PASSED = ("meets every constraint",)
_STAYS = "answered the turn before"
_DEARER = "dearer than the best on the whole"


class Case(NamedTuple):
    """What is the same for all candidates of one request."""

    request: ChatRequest
    prompt_tokens: int
    catalog: Catalog
    key: KeyConstraints
    appraisal: Appraisal | None
    most_output: int | None  # tokens of all choices, where the caller has a limit
    refuses: Refuses = takes_anything


class Judged(msgspec.Struct, frozen=True):
    """One candidate of one request."""

    model: Model
    expected: Expected
    likely_cost: int | None  # without what the caller's limit allows beyond the usual length
    live: Live
    against: tuple[Violation, ...]
    slow: str  # why it misses a soft threshold; empty: it does not
    worth: float = 0.0  # beside the others that are left, see `dial.worths`
    stays: bool = False

    @property
    def est_cost(self) -> int | None:
        """Nano-dollars at the caller's own limit of the answer; None: the price is not known."""
        return self.expected.cost


def is_auto(model: str) -> bool:
    """Whether this name asks kproxy to choose."""
    return model in AUTO


def candidates(request: ChatRequest, catalog: Catalog) -> tuple[Model, ...]:
    if not is_auto(request.model):
        return _named_models(request.model, catalog, "model")
    models, names = catalog.models, request.extension.models
    if names is not None:
        found = {model.key: model for model in models}
        for name in names:
            listed = _named_models(name, catalog, "x_kairosroute.models")
            found.update((model.key, model) for model in listed)
        models = tuple(found.values())
    if not models:
        raise Rejected(503, "all_models_unavailable", "No model is configured.")
    return models


def _named_models(name: str, catalog: Catalog, param: str) -> tuple[Model, ...]:
    """The models that `id` or `provider/id` names; a host that takes any name takes this one."""
    models = catalog.by_id(name)
    if not models and (pinned := catalog.pinned(name)) is not None:
        models = (pinned,)
    for model in models:
        if model.enabled:
            return models
    slug, slash, rest = name.partition("/")
    if not models and slash and rest and catalog.provider(slug).any_models:
        return (Model(rest, slug, rest, None, capabilities=ALL_CAPABILITIES),)
    message = f"The model '{name[:_NAME_SHOWN]}' does not exist"
    rejected = Rejected(404, "model_not_found", message, param=param)
    rejected.type = "invalid_request_error"
    raise rejected


def judge(case: Case, model: Model, live: Live) -> Judged:
    request, prompt_tokens, catalog, key, appraisal, most, refuses = case
    found = None if appraisal is None else appraisal.of(model.key)
    quality, usual = found or (None, DEFAULT_OUTPUT_TOKENS)
    usual *= request.n or 1
    if most is None:
        most = usual
    likely = cost = estimate_cost(model.price, prompt_tokens, most)
    if usual < most:
        likely = estimate_cost(model.price, prompt_tokens, usual)
    expected = Expected(cost, most, quality)
    against = violations(request, model, catalog, prompt_tokens, expected, key, refuses)
    if not against and live.resting > 0:
        against = (Violation(BREAKER, f"{live.why}, for {math.ceil(live.resting)} s"),)
    return Judged(model, expected, likely, live, against, _slow(request, live))


def _slow(request: ChatRequest, live: Live) -> str:
    """Why this route misses a soft threshold (contract section 5); with few samples it meets them.

    A stream is measured by its first token, a whole answer by its end.
    """
    latency, throughput = request.preferred_max_latency, request.preferred_min_throughput
    if (latency is None and throughput is None) or not live.measured.sufficient:
        return ""
    seen = live.measured.first_token if request.stream else live.measured.total
    if latency is not None and seen is not None and 1000 * seen.p75 > latency:
        return f"P75 latency of {1000 * seen.p75:.0f} ms is above {latency:,.10g}"
    pace = live.measured.throughput_p50
    if throughput is not None and pace is not None and pace < throughput:
        return f"P50 throughput of {pace:.0f} tokens/s is below {throughput:,.10g}"
    return ""


def candidate(one: Judged) -> Candidate:
    model, expected, worth = one.model, one.expected, one.worth
    if one.against:
        reasons = tuple(violation.reason for violation in one.against)
    elif expected.cost is None:
        reasons = ("the price is not known",)
    else:
        reasons = _PASSED
    if worth < DEARER:
        reasons += (_DEARER,)
    if one.slow:
        reasons += (one.slow,)
    if one.stays:
        reasons += (_STAYS,)
    quality = expected.quality
    return Candidate(
        model_id=model.id,
        provider=model.provider,
        est_cost=expected.cost,
        filtered_out_by=one.against[0].constraint if one.against else None,
        reasons=reasons,
        score=None if quality is None else round(quality, 3),
        worth=worth if DEARER < worth < 0 else None,
    )
