"""A streamed answer: attempts until the first token, then relays until the answer has ended.

A caller who waits longer than the heartbeat gets the head alone, then comments: other attempts stay
possible, but a failure is then an error event, since the status has left.

A broken stream is told by one error event and a connection that ends without the terminating chunk;
`[DONE]` and the terminator exist only behind a finish reason. Where the request asked for rescue,
another attempt first tries to go on from the text that was shown (contract section 6); who joins
is named in the last chunk, and where nobody can, in the error event.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import trio

from kproxy.api.commit import STREAM_HEADERS, Committed, Streaming
from kproxy.api.job import Job
from kproxy.dialect.flow import FlowState, splice
from kproxy.dialect.transcript import Transcript, continued
from kproxy.downstream.exchange import ExchangeState
from kproxy.downstream.respond import error_event
from kproxy.errors import BrokenStream, DeadlineExceeded, Exhausted, Fault, Rejected
from kproxy.routing.chain import Chain
from kproxy.routing.rescue import rescue_plan
from kproxy.schema.receipt import Join
from kproxy.transport.duplex import Broken, Expired
from kproxy.upstream.race import carry_out

__all__ = ["answer_stream"]


async def answer_stream(job: Job) -> None:
    """Carry out the plan and relay the answer. Raises what the caller is to be told."""
    chain = Chain(job.plan, job.chance)
    transcript = Transcript() if job.plan.rescue else None
    with _pulse(job):
        won = await carry_out(
            chain, job.deadline, Streaming(job, chain, job.call.fields, transcript)
        )
    while (fault := await _relay(job, won)) is not None:
        rescued = None if transcript is None else await _rescue(job, won, fault, transcript)
        if rescued is None:
            await _break(job, fault)
        else:
            won = rescued
    job.exchange.complete()


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
            pulse.move(trio.current_time() + service.heartbeat)

    pulse = service.timers.call_at(trio.current_time() + service.heartbeat, beat)
    try:
        yield
    finally:
        pulse.cancel()


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


async def _rescue(
    job: Job, broken: Committed, fault: Fault, transcript: Transcript
) -> Committed | None:
    """An attempt that goes on from what was shown, past its commit point; None: nobody can."""
    spec, text = broken.record.spec, transcript.text()
    tried = {f"{one.provider}/{one.model}" for one in job.outcomes}
    plan = rescue_plan(job.plan, spec, fault, tried, len(job.outcomes))
    if text is None or plan is None or broken.flow.state is not FlowState.OPEN:
        return None
    fields = continued(job.call.fields, text, transcript.tokens)
    if fields is None:
        return None
    transcript.join(text, job.shown)
    job.is_decided = False  # a race for the part that broke: nobody has overtaken who goes on
    chain = Chain(plan, job.chance)
    runner = Streaming(job, chain, fields, transcript, shown=len(text))
    try:
        with _pulse(job):
            won = await carry_out(chain, job.deadline, runner)
    except (Exhausted, DeadlineExceeded):
        return None
    model = won.record.spec.model
    job.joins = (*job.joins, Join(len(text), model.id, model.provider))
    return won


async def _break(job: Job, fault: Fault) -> None:
    """Tell the caller that this answer stays incomplete. Raises BrokenStream."""
    exchange = job.exchange
    exchange.abort()
    broken = BrokenStream(fault)
    event = error_event(broken)
    if job.joins:  # what stands above it is of several models
        event = splice(event, b'{"rescued":%b}' % msgspec.json.encode(job.joins))
    await exchange.link.send_all(exchange.due() + exchange.frame(event))
    raise broken from fault
