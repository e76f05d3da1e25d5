"""A streamed answer: attempts until the first token, then relays until the answer has ended.

A caller who waits longer than the heartbeat gets the head alone, then comments: other attempts stay
possible, but a failure is then an error event, since the status has left.

A broken stream is told by one error event and a connection that ends without the terminating chunk;
`[DONE]` and the terminator exist only behind a finish reason. Where the request asked for rescue,
another attempt first tries to go on from the text that was shown (contract section 6); who joins
is named in the last chunk, and where nobody can, in the error event.

Where plugins bring tools, an answer may take several rounds (`rounds.py`): the caller sees one
stream, whose chunks have one name, and whose end is the last round's.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import trio
from msgspec import Raw

from kproxy.api.commit import STREAM_HEADERS, Committed, Streaming
from kproxy.api.job import Job
from kproxy.api.rounds import Next, Rounds, rounds_of
from kproxy.dialect.calls import BETWEEN, LENGTH, Calls, chunk_of, usage_of
from kproxy.dialect.flow import DONE, FlowState, splice
from kproxy.dialect.rounds import usage_json
from kproxy.dialect.transcript import Transcript, continued
from kproxy.downstream.exchange import ExchangeState
from kproxy.downstream.respond import error_event
from kproxy.errors import BrokenStream, DeadlineExceeded, Exhausted, Fault, Rejected
from kproxy.routing.chain import Chain
from kproxy.routing.plan import Plan
from kproxy.routing.rescue import rescue_plan
from kproxy.schema.receipt import Join
from kproxy.transport.duplex import Broken, Expired
from kproxy.upstream.race import carry_out

__all__ = ["answer_stream"]


class _Asked(NamedTuple):
    """What is asked of providers now: the members of a request, what of its answer is remembered,
    and the tool loop that it is a round of."""

    fields: Mapping[str, Raw]
    transcript: Transcript | None
    rounds: Rounds | None


async def answer_stream(job: Job) -> None:
    """Carry out the plan and relay the answer. Raises what the caller is to be told."""
    rounds = rounds_of(job)
    asked = _Asked(job.call.fields, Transcript() if job.plan.rescue or rounds else None, rounds)
    won = await _begin(job, job.plan, asked)
    if asked.transcript is None:
        job.call.let_go()  # a long prompt for as long as a long answer
    while True:
        fault = await _relay(job, won)
        if fault is not None:
            rescued = await _rescue(job, won, fault, asked)
            if rescued is None:
                await _break(job, fault)
            else:
                won = rescued
            continue
        calls = won.flow.calls
        if rounds is None or calls is None or not calls.goes_on:
            break
        following = await _carry_on(job, rounds, calls, won.withheld())
        if following is None:
            break
        asked = _Asked(following.fields, Transcript.behind(calls.frame, job.tally.shown), rounds)
        won = await _begin(job, following.plan, asked)
    job.exchange.complete()


async def _begin(job: Job, plan: Plan, asked: _Asked, shown: str = "") -> Committed:
    """An attempt past its commit point, that goes on from `shown`. Raises what `carry_out` does."""
    chain = Chain(plan, job.exchange.chance)
    runner = Streaming(job, chain, asked.fields, asked.transcript, shown)
    runner.rounds = asked.rounds
    with _pulse(job):
        return await carry_out(chain, job.deadline, runner)


async def _carry_on(job: Job, rounds: Rounds, calls: Calls, due: str) -> Next | None:
    """Carry out what a round has called; the next round, or None where a limit ends the answer
    here. `due` is what the caller has not been shown of the round's words.

    Raises DeadlineExceeded, Rejected (by a rule), Broken, Expired.
    """
    said, begun = calls.said, bool(rounds.texts or calls.said.text)
    with _pulse(job):
        ran = await rounds.run(said, said.text)
    words = due + (BETWEEN + ran.shown if begun and ran.shown else ran.shown)
    events = b""
    if words or ran.images:
        events = _event(chunk_of(calls.frame, words, images=ran.images))
    following = rounds.next(said, ran.results)
    if following is not None:
        await _send(job, job.exchange.frame(events))
        return following
    last = chunk_of(calls.frame, finish=LENGTH)
    settlement = job.settle()
    if job.call.request.include_usage:
        events += _event(last)
        last = usage_of(calls.frame, usage_json(job.tally.shown))
    events += _event(splice(last, job.extension(settlement))) + DONE
    if job.service.journal.strict:
        await job.service.journal.durable()
    await _send(job, job.exchange.frame(events) + job.exchange.ending)
    return None


def _event(data: bytes) -> bytes:
    return b"data: %b\n\n" % data


async def _send(job: Job, data: bytes) -> None:
    """Bytes of ours between two rounds, behind those that are due. Raises Broken, Expired."""
    exchange = job.exchange
    exchange.link.deadline = job.deadline
    await exchange.link.send_all(exchange.due() + data)
    exchange.link.deadline = math.inf


@contextmanager
def _pulse(job: Job) -> Iterator[None]:
    """While attempts are made: a comment for a caller who has waited long, and again."""
    exchange, service = job.exchange, job.service

    def beat() -> None:
        if exchange.state is ExchangeState.WAITING or exchange.state is ExchangeState.STARTED:
            try:
                exchange.beat(STREAM_HEADERS)
            except Broken:
                return  # the hub tells the connection by itself
            pulse[0].move(trio.current_time() + service.heartbeat)

    pulse = [service.timers.call_at(trio.current_time() + service.heartbeat, beat)]
    try:
        yield
    finally:
        pulse.pop().cancel()  # it knows `beat`, which must not know it any more


async def _relay(job: Job, won: Committed) -> Fault | None:
    """Send what has gathered, then join the sockets until the answer has ended; or what broke it.

    Raises Broken and Expired of the caller's side. What preceded the fault has been sent.
    """
    won.adopt(job)
    exchange, link, journal = job.exchange, job.exchange.link, job.service.journal
    refusal: Rejected | None = None
    with won.record:
        try:
            rest = await _carry(job, won)
        except Fault as fault:
            won.record.fail(BrokenStream(fault))
            if won.flow.unsent:
                await link.send_all(exchange.frame(won.flow.unsent))
            return fault
        except Rejected as blocked:  # by a rule: Connection tells it by one error event
            rest, refusal = b"", blocked
        if refusal is not None:
            if won.flow.unsent:
                await link.send_all(exchange.frame(won.flow.unsent))
            raise refusal
        if won.flow.goes_on:
            won.record.complete(won.flow.usage, won.flow.text)
        if rest:
            if journal.strict:
                await journal.durable()
            await link.send_all(rest)
        if won.relay.clean:
            won.attempt.finish()
        else:
            won.attempt.close()
    return None


async def _carry(job: Job, won: Committed) -> bytes:
    """The head where it has not left, what has gathered, and then chunk by chunk; what is still due
    when the answer is whole. Raises Fault, Rejected (by a rule), Broken, Expired."""
    exchange = job.exchange
    first = exchange.due() + won.opening(job)
    broken: Fault | Rejected | None = None
    try:
        first += won.relay.adopt()
    except (Fault, Rejected) as error:
        broken = error
    exchange.link.deadline = job.deadline  # the total binds a caller who reads slowly, too
    await exchange.link.send_all(first)
    exchange.link.deadline = math.inf
    if broken is not None:
        raise broken
    return won.relay.rest if won.relay.finished else await _pump(job, won)


async def _pump(job: Job, won: Committed) -> bytes:
    """Until the answer is whole; what is still due then. Raises Fault, Broken, Expired."""
    source = won.attempt.link
    try:
        source.deadline = won.attempt.timing.total
        await source.pump(job.exchange.link, won.relay, won.attempt.timing.gap)
    except Broken as broken:
        if broken.link is not source:
            raise
        return won.relay.lost(None)
    except Expired as late:
        if late.link is not source:
            raise
        if won.flow.state is FlowState.OPEN:
            raise won.attempt.silence() from late
        return won.relay.lost(None)
    return won.relay.rest


async def _rescue(job: Job, broken: Committed, fault: Fault, asked: _Asked) -> Committed | None:
    """An attempt that goes on from what was shown, past its commit point; None: nobody can."""
    transcript = asked.transcript
    if transcript is None or not job.plan.rescue:
        return None
    spec, text, outcomes = broken.record.spec, transcript.text(), job.tally.outcomes[job.begun :]
    tried = {f"{one.provider}/{one.model}" for one in outcomes}
    plan = rescue_plan(job.plan, spec, fault, tried, len(outcomes))
    if text is None or plan is None or broken.flow.state is not FlowState.OPEN:
        return None
    fields = continued(asked.fields, text, transcript.tokens)
    if fields is None:
        return None
    transcript.join(text, job.tally.shown)
    job.is_decided = False  # a race for the part that broke: nobody has overtaken who goes on
    try:
        won = await _begin(job, plan, asked._replace(fields=fields), shown=text)
    except (Exhausted, DeadlineExceeded):
        return None
    model = won.record.spec.model
    job.joins = (*job.joins, Join(len(text), model.id, model.provider))
    return won


async def _break(job: Job, fault: Fault) -> None:
    """Tell the caller that this answer stays incomplete. Raises BrokenStream."""
    exchange = job.exchange
    exchange.abort()
    event = error_event(BrokenStream(fault))
    if job.joins:  # what stands above it is of several models
        event = splice(event, b'{"rescued":%b}' % msgspec.json.encode(job.joins))
    await exchange.link.send_all(exchange.due() + exchange.frame(event))
    raise BrokenStream(fault) from fault
