"""What may be attempted next: a plan and the faults so far in, one step or nothing out.

The chain is the decision part of the loop over attempts; `upstream/race.py` is the part that acts.

1. The plan's attempts come first, each once, in order, but behind a failure those at other
   providers come before those at the same one, which is likely to be down as a whole. When they are
   used up and the plan allows more, an endpoint that failed in a way that may pass is asked again,
   the one whose time comes first. So a lone provider that answered 500 once costs the caller a
   moment and not the answer.
2. Asking again waits: longer with each failure of that endpoint, spread by `chance` so that many
   callers do not come back as one, and never before the provider's `Retry-After`. A wait of more
   than `MOST_WAIT` is the caller's to make, who is told when to come back.
3. At most `plan.most` attempts are started in all; one that was not admitted does not count.
4. After a prompt was too long for one window, only longer windows are left.
5. A request that an endpoint's API has no words for was not sent there, and does not count.
"""

from collections.abc import Iterable

import msgspec

from kproxy.errors import Fault, NotCarried, Rejected
from kproxy.routing.faults import may_repeat
from kproxy.routing.plan import AttemptSpec, Plan

__all__ = ["BACKOFF", "CONTEXT_LENGTH", "MOST_WAIT", "Chain", "Step"]

BACKOFF = 0.1
"""Seconds before an endpoint is asked again; doubled with each failure (gRPC starts at 1 s, but its
callers do not watch a cursor)."""

MOST_WAIT = 2.0
"""Seconds that a caller is kept waiting for one endpoint's `Retry-After`."""

CONTEXT_LENGTH = "context_length_exceeded"
"""The code of OpenAI's refusal of a prompt that is too long."""


class Step(msgspec.Struct, frozen=True):
    """An attempt, and the absolute time before which it may not start. `again`: asked before."""

    spec: AttemptSpec
    when: float
    again: bool


class Chain:
    """The attempts that are still to come, for one request. `chance` is a number from 0 to 1."""

    def __init__(self, plan: Plan, chance: float) -> None:
        self.plan = plan
        self._chance = chance
        self._fresh = list(plan.attempts)
        self._again: list[Step] = []
        self._failures: dict[str, int] = {}  # by model key
        self._down: set[str] = set()  # providers that have failed
        self.started = 0

    def __repr__(self) -> str:
        return f"<Chain {self.started} started, {len(self._fresh)} fresh, {len(self._again)} again>"

    @property
    def alternatives(self) -> bool:
        """Whether another endpoint may still be asked for the first time."""
        return bool(self._fresh) and self.started < self.plan.most

    def take(self, now: float) -> Step | None:
        """The next step, now a started attempt; None where there is none."""
        if self.started >= self.plan.most:
            return None
        if self._fresh:
            step = Step(self._next_fresh(), now, again=False)
        elif self._again:
            step = min(self._again, key=lambda one: one.when)
            self._again.remove(step)
        else:
            return None
        self.started += 1
        return step

    def _next_fresh(self) -> AttemptSpec:
        if not self._down:
            return self._fresh.pop(0)
        elsewhere = (spec for spec in self._fresh if spec.model.provider not in self._down)
        spec = next(elsewhere, self._fresh[0])
        self._fresh.remove(spec)
        return spec

    def put_back(self, step: Step) -> None:
        """The step that was taken last will not be started after all."""
        self.started -= 1
        if step.again:
            self._again.append(step)
        else:
            self._fresh.insert(0, step.spec)

    def not_admitted(self) -> None:
        """What was taken last was not asked: it is over, and does not count as an attempt."""
        self.started -= 1

    def failed(self, spec: AttemptSpec, fault: Fault, now: float) -> None:
        """An attempt has failed: it may be worth asking that endpoint again, later."""
        failures = self._failures[spec.model.key] = self._failures.get(spec.model.key, 0) + 1
        self._down.add(spec.model.provider)
        asked_for = fault.retry_after or 0.0
        if may_repeat(fault) and asked_for <= MOST_WAIT:
            doubled = BACKOFF * 2 ** (failures - 1)
            wait = max(doubled * (0.5 + self._chance), asked_for)
            self._again.append(Step(spec, now + wait, again=True))

    def rejected(
        self, spec: AttemptSpec, rejection: Rejected, running: Iterable[AttemptSpec] = ()
    ) -> bool:
        """The provider has refused the caller's content: may somebody still answer?

        Only a prompt that was too long for this window, and only who has a longer one (contract
        section 4), `running` ones included; the others are not asked any more. And whoever is left,
        where it was not the provider that refused, but its API that has no words for the request.
        """
        if isinstance(rejection, NotCarried):
            self.started -= 1
            return bool(self._fresh or self._again or list(running))
        window = spec.model.context_tokens
        if rejection.code != CONTEXT_LENGTH or window is None:
            return False

        def longer(one: AttemptSpec) -> bool:
            return (one.model.context_tokens or 0) > window

        self._again = [step for step in self._again if longer(step.spec)]
        self._fresh = [one for one in self._fresh if longer(one)]
        left = bool(self._fresh or self._again) and self.started < self.plan.most
        return left or any(map(longer, running))

    def allowance(self, spec: AttemptSpec, now: float, deadline: float) -> float:
        """Until when this attempt may go without a token, absolute.

        An attempt that others could follow may use half of what is left of the request's time, so
        that a silent provider does not eat the time of those who would have answered.
        """
        left = deadline - now
        return now + min(spec.first_token, left / 2 if self.alternatives else left)
