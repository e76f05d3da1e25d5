"""Who is asked in the next round of a tool loop: the plan and the spending in, a plan or None out.

A round is a request of its own, so the plan's chain serves it as well; but whoever answered the
round before is asked first, since its words stand above. Nothing runs beside it: a race of models
in the middle of one answer buys little and is paid in full. The request's time and its cap on cost
are one for all rounds.
"""

import math
from collections.abc import Iterable

import msgspec

from kproxy.routing.budget import affordable
from kproxy.routing.estimate import estimate_cost
from kproxy.routing.plan import AttemptSpec, Plan

__all__ = ["round_plan"]


def round_plan(
    plan: Plan, answered: str, prompt_tokens: int, spent: Iterable[int | None]
) -> Plan | None:
    """The attempts of the next round; None where none is within the cap and its window.

    `answered` is the `provider/id` of the round before, `prompt_tokens` our estimate of the next
    prompt, `spent` what each attempt so far has cost, in nano-dollars.
    """
    spent = tuple(spent)

    def again(spec: AttemptSpec) -> AttemptSpec:
        cost = estimate_cost(spec.model.price, prompt_tokens, spec.output_tokens)
        return msgspec.structs.replace(spec, est_cost=cost, patience=math.inf)

    specs = sorted(map(again, plan.attempts), key=lambda one: one.model.key != answered)
    able = tuple(
        spec
        for spec in specs
        if prompt_tokens < (spec.model.context_tokens or math.inf)
        and affordable(spent, spec.est_cost, plan.cost_cap)
    )
    if not able:
        return None
    return msgspec.structs.replace(plan, attempts=able, strategy="single", beside=1)
