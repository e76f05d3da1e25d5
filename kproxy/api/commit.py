"""One streamed attempt up to its commit point, and the step that carries its bytes from there.

Problem: until the first token any attempt may be replaced, so nothing may be sent; from then on
every chunk should cost one receive, one look and one send. And whatever happens, the caller must be
able to tell a whole answer from a broken one.

Our way: `Relay` is the provider's framing, the flow of events and the caller's framing in one
synchronous step. Before the commit point it is fed by the attempt's own reads; after it the two
sockets are joined by `pump`, and the step runs in the hub without a task switch. Bytes that need no
change are forwarded as the very object that the socket gave us, chunk framing included.
"""

import math
from collections.abc import Mapping
from contextlib import suppress

import trio
from msgspec import Raw

from kproxy.api.job import Job
from kproxy.api.record import AttemptRecord
from kproxy.api.rounds import Rounds
from kproxy.dialect.editor import Edited
from kproxy.dialect.flow import Flow, FlowState, Wanted
from kproxy.dialect.lane import LONGEST, Lane
from kproxy.dialect.transcript import Transcript
from kproxy.downstream.exchange import HEARTBEAT, Exchange, ExchangeState
from kproxy.errors import Fault, FaultKind, Rejected
from kproxy.guard.guarded import AnswerEditor
from kproxy.guard.heal import Healed, merged
from kproxy.guard.healer import stream_healer
from kproxy.routing.chain import Chain
from kproxy.routing.plan import AttemptSpec
from kproxy.transport.duplex import Broken
from kproxy.upstream.attempt import Attempt
from kproxy.wire.events import Headers, ProtocolError
from kproxy.wire.sse import EventReader

__all__ = ["STREAM_HEADERS", "Committed", "Relay", "Streaming"]

STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # a reverse proxy in front must not gather our events
]

REDACTED = "redacted"

NO_STREAMS = frozenset({b"text/html", b"application/json"})
"""Media types that are surely no event stream. Providers are not strict about the right one."""


LESSONS = 8
"""Chunks of one stream that are taken for a pattern of the others, before it is found to have
none."""


class Relay:
    """Provider bytes to caller bytes, see `transport.duplex.Stage`."""

    __slots__ = (
        "_beat", "_body", "_exchange", "_flow", "_holds", "_lane", "_lessons", "_pace", "clean",
        "finished", "rest",
    )  # fmt: skip

    def __init__(
        self,
        attempt: Attempt,
        flow: Flow,
        exchange: Exchange,
        pace: float = math.inf,
        *,
        holds: bool = False,
    ) -> None:
        self._body = attempt.body
        self._flow = flow
        self._exchange = exchange
        self._holds = holds  # the last bytes wait for the ledger, see `rest`
        self._pace = pace  # seconds without a byte, until a comment shows that we are alive
        self._beat = math.inf  # when that is; only where text may be held back
        self._lane: Lane | None = None  # what most chunks of this stream look like
        limits = attempt.endpoint.limits
        short = min(limits.sse_line, limits.sse_event) >= LONGEST
        self._lessons = LESSONS if exchange.verbatim and short else 0
        self.rest = b""
        self.finished = False
        self.clean = True  # the provider's framing held: its connection may be used again

    def take(self, data: bytes) -> bytes:
        """Raises Fault where the provider's bytes cannot go on as an answer."""
        if self._lane is not None:
            text = self._lane.text(data)
            if text >= 0:
                self._flow.text += text
                return data
        return self._read(data)

    def _read(self, data: bytes) -> bytes:
        """Chunks that must be looked at one by one."""
        flow, body, exchange = self._flow, self._body, self._exchange
        if not data:
            return self.lost(None)
        try:
            payload = body.feed(data)
        except ProtocolError as error:
            return self.lost(error)
        before = flow.text
        out = flow.take(payload)
        if not flow.adopted and flow.waits:
            return exchange.frame(out)
        if flow.state is FlowState.DONE or body.complete:
            return self._ended(out)
        if out is payload and body.verbatim and exchange.verbatim:
            self._learn(payload, flow.text - before)
            return data
        self._lane = None  # half a chunk may be held, or half an event
        return exchange.frame(out if flow.edited is None else self._alive(out))

    def _learn(self, event: bytes, text: int) -> None:
        """An event has passed as it came: others may look like it, or like one before."""
        if not self._flow.passes:
            self._lane = None
        elif self._lessons:
            self._lessons -= 1
            self._lane = Lane.learn(event, text) or self._lane

    def _alive(self, out: bytes) -> bytes:
        """What is to leave, or a comment where all was held back for long: a whole answer may be,
        and whoever stands between us and the caller ends silent connections."""
        now = trio.current_time()
        if not out and now < self._beat:
            return out
        self._beat = now + self._pace if self._flow.adopted else math.inf
        return out or HEARTBEAT

    def adopt(self) -> bytes:
        """The attempt is the caller's: what had to wait for that. Raises Fault (`Flow.adopt`)."""
        out = self._flow.adopt()
        self._beat = trio.current_time() + self._pace
        if self._flow.state is FlowState.DONE or self._body.complete:
            return self._ended(out)
        return self._exchange.frame(out)

    def _ended(self, out: bytes) -> bytes:
        """The body is over, or all of it that counts. Raises Fault where it was no answer."""
        flow, exchange = self._flow, self._exchange
        try:
            out += flow.end()
        except Fault:
            flow.unsent = out + flow.unsent
            raise
        self.finished = True
        self.clean = self.clean and not flow.cut_short
        whole = exchange.frame(out) + (b"" if flow.goes_on else exchange.ending)
        if not self._holds:
            return whole
        self.rest = whole
        return b""

    def lost(self, error: ProtocolError | None) -> bytes:
        """Nothing more can be read: a good end behind a finish reason, else a Fault.

        `error` is what was wrong with the framing; None: the connection ended or broke.
        """
        self.clean = False
        if self._flow.state is FlowState.OPEN:
            if error is not None:
                raise Fault(
                    FaultKind.BAD_FRAMING, f"bad body: {error.message.rstrip('.')}"
                ) from error
            try:
                self._body.eof()
            except ProtocolError as cut:
                raise Fault(FaultKind.CLOSED_EARLY, "the stream was cut") from cut
        out = self._exchange.frame(self._flow.end())
        self.finished = True  # not before: a relay that is over hears of no Fault
        return out if self._flow.goes_on else out + self._exchange.ending


class Committed:
    """An attempt past its commit point, and the bytes that brought it there."""

    __slots__ = ("editor", "first", "flow", "record", "relay")

    def __init__(
        self, record: AttemptRecord, flow: Flow, relay: Relay, editor: AnswerEditor | None = None
    ) -> None:
        self.record = record
        self.editor = editor  # by the operator's rules
        self.flow = flow
        self.relay = relay
        self.first = b""

    @property
    def attempt(self) -> Attempt:
        """The open attempt."""
        return self.record.attempt

    def adopt(self, job: Job) -> None:
        """This is the answer that the caller gets, or a part of it. Only once."""
        job.adopted = self.record
        if self.editor is not None and job.guarded is not None:
            job.guarded.adopt(self.editor)

    def withheld(self) -> str:
        """What the operator's rules have held back of a round that has ended; once. Raises Rejected
        400."""
        return "" if self.editor is None else self.editor.end(0, "tool_calls")

    def opening(self, job: Job) -> bytes:
        """What is to be sent now: the head where it has not left, and what has gathered."""
        head, exchange = b"", job.exchange
        if exchange.state is ExchangeState.WAITING:
            head = exchange.start([*STREAM_HEADERS, *job.fields(self.attempt)])
        first, self.first = self.first, b""
        self.record.shown = True
        return head + first


class Streaming:
    """Makes the streamed attempts of one chain, see `upstream.race.Runner`.

    `fields` are the members of the request. `transcript` is of what was shown so far, where the
    answer may be rescued; while it is, `shown` is what there is to go on from. `rounds` is the tool
    loop, where there is one.
    """

    def __init__(
        self,
        job: Job,
        chain: Chain,
        fields: Mapping[str, Raw],
        transcript: Transcript | None = None,
        shown: str = "",
    ) -> None:
        self._job = job
        self._chain = chain
        self._fields = fields
        self._transcript = transcript
        self._shown = shown
        self.rounds: Rounds | None = None
        self.may_hedge = job.may_hedge
        self.may_repeat = job.may_repeat
        self.hedge_unused = job.hedge_unused

    async def begin(self, spec: AttemptSpec) -> Committed:
        """One attempt up to its first token. Raises Fault and Rejected, the attempt closed."""
        record = self._job.admit(spec, self._chain)
        with record:
            try:
                await self._job.open(record, self._fields)
            except Rejected as refusal:
                if not self._shown:
                    raise
                # What it refuses is our prefill: the caller's own messages were taken before.
                raise Fault(FaultKind.NO_PREFILL, "it does not go on from a prefill") from refusal
            won = self._committed(record)
            try:
                while not won.flow.committed:
                    won.first = won.relay.take(await record.attempt.next_piece())
            except Rejected:  # by a rule: the receipt names it
                won.adopt(self._job)
                raise
        record.note_first_token()
        return won

    def decided(self, won: Committed | None) -> None:
        """See `Runner`."""
        self._job.decide(None if won is None else won.record)
        if won is not None:
            # The caller need not wait until those who lost are gone.
            with suppress(Broken):  # the hub tells the connection by itself
                self._job.exchange.send_early(won.opening(self._job))

    def discard(self, won: Committed) -> None:
        """Another attempt was first, or the caller has left."""
        won.record.give_up()

    def _committed(self, record: AttemptRecord) -> Committed:
        attempt, job = record.attempt, self._job
        if attempt.content_type in NO_STREAMS:
            raise Fault(FaultKind.BAD_BODY, "the answer is not an event stream")
        limits, request = attempt.endpoint.limits, job.call.request
        dialect = attempt.endpoint.dialect

        healer = stream_healer(job.passed.forms)

        def extension(flow: Flow) -> bytes:
            if healer is not None:
                job.healed = _told(merged(healer.reports.values()), job)
            record.complete(flow.usage, flow.text)
            return job.extension(job.settle())

        flow = Flow(
            dialect,
            dialect.events(EventReader(limits.sse_line, limits.sse_event), job.created),
            Wanted(request.n or 1, request.include_usage),
            extension,
            self._transcript,
        )
        if self.rounds is not None:
            flow.calls = self.rounds.calls(self._shown)
        record.flow = flow
        editor = None if job.guarded is None else job.guarded.editor(goes_on=bool(self._shown))
        editors = [one for one in (healer, editor) if one is not None]  # rules see what is left
        if editors:
            flow.edited = Edited(editors)
        service = job.service
        relay = Relay(attempt, flow, job.exchange, service.heartbeat, holds=service.journal.strict)
        return Committed(record, flow, relay, editor)


def _told(healed: Healed | None, job: Job) -> Healed | None:
    """What is said of a stream's healing: where a rule has redacted behind it, nobody looked again
    whether that is JSON."""
    if job.guarded is None or not job.guarded.redacts:
        return healed
    return Healed("", healed=False, done=() if healed is None else healed.done, why=REDACTED)
