"""Carry out a plan: attempts in order, the next one when one has failed.

`begin` makes one attempt up to its commit point (a first token, or a whole answer) and returns it
open; what it raises as Fault is noted, and the next attempt starts. Anything else, a rejection by
the provider above all, ends the plan at once.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from kproxy.errors import DeadlineExceeded, Exhausted, Fault
from kproxy.routing.plan import AttemptSpec, Plan

__all__ = ["execute"]

Won = TypeVar("Won")


async def execute(
    plan: Plan, deadline: float, begin: Callable[[AttemptSpec], Awaitable[Won]]
) -> Won:
    """What `begin` returned for the first attempt that reached its commit point.

    Raises Exhausted (from a group of all faults) and DeadlineExceeded at `deadline`, absolute.
    """
    faults: list[tuple[str, Fault]] = []
    for spec in plan.attempts:
        try:
            return await begin(spec)
        except Fault as fault:
            faults.append((f"{spec.model.provider}/{spec.model.id}", fault))
            if trio.current_time() >= deadline:
                break
    group = ExceptionGroup("every attempt failed", [fault for _, fault in faults])
    if trio.current_time() >= deadline:
        raise DeadlineExceeded("; ".join(f"{where}: {fault}" for where, fault in faults)) from group
    raise Exhausted(tuple(faults)) from group
