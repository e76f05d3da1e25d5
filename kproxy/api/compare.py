"""A comparison under way: every model is asked at once, and what they answer is one answer.

Problem: models that are asked together fail apart. One that is slow, down or not allowed must not
take the others' answers with it, and yet all are one request: one caller who may leave, one
deadline, one reservation, one receipt.

The obvious way sends a request of our own for each model through the front door and joins the
answers. Then there are as many receipts and reservations, a cap that none of them can see, and
nobody knows them to be one.

Our way: there is one job, as for any request, and in it a chain of attempts for each model, carried
out by the loop that carries out everything (`upstream/race.py`), each in a task of its own. What
ends a chain is a value here, never an exception, so that no model ends another; only a mistake of
ours, or the caller's leaving, ends all of them at once.

1. An answer is charged when it is whole, whatever becomes of the others: it was asked for. So is
   one that a rule of the operator's keeps back.
2. Each attempt has its route's own total, and all together have the request's. Where that runs out
   the reply leaves at that moment, with who is ready.
3. Where nobody has answered there is no reply: 503, or 504 where it was the deadline, and where all
   have refused the caller's content, or must not see it, that refusal.
"""

from collections.abc import Sequence

import msgspec
import trio
from msgspec import Raw

from kproxy.api.job import Job
from kproxy.api.whole import Replying, completed, deliver
from kproxy.dialect.flow import splice
from kproxy.downstream.respond import JSON_TYPE, Answer, to_answer
from kproxy.errors import DeadlineExceeded, Exhausted, Rejected
from kproxy.ledger.compare import Compared, Named, comparison_json, summed_up
from kproxy.ledger.settle import total_cost
from kproxy.routing.chain import Chain
from kproxy.routing.compare import Entry
from kproxy.schema.compare import first_choice
from kproxy.upstream.race import carry_out

__all__ = ["answer_compared"]

Failure = Exhausted | DeadlineExceeded | Rejected
"""The ends of a chain without an answer."""


class _Asking:
    """One model, until it has answered or failed."""

    __slots__ = ("_job", "_rules", "answer", "ended", "entry", "failure")

    def __init__(self, job: Job, entry: Entry, rules: trio.Lock) -> None:
        self._job = job
        self._rules = rules
        self.entry = entry
        self.answer: bytes | None = None
        self.failure: Failure | None = entry.refusal
        self.ended: float | None = None  # None: it was not asked

    def __repr__(self) -> str:
        state = "answered" if self.answer else "failed" if self.failure else "asked"
        return f"<Asking {self.entry.name} {state}>"

    async def run(self) -> None:
        """Carry out its plan. What it failed by is kept in `failure`."""
        if self.entry.plan is None:
            return
        job, chain = self._job, Chain(self.entry.plan, self._job.exchange.chance)
        try:
            won = await carry_out(chain, job.deadline, Replying(job, chain))
            self.ended = trio.current_time()
            with won.record:
                async with self._rules:
                    self.answer = await completed(job, won)
        except (Exhausted, DeadlineExceeded, Rejected) as failure:
            self.failure = failure
            self.ended = trio.current_time()

    def compared(self, started: float) -> Compared:
        """What the caller is told of it."""
        entry, catalog = self.entry, self._job.service.catalog
        keys = {one.model.key for one in entry.plan.attempts} if entry.plan else set()
        mine = [one for one in self._job.tally.outcomes if f"{one.provider}/{one.model}" in keys]
        last = mine[-1] if mine else None
        return Compared(
            name=entry.name,
            model=last.model if last else entry.name,
            provider=catalog.provider(last.provider).display if last else None,
            cost=total_cost(one.cost for one in mine),
            latency=None if self.ended is None else self.ended - started,
            choice=None if self.answer is None else first_choice(self.answer),
            error=None if self.failure is None else _error(self.failure),
        )


async def answer_compared(job: Job, entries: Sequence[Entry]) -> None:
    """Ask all, and send one JSON answer. Raises what the caller is to be told."""
    started = trio.current_time()
    rules = trio.Lock()  # they count what they find, in a thread where an answer is long
    asking = [_Asking(job, entry, rules) for entry in entries]
    async with trio.open_nursery() as nursery:
        for one in asking:
            nursery.start_soon(one.run)
    if not any(one.answer for one in asking):
        raise _nobody([one.failure for one in asking if one.failure is not None])
    compared = [one.compared(started) for one in asking]
    settlement = msgspec.structs.replace(
        job.settlement(), provider=None, model=None, summary=summed_up(compared)
    )
    named = Named("chatcmpl-" + job.exchange.id, int(job.service.unix_now()))
    body = splice(comparison_json(named, compared, job.tally.shown), job.extension(settlement))
    headers = [JSON_TYPE, *job.fields(None), *settlement.fields]
    await deliver(job, Answer(200, headers, body))


def _nobody(failures: Sequence[Failure]) -> Failure:
    """What a comparison without an answer is told by."""
    refusals = [one for one in failures if isinstance(one, Rejected)]
    if len(refusals) == len(failures):
        return max(refusals, key=lambda refusal: refusal.status)  # 503: it may go well later
    exhausted = [one for one in failures if isinstance(one, Exhausted)]
    if not exhausted:
        return next(one for one in failures if isinstance(one, DeadlineExceeded))
    return Exhausted(tuple(fault for one in exhausted for fault in one.faults))


class _Enveloped(msgspec.Struct):
    error: Raw


_decode_enveloped = msgspec.json.Decoder(_Enveloped).decode


def _error(failure: Failure) -> Raw:
    """The error object that a request for this model alone would have been told."""
    return _decode_enveloped(to_answer(failure).body).error
