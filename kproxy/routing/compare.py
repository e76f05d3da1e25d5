"""A comparison's request and a way to plan go in; one plan for each model, and one for all, out.

The obvious way takes the first attempts of one plan and asks them all. But each model may have
several providers, of which the next may still answer where the first has failed; a constraint may
stand against one model and not against another; and what all may cost is what the cap is about.

1. Each name is planned as if it were pinned, so its plan is a chain over its own providers, and a
   model is never replaced by another. What keeps one out, a constraint or its rest, is its entry's;
   only where nothing is left is it the request's. A name that does not exist is the request's.
2. Without names, the models are the first distinct ones of `auto`'s order, `TOP` of them.
3. No endpoint is asked for two entries. Who has the fewest providers chooses first, so that
   `acme/m` beside `m` keeps its only one.
4. The cost cap applies to the sum: of the first attempts, or the request is refused with 402; and
   of the dearest of each, so that a fallback which could break it is left out. Where the router
   chooses, it takes who still fits.
"""

from collections.abc import Callable, Sequence

import msgspec

from kproxy.errors import Rejected
from kproxy.money import format_usd
from kproxy.routing.budget import affordable
from kproxy.routing.candidates import AUTO
from kproxy.routing.constraints import COST_CAP, KEY_COST_CAP, usd_cap
from kproxy.routing.plan import AttemptSpec, Plan
from kproxy.schema.chat import ChatRequest
from kproxy.schema.compare import LEAST, CompareRequest
from kproxy.schema.receipt import Candidate

__all__ = ["TOP", "Comparison", "Entry", "compare"]

TOP = 3
"""Models where the caller names none: two show a difference, a third who is alone with it."""

OF_THE_REQUEST = frozenset({402, 404})
"""Refusals of one model that are the whole request's."""

Decide = Callable[[ChatRequest], Plan]
"""The planner, with everything but the request given. Raises Rejected."""


class Entry(msgspec.Struct, frozen=True):
    """One model, by the name that it was asked by: what to do, or why it is not asked."""

    name: str
    plan: Plan | None
    refusal: Rejected | None = None


class Comparison(msgspec.Struct, frozen=True):
    """`plan` holds the attempts of all entries, in their order: a plan whose winner rule is all."""

    plan: Plan
    entries: tuple[Entry, ...]


def compare(request: CompareRequest, decide: Decide) -> Comparison:
    """Decide. Raises `Rejected`: 404 unknown model, 402 above the cap together, and where no model
    is left 400 or 503."""
    names = request.names
    entries = _chosen(request, decide) if names is None else _named(request, names, decide)
    entries = _apart(entries)
    plans = [one.plan for one in entries if one.plan is not None]
    if not plans:
        refusals = [one.refusal for one in entries if one.refusal is not None]
        raise max(refusals, key=lambda refusal: refusal.status)  # 503: it may go well later
    fitting = iter(_within_cap(request, plans))
    entries = [one if one.plan is None else Entry(one.name, next(fitting)) for one in entries]
    plans = [one.plan for one in entries if one.plan is not None]
    return Comparison(_together(plans), tuple(entries))


def _planned(request: CompareRequest, name: str, decide: Decide) -> Plan:
    """The plan of a request for `name` alone, whose attempts follow each other."""
    extension = msgspec.structs.replace(request.extension, models=None, strategy="single")
    return decide(msgspec.structs.replace(request, model=name, x_kairosroute=extension))


def _named(request: CompareRequest, names: Sequence[str], decide: Decide) -> list[Entry]:
    entries = []
    for name in names:
        try:
            if name in AUTO:
                message = f"Invalid '{request.named_in}': '{name}' is no model, it chooses one."
                raise Rejected(404, "model_not_found", message)
            entries.append(Entry(name, _planned(request, name, decide)))
        except Rejected as refusal:
            if refusal.status in OF_THE_REQUEST:
                if refusal.status != 402:
                    refusal.param = request.named_in
                raise
            entries.append(Entry(name, None, refusal))
    return entries


def _chosen(request: CompareRequest, decide: Decide) -> list[Entry]:
    """The router's top candidates, each with the attempts of its model."""
    plan = _planned(request, "auto", decide)
    models = {spec.model.id for spec in plan.attempts}
    if len(models) < LEAST:
        message = f"A comparison needs {LEAST} models, and the constraints leave {len(models)}."
        raise Rejected(400, "no_models_available", message)
    first: dict[str, AttemptSpec] = {}
    for spec in plan.attempts:
        costs = [one.est_cost for one in first.values()]
        if spec.model.id not in first and affordable(costs, spec.est_cost, plan.cost_cap):
            first[spec.model.id] = spec
        if len(first) == TOP:
            break
    if len(first) < LEAST:
        raise _too_dear(request, plan.cost_cap, "no two models' estimates stay within it together")
    return [Entry(name, _only(plan, spec)) for name, spec in first.items()]


def _only(plan: Plan, first: AttemptSpec) -> Plan:
    """`first`, and behind it the other attempts of its model."""
    others = (one for one in plan.attempts if one.model.id == first.model.id and one is not first)
    return msgspec.structs.replace(plan, attempts=(first, *others))


def _apart(entries: Sequence[Entry]) -> list[Entry]:
    """The same with no endpoint in two entries."""
    made: dict[str, Entry] = {}
    taken: set[str] = set()
    for entry in sorted(entries, key=lambda one: len(one.plan.attempts) if one.plan else 0):
        if entry.plan is not None:
            own = tuple(one for one in entry.plan.attempts if one.model.key not in taken)
            taken.update(one.model.key for one in own)
            entry = _with(entry, own)
        made[entry.name] = entry
    return [made[entry.name] for entry in entries]


def _with(entry: Entry, attempts: tuple[AttemptSpec, ...]) -> Entry:
    assert entry.plan is not None
    if attempts:
        return Entry(entry.name, msgspec.structs.replace(entry.plan, attempts=attempts))
    message = f"Every provider that '{entry.name}' could be asked at is compared by another name."
    return Entry(entry.name, None, Rejected(400, "no_models_available", message))


def _within_cap(request: CompareRequest, plans: Sequence[Plan]) -> list[Plan]:
    """The plans without the fallbacks that may cost too much. Raises Rejected 402."""
    cap = plans[0].cost_cap
    if cap is None:
        return list(plans)
    most = [plan.attempts[0].est_cost or 0 for plan in plans]  # under a cap each has a price
    if sum(most) > cap:
        raise _too_dear(request, cap, f"estimated at {format_usd(sum(most))} USD together")
    fitting = []
    for place, plan in enumerate(plans):
        kept = [plan.attempts[0]]
        for spec in plan.attempts[1:]:
            dearer = max(most[place], spec.est_cost or 0)
            if sum(most) - most[place] + dearer <= cap:
                most[place] = dearer
                kept.append(spec)
        fitting.append(msgspec.structs.replace(plan, attempts=tuple(kept)))
    return fitting


def _too_dear(request: CompareRequest, cap: int | None, why: str) -> Rejected:
    asked = request.extension.max_cost_usd
    param = COST_CAP if asked is not None and usd_cap(asked) == cap else KEY_COST_CAP
    return Rejected(
        402,
        "cost_guardrail_exceeded",
        f"This comparison is not known to stay within '{param}': {why}.",
        param=param,
    )


def _together(plans: Sequence[Plan]) -> Plan:
    candidates: dict[tuple[str, str], Candidate] = {}
    for plan in plans:
        for one in plan.candidates:
            candidates.setdefault((one.model_id, one.provider), one)
    return msgspec.structs.replace(
        plans[0],
        attempts=tuple(spec for plan in plans for spec in plan.attempts),
        strategy="compare",
        most=sum(plan.most for plan in plans),
        beside=len(plans),
        candidates=tuple(candidates.values()),
    )
