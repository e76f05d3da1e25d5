"""A streamed answer: attempts until the first token, then one relay to the end.

Problem: until the first token any attempt may be replaced, so nothing may be sent; from then on
every chunk should cost one receive, one look and one send. And whatever happens, the caller must be
able to tell a whole answer from a broken one.

Our way: `Relay` is the provider's framing, the flow of events and the caller's framing in one
synchronous step. Before the commit point it is fed by the attempt's own reads; at it the head and
the gathered events leave in one write; after it the two sockets are joined by `pump`, and the step
runs in the hub without a task switch. Bytes that need no change are forwarded as the very object
that the socket gave us, chunk framing included.

A caller who waits longer than the heartbeat gets the head alone, then comments: other attempts stay
possible, but a failure is then an error event, since the status has left.

A broken stream is told by one error event and a connection that ends without the terminating chunk;
`[DONE]` and the terminator exist only behind a finish reason.
"""

import trio

from kproxy.api.job import Job
from kproxy.dialect.flow import Flow, FlowState
from kproxy.downstream.exchange import Exchange, ExchangeState
from kproxy.downstream.respond import error_event
from kproxy.errors import BrokenStream, Fault, FaultKind
from kproxy.outcome import Ending
from kproxy.routing.plan import AttemptSpec
from kproxy.transport.duplex import Broken, Expired
from kproxy.upstream.attempt import Attempt
from kproxy.upstream.execute import execute
from kproxy.wire.events import Headers, ProtocolError
from kproxy.wire.sse import EventReader

__all__ = ["Relay", "answer_stream"]

STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # a reverse proxy in front must not gather our events
]

NO_STREAMS = frozenset({b"text/html", b"application/json"})
"""Media types that are surely no event stream. Providers are not strict about the right one."""


class Relay:
    """Provider bytes to caller bytes, see `transport.duplex.Stage`."""

    __slots__ = ("_body", "_exchange", "_flow", "clean", "finished")

    def __init__(self, attempt: Attempt, flow: Flow, exchange: Exchange) -> None:
        self._body = attempt.body
        self._flow = flow
        self._exchange = exchange
        self.finished = False
        self.clean = True  # the provider's framing held: its connection may be used again

    def take(self, data: bytes) -> bytes:
        """Raises Fault where the provider's bytes cannot go on as an answer."""
        flow, body, exchange = self._flow, self._body, self._exchange
        if not data:
            return self.lost(None)
        try:
            payload = body.feed(data)
        except ProtocolError as error:
            return self.lost(error)
        out = flow.take(payload)
        if flow.state is FlowState.DONE or body.complete:
            try:
                out += flow.end()
            except Fault:
                flow.unsent = out
                raise
            self.finished = True
            return exchange.frame(out) + exchange.ending
        if out is payload and body.verbatim and not exchange.head.http_10:
            return data
        return exchange.frame(out)

    def lost(self, error: ProtocolError | None) -> bytes:
        """Nothing more can be read: a good end behind a finish reason, else a Fault.

        `error` is what was wrong with the framing; None: the connection ended or broke.
        """
        self.clean = False
        if self._flow.state is FlowState.OPEN:
            if error is not None:
                raise Fault(FaultKind.BAD_FRAMING, f"bad body: {error.message}") from error
            try:
                self._body.eof()
            except ProtocolError as cut:
                raise Fault(FaultKind.CLOSED_EARLY, "the stream was cut") from cut
        self.finished = True
        return self._exchange.frame(self._flow.end()) + self._exchange.ending


async def answer_stream(job: Job) -> None:
    """Carry out the plan and relay the answer. Raises what the caller is to be told."""
    exchange, service = job.exchange, job.service

    def beat() -> None:
        if exchange.state is ExchangeState.WAITING or exchange.state is ExchangeState.STARTED:
            try:
                exchange.beat(STREAM_HEADERS)
            except Broken:
                return  # the hub tells the connection by itself
            pulse.move(trio.current_time() + service.heartbeat)

    async def begin(spec: AttemptSpec) -> "Committed":
        return await commit(job, spec)

    pulse = service.timers.call_at(exchange.arrived + service.heartbeat, beat)
    try:
        won = await execute(job.plan, job.deadline, begin)
    finally:
        pulse.cancel()
    with job.ending(won.attempt):
        await relay(job, won)
        if won.relay.clean:
            won.attempt.finish()
        else:
            won.attempt.close()
    service.metrics.attempt(won.spec.model.provider, won.spec.model.id, Ending.COMPLETE)


class Committed:
    """An attempt past its commit point, and the bytes that brought it there."""

    __slots__ = ("attempt", "first", "flow", "relay", "spec")

    def __init__(self, spec: AttemptSpec, attempt: Attempt, flow: Flow, relay: Relay) -> None:
        self.spec = spec
        self.attempt = attempt
        self.flow = flow
        self.relay = relay
        self.first = b""


async def commit(job: Job, spec: AttemptSpec) -> Committed:
    """One attempt up to its first token. Raises Fault and Rejected, the attempt closed."""
    attempt = await job.open(spec, stream=True)
    with job.ending(attempt):
        if attempt.content_type in NO_STREAMS:
            raise Fault(FaultKind.BAD_BODY, "the answer is not an event stream")
        limits, request = attempt.endpoint.limits, job.call.request

        def extension(flow: Flow) -> bytes:
            return job.extension(job.settle(attempt, spec, flow.usage, flow.text))

        flow = Flow(
            attempt.endpoint.dialect,
            EventReader(limits.sse_line, limits.sse_event),
            request.n or 1,
            request.include_usage,
            extension,
        )
        won = Committed(spec, attempt, flow, Relay(attempt, flow, job.exchange))
        while not flow.committed:
            won.first = won.relay.take(await attempt.next_piece())
    now = trio.current_time()
    attempt.times.first_token = now
    provider, model = spec.model.provider, spec.model.id
    job.service.metrics.first_token(provider, model, now - job.exchange.arrived)
    return won


async def relay(job: Job, won: Committed) -> None:
    """Send the head and the first bytes, then join the sockets until the answer has ended.

    Raises BrokenStream (after the error event's predecessors have been sent), and Broken and
    Expired of the caller's side.
    """
    exchange, link = job.exchange, job.exchange.link
    head = b""
    if exchange.state is ExchangeState.WAITING:
        head = exchange.start([*STREAM_HEADERS, *job.fields(won.attempt)])
    await link.send_all(exchange.due() + head + won.first)
    source = won.attempt.link
    try:
        if not won.relay.finished:
            source.deadline = won.attempt.timing.total
            await source.pump(link, won.relay, won.attempt.timing.gap)
    except Fault as fault:
        await _break(exchange, won.flow, fault)
    except Broken as broken:
        if broken.link is not source:
            raise
        await _lost(exchange, won)
    except Expired as late:
        if late.link is not source:
            raise
        if won.flow.state is FlowState.OPEN:
            await _break(exchange, won.flow, won.attempt.silence())
        await _lost(exchange, won)
    exchange.complete()


async def _lost(exchange: Exchange, won: Committed) -> None:
    """The provider's connection broke or fell silent: a good end only behind a finish reason."""
    try:
        rest = won.relay.lost(None)
    except Fault as fault:
        await _break(exchange, won.flow, fault)
    else:
        await exchange.link.send_all(rest)


async def _break(exchange: Exchange, flow: Flow, fault: Fault) -> None:
    """Tell the caller that this answer stays incomplete. Raises BrokenStream."""
    exchange.abort()
    broken = BrokenStream(fault)
    await exchange.link.send_all(exchange.frame(flow.unsent + error_event(broken)))
    raise broken from fault
