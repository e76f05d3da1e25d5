"""One loop for fallback, hedge and race: a chain of attempts in, the one that was first out.

Problem: attempts may follow each other, or run beside each other, or one may fail while another is
waited for; one of them must win, once, and everything else must be gone at that instant. And the
common case, one attempt that succeeds, must not pay for any of it.

The obvious way is a loop for fallbacks, a timer task for hedges and a gather for races. Then every
question (who counts, who may start, what a refusal means, who closes what) has three answers, and a
nursery (56 us) stands around every request.

Our way: there is one number, the patience of an attempt (contract section 6), and one loop:

    take the next step of the chain; start it; wait until it fails, or its patience is over

1. While patience is infinite nothing can run beside an attempt, so it runs in this very task, and
   no nursery is opened. The first step with a patience opens one, and from there on every attempt
   is a child of it.
2. The first attempt that reaches its commit point sets the winner and cancels the nursery in the
   same instant; each loser closes its own connection on the way out. The winner's connection
   outlives the nursery: whoever called us adopts it (as trio's `open_tcp_stream` does).
3. A winner that nobody can take any more, because two won in one tick or the caller left just then,
   is handed to `discard`.
4. What may start next, and when, is the chain's decision (`routing/chain.py`); whether a hedge is
   worth its price is the runner's (`may_hedge`). A hedge that is not granted is not skipped: the
   same step starts when the running attempt fails. Beside a running attempt only an endpoint that
   was not asked before is asked.
5. A provider's refusal of the caller's content ends everything, unless the chain knows better.

Every attempt ends by its own deadlines, so nothing here needs one of its own. We do not retry after
the commit point: that is `api/stream.py`, and only where it was asked for.
"""

import math
from typing import Generic, Protocol, TypeVar

import trio

from kproxy.errors import (
    DeadlineExceeded,
    Exhausted,
    Fault,
    FaultKind,
    NotCarried,
    Rejected,
)
from kproxy.routing.chain import Chain, Step
from kproxy.routing.plan import AttemptSpec

__all__ = ["Runner", "carry_out"]

Won = TypeVar("Won")


class Runner(Protocol[Won]):
    """What the loop needs of whoever makes the attempts; everything but `begin` is synchronous."""

    async def begin(self, spec: AttemptSpec) -> Won:
        """One attempt up to its commit point. Raises Fault (RESTING: not admitted) and Rejected,
        with everything of the attempt closed."""
        ...

    def discard(self, won: Won) -> None:
        """Close an attempt that reached its commit point and is not wanted."""
        ...

    def decided(self, won: Won | None) -> None:
        """A race has its winner, or a refusal (None): what is cancelled now was superseded."""
        ...

    def may_hedge(self, spec: AttemptSpec) -> bool:
        """Whether this attempt may start beside those that run; True spends what it costs."""
        ...

    def hedge_unused(self) -> None:
        """What was spent by `may_hedge` was for an endpoint that rests: give it back."""
        ...

    def may_repeat(self) -> bool:
        """Whether an endpoint that failed may be asked again; True spends what it costs."""
        ...


async def carry_out(chain: Chain, deadline: float, runner: Runner[Won]) -> Won:
    """The first attempt at its commit point; its caller owns it.

    Raises Rejected (the provider refuses the caller's content), Exhausted (from a group of all
    faults) and DeadlineExceeded at `deadline`, absolute.
    """
    loop = _Loop(chain, deadline, runner)
    try:
        return await loop.run()
    finally:
        loop.forget()


class _Loop(Generic[Won]):
    """One request's loop."""

    _failed: trio.Event  # since it was last looked at; where attempts run beside each other

    def __init__(self, chain: Chain, deadline: float, runner: Runner[Won]) -> None:
        self._chain = chain
        self._deadline = deadline
        self._runner = runner
        self._faults: list[tuple[str, Fault]] = []
        self._running: list[AttemptSpec] = []
        self._hedged: set[str] = set()  # model keys whose hedge was paid for
        self._won: list[Won] = []  # one at most
        self._refusal: Rejected | None = None  # that ended the race
        self._put_off: Rejected | None = None  # where somebody else was hoped for

    async def run(self) -> Won:
        while (step := self._next(alone=True)) is not None:
            if step.again:
                await trio.sleep_until(step.when)
            if step.spec.patience < math.inf and self._chain.alternatives:
                return await self._side_by_side(step.spec)
            try:
                return await self._runner.begin(step.spec)
            except Fault as fault:
                self._note(step.spec, fault)
            except Rejected as refusal:
                if not self._chain.rejected(step.spec, refusal):
                    raise
                self._put_off = refusal
        raise self._over()

    def forget(self) -> None:
        """Each fault's traceback holds this loop, and so the request: not for longer than that."""
        self._faults = []

    async def _side_by_side(self, first: AttemptSpec) -> Won:
        try:
            async with trio.open_nursery() as nursery:
                await self._drive(nursery, first)
        except BaseException:
            for won in self._won:
                self._runner.discard(won)
            raise
        if self._won:
            return self._won[0]
        raise self._refusal or self._over()

    async def _drive(self, nursery: trio.Nursery, first: AttemptSpec) -> None:
        """Start attempts as they are due; the nursery ends when the last of them has."""
        spec: AttemptSpec | None = first
        while spec is not None:
            self._running.append(spec)
            nursery.start_soon(self._run, spec, nursery.cancel_scope)
            spec = await self._due(spec.patience)

    async def _due(self, patience: float) -> AttemptSpec | None:
        """The attempt to start now; None when there is none left."""
        self._failed = trio.Event()
        if patience > 0:  # in a race the next one need not see how this one begins
            with trio.move_on_after(patience):
                await self._failed.wait()
        while True:
            alone = not self._running
            step = self._next(alone) if len(self._running) < self._chain.plan.beside else None
            if step is not None:
                if alone:
                    await trio.sleep_until(step.when)
                    return step.spec
                if self._runner.may_hedge(step.spec):
                    self._hedged.add(step.spec.model.key)
                    return step.spec
                self._chain.put_back(step)
            elif alone:
                return None
            self._failed = trio.Event()
            await self._failed.wait()

    async def _run(self, spec: AttemptSpec, race: trio.CancelScope) -> None:
        try:
            won = await self._runner.begin(spec)
        except Fault as fault:
            self._note(spec, fault)
        except Rejected as refusal:
            others = [one for one in self._running if one is not spec]
            if self._chain.rejected(spec, refusal, others):
                self._put_off = refusal
                if isinstance(refusal, NotCarried) and spec.model.key in self._hedged:
                    self._runner.hedge_unused()
            else:
                self._refusal = refusal
                self._runner.decided(None)
                race.cancel()
        else:
            if self._won or self._refusal is not None:
                self._runner.discard(won)
            else:
                self._won.append(won)
                self._runner.decided(won)
                race.cancel()
        finally:
            self._running.remove(spec)
            self._failed.set()

    def _next(self, alone: bool) -> Step | None:
        """The next step that may start now, beside others only one that was never asked."""
        now = trio.current_time()
        if now >= self._deadline or not (alone or self._chain.alternatives):
            return None
        step = self._chain.take(now)
        if step is None or not step.again:
            return step
        in_time = step.when < self._deadline
        return step if in_time and self._runner.may_repeat() else None

    def _note(self, spec: AttemptSpec, fault: Fault) -> None:
        self._faults.append((spec.model.key, fault))
        if fault.kind is FaultKind.RESTING:
            self._chain.not_admitted()
            if spec.model.key in self._hedged:
                self._runner.hedge_unused()
        else:
            self._chain.failed(spec, fault, trio.current_time())

    def _over(self) -> Exception:
        put_off = self._put_off
        if put_off is not None and not (self._faults and isinstance(put_off, NotCarried)):
            return put_off
        if not self._faults:
            return DeadlineExceeded("no time was left for an attempt")
        group = ExceptionGroup("every attempt failed", [fault for _, fault in self._faults])
        if trio.current_time() >= self._deadline:
            said = "; ".join(f"{where}: {fault}" for where, fault in self._faults)
            error: Exception = DeadlineExceeded(said)
        else:
            error = Exhausted(tuple(self._faults))
        error.__cause__ = group
        return error
