"""Who may go on with a stream that broke: the plan and the break in, a smaller plan or None out.

Contract section 6: the same model at another provider comes first, then any model that accepts an
assistant prefill. Between the two stands the same endpoint once more, where its connection was cut:
a cut is mostly one connection's, and nobody goes on in the same words as it would. Where it fell
silent it comes last. A model that is not known to go on from a prefill is never asked: it would
begin anew, and the caller would read the answer twice.

Some answers are nobody's to go on with, whoever could. Several choices break in several places. Of
JSON each model writes a whole document, and two joined are none. And where the caller has begun the
answer in a message of the assistant's, ours behind it would be a second one, which providers join,
refuse or take for a finished turn, each as it likes.
"""

from collections.abc import Collection

import msgspec

from kproxy.errors import Fault
from kproxy.routing.faults import POLICIES
from kproxy.routing.plan import AttemptSpec, Plan
from kproxy.schema.chat import ChatRequest

__all__ = ["is_rescuable", "rescue_plan"]


def is_rescuable(request: ChatRequest) -> bool:
    """Whether an answer to this could be continued by another attempt, should it break: one stream
    of free text, which the caller has not begun."""
    alone = bool(request.stream) and (request.n or 1) == 1 and not request.needs_json
    return alone and request.messages[-1].role != "assistant"


def rescue_plan(
    plan: Plan, broken: AttemptSpec, fault: Fault, tried: Collection[str], started: int
) -> Plan | None:
    """The attempts that may continue `broken`, within what the plan still allows; None: none.

    `tried` are the keys that have failed for this request; they come last. `started` counts the
    attempts so far.
    """
    silent = POLICIES[fault.kind].timer

    def rank(spec: AttemptSpec) -> tuple[bool, int]:
        same = spec.model.id == broken.model.id
        if spec.model.key == broken.model.key:
            return False, 3 if silent else 1
        return spec.model.key in tried, 0 if same else 2

    able = sorted((spec for spec in plan.attempts if spec.model.prefill), key=rank)
    left = plan.most - started
    if not plan.rescue or left < 1 or not able:
        return None
    return msgspec.structs.replace(
        plan, attempts=tuple(able), most=left, strategy="single", beside=1
    )
