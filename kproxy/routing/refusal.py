"""Candidates none of which is left go in; what the caller is told comes out.

What rests, when that is all; then the cost cap, when something passed all the rest; then what an
API has no words for, likewise; else the other constraints. Who came nearest is named first, and
models that the caller did not list are not named at all.
"""

import math
from collections.abc import Sequence

from kproxy.catalog.load import Model
from kproxy.errors import Rejected
from kproxy.routing.candidates import BREAKER, Judged
from kproxy.routing.constraints import COST_CAPS, LISTED, UNSUPPORTED, Violation
from kproxy.schema.chat import ChatRequest

__all__ = ["refusal"]

_REASONS_SHOWN = 5  # the whole decision is for `explain`


def refusal(request: ChatRequest, judged: Sequence[Judged]) -> Rejected:
    """Why nothing is left of these, at least one."""
    filters = [(one.model, one.against[0]) for one in _nearest(judged)]
    resting = [one for one in judged if one.against[0].constraint == BREAKER]
    if resting:
        return _unavailable(resting)
    capped = [(model, why) for model, why in filters if why.constraint in COST_CAPS]
    if capped:
        name = capped[0][1].constraint
        message = f"No candidate is known to stay within '{name}': {_listed(capped)}."
        return Rejected(402, "cost_guardrail_exceeded", message, param=name)
    wordless = [(model, why) for model, why in filters if why.constraint == UNSUPPORTED]
    if wordless:
        message = f"No candidate takes everything that is asked for: {_listed(wordless)}"
        return Rejected(400, UNSUPPORTED, message, param=wordless[0][1].param)
    shown = [(model, why) for model, why in filters if why.constraint != "enabled"] or filters
    names = tuple(dict.fromkeys(why.constraint for _, why in shown))
    return Rejected(
        400,
        "no_models_available",
        f"No model is left for '{request.model}' after {', '.join(names)}: {_listed(shown)}.",
        param=names[0] if len(names) == 1 else None,
    )


def _nearest(judged: Sequence[Judged]) -> list[Judged]:
    """Those that the caller means, by what is expected of them, the cheaper first of two alike."""
    meant = [one for one in judged if one.against[0].constraint != LISTED] or list(judged)
    return sorted(meant, key=_distance)


def _distance(one: Judged) -> tuple[bool, float, float]:
    cost = math.inf if one.est_cost is None else one.est_cost
    if one.against[0].constraint in COST_CAPS:
        return False, cost, 0.0
    return True, -(one.expected.quality or 0.0), cost


def _unavailable(resting: list[Judged]) -> Rejected:
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
