"""Who is asked again after an answer that could not be used: a plan in, a smaller plan or None out.

Contract section 10: once, on the same or the next model. The next one of the plan comes first,
since who has written what nobody can read is likely to do it again; where there is none, the same
one is told what was wrong. Only one is asked, but who rests when its turn comes is passed over. The
attempts that the plan allows, and its cost cap for the sum of all, hold for this one, too.
"""

from collections.abc import Collection, Iterable

import msgspec

from kproxy.routing.budget import affordable
from kproxy.routing.plan import AttemptSpec, Plan

__all__ = ["again_plan"]


def again_plan(
    plan: Plan, answered: AttemptSpec, tried: Collection[str], spent: Iterable[int | None]
) -> Plan | None:
    """One attempt more; None: there may be none.

    `tried` are the keys of the models that were asked so far, one for each attempt; `spent`, in
    nano-dollars, is what those attempts cost.
    """
    if len(tried) >= plan.most:
        return None
    costs = tuple(spent)
    fresh = [spec for spec in plan.attempts if spec.model.key not in {*tried, answered.model.key}]
    able = tuple(
        spec for spec in (*fresh, answered) if affordable(costs, spec.est_cost, plan.cost_cap)
    )
    if not able:
        return None
    return msgspec.structs.replace(
        plan, attempts=able, most=1, strategy="single", beside=1, rescue=False
    )
