"""A request, its estimated size, the catalog and what is known of its routes go in; a `Plan`, or
`Rejected`, comes out.

1. Pure: the same arguments give the same plan. No clock, no chance; statistics are an argument.
2. A pinned model that breaks a constraint is an error, never silently replaced.
3. The order is the caller's, where `x_kairosroute.models` is given. Then come those that meet both
   soft thresholds, then those that are worth the most: expected quality against price, as the dial
   weighs them (`dial.py`). Then the cheapest, then the healthiest; an unknown price comes last.
   What is novel to the router goes to the best on the whole, and the classification says so.
4. An endpoint whose breaker is open, or that asked for time, is left out; where nothing else is
   left, the answer is 503 and says when.
5. A conversation stays with who answered its last turn, unless that route is filtered out, misses a
   soft threshold, or another is worth more by `SWITCHING` or costs less than half.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from msgspec.structs import replace

from kproxy.catalog.load import Catalog, Model, RouteTimeouts
from kproxy.routing.appraise import Appraisal
from kproxy.routing.candidates import Case, Judged, candidate, candidates, is_auto, judge
from kproxy.routing.constraints import (
    ANYTHING,
    KeyConstraints,
    Refuses,
    named,
    takes_anything,
    usd_cap,
    with_floor,
)
from kproxy.routing.dial import Dial
from kproxy.routing.estimate import warmth
from kproxy.routing.live import UNKNOWN, Live
from kproxy.routing.plan import (
    POLICY_VERSION,
    AttemptPolicy,
    AttemptSpec,
    Plan,
    Strategy,
    Timeouts,
)
from kproxy.routing.refusal import refusal
from kproxy.routing.rescue import is_rescuable
from kproxy.routing.window import patience
from kproxy.schema.chat import ChatRequest
from kproxy.schema.receipt import Classification

__all__ = ["SWITCHING", "plan"]

SWITCHING = 0.05
"""Of quality, or of price by the dial's rate: what a change inside a conversation must gain."""

MOST_DEARER = 2.0
"""Who stays may cost so many times what another would, its prefix taken to be warm."""

Snapshot = Mapping[str, Live]
"""What is known of each route, by `provider/id`, at one moment."""


def plan(
    request: ChatRequest,
    prompt_tokens: int,
    catalog: Catalog,
    policy: AttemptPolicy,
    snapshot: Snapshot = MappingProxyType({}),
    key: KeyConstraints = ANYTHING,
    appraisal: Appraisal | None = None,
    stays: str | None = None,
    refuses: Refuses = takes_anything,
) -> Plan:
    """Decide. `appraisal`: the router's expectations, None where it was not asked; `stays`: who
    answered the conversation's last turn; `refuses`: what each provider's API has no words for.

    Raises `Rejected`: 404 unknown model, 400 no model left, 402 all above the cap, 503 all resting.
    """
    floors = policy.routing.floors
    if appraisal is not None and floors:
        key = with_floor(key, floors.get(appraisal.judgement.category))
    case = Case(request, prompt_tokens, catalog, key, appraisal, request.most_output, refuses)
    judged = [
        judge(case, model, snapshot.get(model.key, UNKNOWN))
        for model in candidates(request, catalog)
    ]
    left = judged if len(judged) == 1 else [one for one in judged if not one.against]
    if not left or left[0].against:
        raise refusal(request, judged)
    dial = None
    if appraisal is not None and is_auto(request.model):
        dial = request.extension.dial or policy.routing.dial
        left = _staying(_weighed(_warmed(left, stays, prompt_tokens), appraisal, dial), stays)
    alone = len(left) == 1
    if not alone:
        left = _one_probe(sorted(left, key=_order(request)))
    total = policy.timeouts.total
    if request.extension.deadline_ms is not None:
        total = min(request.extension.deadline_ms / 1000, total)
    strategy = "single" if alone else _strategy(request, policy)
    rescue = _rescue(request, policy)
    filtered = [one for one in judged if one.against]
    classification = None if appraisal is None else _classification(appraisal)
    return Plan(
        attempts=_specs(left, request, policy, strategy, rescue),
        total=total,
        strategy=strategy,
        most=1 + policy.retries,
        beside=1 if strategy == "single" else policy.beside,
        rescue=rescue,
        cost_cap=_cost_cap(request, key),
        candidates=tuple([candidate(one) for one in (*left, *filtered)]),
        classification=classification,
        dial=dial,
        policy_version=_version(appraisal),
    )


def _version(appraisal: Appraisal | None) -> str:
    return POLICY_VERSION if appraisal is None else f"{POLICY_VERSION}-{appraisal.version}"


def _classification(appraisal: Appraisal) -> Classification:
    found = appraisal.judgement
    return Classification(found.category, round(found.confidence, 3), found.novel)


def _weighed(left: list[Judged], appraisal: Appraisal, dial: Dial) -> list[Judged]:
    """The same with what each is worth. Whom no row lists (a host that takes any name) is worth
    less than all others: nothing is known of it."""
    listed = [one for one in left if one.model.key in appraisal.places]
    if not listed:
        return left
    keys, costs = [one.model.key for one in listed], [one.likely_cost for one in listed]
    found = appraisal.worths(keys, costs, dial)
    weighed = [replace(one, worth=worth) for one, worth in zip(listed, found, strict=True)]
    if len(listed) == len(left):
        return weighed
    others = [one for one in left if one.model.key not in appraisal.places]
    return [*weighed, *[replace(one, worth=-math.inf) for one in others]]


def _warmed(left: list[Judged], stays: str | None, prompt_tokens: int) -> list[Judged]:
    """The same with the likely cost of who answered the conversation's last turn as if it had all
    of the prompt in its cache, which is the most that staying can save."""
    if stays is None:
        return left
    return [
        replace(one, likely_cost=one.likely_cost - warmth(one.model.price, prompt_tokens))
        if one.model.key == stays and one.likely_cost is not None
        else one
        for one in left
    ]


def _staying(left: list[Judged], stays: str | None) -> list[Judged]:
    """The same with who answered the conversation's last turn marked, if it may stay."""
    if stays is None:
        return left
    first = max(left, key=lambda one: one.worth)
    return [
        replace(one, stays=True) if one.model.key == stays and _may_stay(one, first) else one
        for one in left
    ]


def _may_stay(one: Judged, first: Judged) -> bool:
    if one.slow or one.worth < first.worth - SWITCHING:
        return False
    if one.likely_cost is None or first.likely_cost is None:
        return True
    return one.likely_cost <= MOST_DEARER * first.likely_cost


Rank = tuple[int, bool, bool, float, bool, int, float, str, str]


def _order(request: ChatRequest) -> Callable[[Judged], Rank]:
    listed = request.extension.models or ()

    def key(one: Judged) -> Rank:
        place = _place(one.model, listed) if listed else 0
        cost, health, model = one.likely_cost or 0, one.live.measured.error_rate, one.model
        slow, unknown = bool(one.slow), one.likely_cost is None
        worth = -one.worth
        return place, not one.stays, slow, worth, unknown, cost, health, model.id, model.provider

    return key


def _place(model: Model, listed: Sequence[str]) -> int:
    return next((at for at, name in enumerate(listed) if named(model, name)), 0)


def _one_probe(left: list[Judged]) -> list[Judged]:
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
    wish = request.preferred_max_latency
    stated = math.inf if wish is None else wish / 1000
    first = request.extension.first_token_ms if request.stream else None
    return stated if first is None else min(stated, first / 1000)


class _Timers(NamedTuple):
    """An attempt's timers in seconds, and what the operator gives the route."""

    total: float
    first_token: float
    gap: float
    full: Timeouts


def _specs(
    left: Sequence[Judged],
    request: ChatRequest,
    policy: AttemptPolicy,
    strategy: Strategy,
    rescued: bool,
) -> tuple[AttemptSpec, ...]:
    extension, stream, usual = request.extension, bool(request.stream), policy.timeouts
    deadline = _seconds(extension.deadline_ms)
    first = _seconds(extension.first_token_ms) if stream else None
    hedged, patience = strategy == "hedge", 0.0 if strategy == "race" else math.inf
    own, specs = left[0].model.timeouts, []
    total, wait, gap, full = _timers(own, usual, deadline, first, stream, rescued)
    for one in left:
        model, expected = one.model, one.expected
        if model.timeouts is not own:  # nearly all have none of their own
            own = model.timeouts
            total, wait, gap, full = _timers(own, usual, deadline, first, stream, rescued)
        if hedged:
            patience = _patience(one.live, request, policy)
        tokens = expected.output_tokens
        specs.append(AttemptSpec(model, expected.cost, total, wait, gap, full, patience, tokens))
    return tuple(specs)


@lru_cache(512)
def _timers(
    own: RouteTimeouts,
    usual: Timeouts,
    deadline: float | None,
    first: float | None,
    stream: bool,
    rescued: bool,
) -> _Timers:
    """A whole answer is silent until it is written: only the total deadline binds it. Where a
    stream may be rescued, a silence leaves time for who goes on.

    `deadline` and `first` are the caller's, in seconds. Nearly all requests wish nothing."""
    total = own.total or usual.total
    full = Timeouts(total, total, total)
    if stream:
        full = Timeouts(total, own.first_token or usual.first_token, own.gap or usual.gap)
    total = min(total, usual.total, deadline or math.inf)
    gap = min(full.gap, total / 4 if rescued else math.inf)
    return _Timers(total, min(first or full.first_token, total), gap, full)


def _patience(live: Live, request: ChatRequest, policy: AttemptPolicy) -> float:
    """Contract section 6: the tail of what the route has shown, or half of what the caller states,
    so that the second attempt still has as long as the first. Of a hedge."""
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
    asked, most = request.extension.max_cost_usd, key.max_cost
    if asked is None:
        return most
    return usd_cap(asked) if most is None else min(usd_cap(asked), most)
