"""An answer without a stream: nothing is committed until the provider's whole body is believed.

Where plugins bring tools, an answer that only calls these is a round, and the next one follows.
"""

from collections.abc import Mapping
from functools import partial

from msgspec import Raw

from kproxy.api.guardrails import guard_reply
from kproxy.api.healing import Replied, healed_answer
from kproxy.api.job import Job
from kproxy.api.rounds import Rounds, rounds_of
from kproxy.dialect.flow import splice, untag
from kproxy.dialect.rounds import Whole, read_round, whole_answer, with_usage
from kproxy.downstream.respond import JSON_TYPE, Answer
from kproxy.errors import Exhausted, Fault
from kproxy.outcome import Ending
from kproxy.routing.chain import Chain
from kproxy.routing.plan import AttemptSpec, Plan
from kproxy.upstream.race import carry_out

__all__ = ["Replied", "Replying", "answer_whole", "completed", "deliver"]


class Replying:
    """Makes the attempts of one chain, see `upstream.race.Runner`. `fields` are the members of the
    request, where they are not the job's."""

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
    job.asked, chain = fields, Chain(plan, job.exchange.chance)
    return await carry_out(chain, job.deadline, Replying(job, chain, fields))


async def answer_whole(job: Job) -> None:
    """Carry out the plan and send one JSON answer. Raises what the caller is to be told."""
    rounds, body = rounds_of(job), None
    won = await _ask(job, job.plan, job.call.fields)
    job.adopted = won.record
    if rounds is not None:
        won, body = await _rounds(job, rounds, won)
    stopped, forms = body is not None, job.passed.forms
    if body is None and forms is not None:
        won = await healed_answer(job, forms, won, partial(_ask, job))
        body = await _seen(job, won)
    elif body is None:
        body = await completed(job, won)
    if rounds is not None:
        body = _joined(job, rounds, body, stopped=stopped)
    elif job.tally.asked_more:  # another answer was asked for beside this one
        body = with_usage(body, job.tally.used)
    settlement = job.settlement()
    body = splice(body, job.extension(settlement))
    headers = [JSON_TYPE, *job.fields(won.record.attempt), *settlement.fields]
    await deliver(job, Answer(200, headers, body))


async def _rounds(job: Job, rounds: Rounds, won: Replied) -> tuple[Replied, bytes | None]:
    """Round after round until one may be the answer. Where a limit ends the loop behind a round,
    what the caller may see of that is there, too."""
    while True:
        # What goes back to the model is what it said; the caller may see less, or the originals.
        said = read_round(won.body, rounds.names)
        if not said.goes_on or rounds.is_last:
            return won, None
        body = await completed(job, won)
        ran = await rounds.run(said.said, read_round(body, rounds.names).said.text)
        following = rounds.next(said.said, ran.results)
        if following is None:
            return won, body
        won = await _ask(job, *following)
        job.adopted = won.record


def _joined(job: Job, rounds: Rounds, body: bytes, *, stopped: bool) -> bytes:
    """The last answer with what the rounds have said; `stopped`: it is one of these itself."""
    last = read_round(body, rounds.names)
    texts = rounds.texts if stopped else [*rounds.texts, last.said.text]
    usage = job.tally.used if rounds.made > 1 or job.tally.asked_more else None
    return whole_answer(body, last, Whole(texts, rounds.images, usage))


async def completed(job: Job, won: Replied) -> bytes:
    """The answer as the caller may see it; its attempt has ended well. Raises Withheld where a
    rule of the operator's blocks it, and Exhausted."""
    won.record.attempt.finish()
    body = await _seen(job, won)
    won.record.shown = True
    won.record.complete(won.facts.usage, won.facts.text)
    return body


async def _seen(job: Job, won: Replied) -> bytes:
    """What the operator's rules leave of the answer. Raises Withheld; Exhausted where they cannot
    read it."""
    body = untag(won.body) if won.facts.tagged else won.body
    if job.guarded is None or job.service.guardrails is None:
        return body
    try:
        with won.record:
            return await guard_reply(job.service.guardrails, job.guarded, body)
    except Fault as fault:
        raise Exhausted(((won.record.spec.model.key, fault),)) from fault


async def deliver(job: Job, answer: Answer) -> None:
    """Send a complete answer; its receipt is left before. Raises Broken, Expired, Rejected 503."""
    if job.is_kept:
        await job.keep(answer)
    job.conclude(Ending.COMPLETE)
    if job.service.journal.strict:
        await job.service.journal.durable()
    await job.exchange.respond(answer)
