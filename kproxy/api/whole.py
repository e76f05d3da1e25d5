"""An answer without a stream: nothing is committed until the provider's whole body is believed."""

from collections.abc import Mapping
from functools import partial

from msgspec import Raw

from kproxy.api.guardrails import guard_reply
from kproxy.api.healing import Replied, healed_answer
from kproxy.api.job import Job
from kproxy.dialect.flow import splice, untag
from kproxy.downstream.respond import JSON_TYPE, Answer
from kproxy.outcome import Ending
from kproxy.routing.chain import Chain
from kproxy.routing.plan import AttemptSpec, Plan
from kproxy.upstream.race import carry_out

__all__ = ["Replied", "Replying", "answer_whole", "completed", "deliver"]


class Replying:
    """Makes the attempts of one chain, see `upstream.race.Runner`."""

    def __init__(self, job: Job, chain: Chain, fields: Mapping[str, Raw] | None = None) -> None:
        self._job = job
        self._fields = job.call.fields if fields is None else fields
        self._chain = chain
        self.may_hedge = job.may_hedge
        self.may_repeat = job.may_repeat
        self.hedge_unused = job.hedge_unused

    async def begin(self, spec: AttemptSpec) -> Replied:
        """One attempt up to its whole answer. Raises Fault and Rejected, the attempt closed."""
        record = self._job.admit(spec, self._chain)
        with record:
            await self._job.open(record, self._fields)
            dialect = record.attempt.endpoint.dialect
            body = dialect.completion(await record.attempt.read_whole(), self._job.created)
            facts = record.told = dialect.read_reply(body)
        return Replied(record, body, facts)

    def decided(self, won: Replied | None) -> None:
        """See `Runner`."""
        self._job.decide(None if won is None else won.record)

    def discard(self, won: Replied) -> None:
        """Another answer was whole first, or the caller has left."""
        won.record.give_up()


async def _ask(job: Job, plan: Plan, fields: Mapping[str, Raw]) -> Replied:
    """One more answer, by a plan of its own. Raises as `carry_out`."""
    chain = Chain(plan, job.chance)
    return await carry_out(chain, job.deadline, Replying(job, chain, fields))


async def answer_whole(job: Job) -> None:
    """Carry out the plan and send one JSON answer. Raises what the caller is to be told."""
    chain = Chain(job.plan, job.chance)
    won = await carry_out(chain, job.deadline, Replying(job, chain))
    job.adopted = won.record
    forms = job.passed.forms
    if forms is None:
        body = await completed(job, won)
    else:
        won = await healed_answer(job, forms, won, partial(_ask, job))
        body = await _seen(job, won)
    record = won.record
    settlement = job.settlement()
    body = splice(body, job.extension(settlement))
    headers = [JSON_TYPE, *job.fields(record.attempt), *job.money_fields(settlement)]
    await deliver(job, Answer(200, headers, body))


async def completed(job: Job, won: Replied) -> bytes:
    """The answer as the caller may see it; its attempt has ended well. Raises Rejected 400 where a
    rule of the operator's blocks it."""
    won.record.attempt.finish()
    body = await _seen(job, won)
    won.record.shown = True
    won.record.complete(won.facts.usage, won.facts.text)
    return body


async def _seen(job: Job, won: Replied) -> bytes:
    """What the operator's rules leave of the answer. Raises Rejected 400."""
    body = untag(won.body) if won.facts.tagged else won.body
    if job.guarded is not None and job.service.guardrails is not None:
        with won.record:
            body = await guard_reply(job.service.guardrails, job.guarded, body)
    return body


async def deliver(job: Job, answer: Answer) -> None:
    """Send a complete answer; its receipt is left before. Raises Broken, Expired, Rejected 503."""
    await job.keep(answer)
    job.conclude(Ending.COMPLETE)
    if job.service.journal.strict:
        await job.service.journal.durable()
    await job.exchange.respond(answer)
