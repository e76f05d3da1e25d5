"""One attempt under way, and how it will be remembered: an open connection in, one outcome out.

Whoever runs the attempt does it inside `with record:`; leaving it by an exception closes the
connection and says how the attempt ended, and so does `complete` at its good end. Either way there
is exactly one `AttemptOutcome`, the route's health and window hear of it, and it is counted.
Only what the provider's API has no words for was no attempt, and leaves nothing.
"""

import math
from typing import Protocol

import trio

from kproxy.api.service import Service
from kproxy.dialect.base import ReplyFacts
from kproxy.dialect.flow import Flow
from kproxy.downstream.exchange import Exchange
from kproxy.errors import (
    BrokenStream,
    DeadlineExceeded,
    Exhausted,
    Fault,
    FaultKind,
    NotCarried,
    Rejected,
)
from kproxy.ledger.settle import cost
from kproxy.ledger.spans import LENGTH, REASONS
from kproxy.ledger.trace import Asked, Parameters
from kproxy.ledger.usage import estimate_usage, from_reply
from kproxy.outcome import AttemptOutcome, Ending, Usage
from kproxy.routing.faults import POLICIES, accrues
from kproxy.routing.live import Grant
from kproxy.routing.plan import AttemptSpec, Plan
from kproxy.schema.chat import ChatCall
from kproxy.schema.reply import ReplyUsage
from kproxy.transport.duplex import Broken, Expired
from kproxy.upstream.attempt import Attempt
from kproxy.wire.events import Headers

__all__ = ["AttemptRecord", "ending_of"]


OF_THE_KEY = frozenset({FaultKind.CREDENTIAL, FaultKind.RATE_LIMITED})
"""Faults that say something of the key: of a caller's own one, nothing that concerns others."""


class Request(Protocol):
    """What a record needs of the request that its attempt is for: the job."""

    service: Service
    exchange: Exchange
    call: ChatCall
    plan: Plan
    prompt_tokens: int
    most_output: int | None
    is_decided: bool
    adopted: "AttemptRecord | None"

    def note(self, record: "AttemptRecord", outcome: AttemptOutcome) -> None:
        """The attempt has ended."""
        ...

    def forget(self, record: "AttemptRecord") -> None:
        """It was none: nothing was sent."""
        ...


class AttemptRecord:
    """See the module. The attempt's connection is the record's until it has ended."""

    __slots__ = (
        "_ended", "_grant", "_job", "attempt", "flow", "own_key", "shown", "span_id", "spec",
        "told",
    )  # fmt: skip

    def __init__(self, job: Request, spec: AttemptSpec, attempt: Attempt, grant: Grant) -> None:
        self._job = job
        self._grant = grant
        self._ended = False
        self.spec = spec
        self.attempt = attempt
        self.flow: Flow | None = None  # of a stream: what it has said so far
        self.told: ReplyFacts | None = None  # of a whole answer: what it says
        self.own_key = False  # sent with a key of the caller's, not with the operator's
        self.shown = False  # the caller has got words of it, or is about to
        self.span_id = ""  # under which it is recorded; empty: it is not

    def __repr__(self) -> str:
        return f"<AttemptRecord {self.attempt!r}>"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.fail(error)

    def passing(self, fields: Headers) -> Headers:
        """What the provider gets of the caller's `fields`: where the request is traced, with the
        attempt's own place in that trace."""
        trace = self._job.exchange.trace
        if trace is None:
            return fields
        self.span_id, fields = trace.ask(fields)
        if self.span_id and trace.parameters is None:
            request = self._job.call.request
            self._job.exchange.trace = trace.asking(
                Parameters(
                    bool(request.stream), request.n, request.output_limit, request.temperature,
                    request.needs_json,
                )
            )  # fmt: skip
        return fields

    def note_first_token(self) -> None:
        """The commit point of a stream."""
        now = trio.current_time()
        times = self.attempt.times
        times.first_token = now
        self._grant.first_token(now, now - times.started)
        job, model = self._job, self.spec.model
        if job.adopted is None:  # of a rescued stream only the first part's counts
            job.service.metrics.first_token(model.provider, model.id, now - job.exchange.arrived)

    def complete(self, told: ReplyUsage | None, text: int) -> Usage:
        """The answer is whole; `text` is how many bytes of it the model wrote. Only once."""
        usage = from_reply(told) or self._estimate(text)
        now, times = trio.current_time(), self.attempt.times
        self._grant.complete(now, now - times.started, _pace(usage, now, self.attempt))
        self._leave(Ending.COMPLETE, usage, None, now)
        return usage

    def fail(self, error: BaseException) -> None:
        """The attempt ends by `error`: a fault, a refusal, a cancellation, a mistake of ours.
        Idempotent."""
        fault = error.fault if isinstance(error, BrokenStream) else error
        ending, now = ending_of(error), trio.current_time()
        if self._ended:
            self.attempt.close()
        elif isinstance(fault, Fault):
            self._break(fault, now)
        elif isinstance(fault, NotCarried):
            self._grant.abandoned(now, None)
            self._ended = True
            self.attempt.close()
            self._job.forget(self)
        elif ending is Ending.REJECTED:
            self._grant.refused(now)
            self._leave(Ending.REJECTED, self._used(charged=False), None, now)
        elif ending is Ending.ERROR:
            self._grant.abandoned(now, None)
            self._leave(Ending.ERROR, self._used(charged=self.attempt.sent), None, now)
        else:
            self.give_up()

    def give_up(self) -> None:
        """The attempt is not wanted any more: another was first, or the caller has left.
        Idempotent."""
        if self._ended:
            self.attempt.close()
            return
        job, now = self._job, trio.current_time()
        superseded = job.is_decided and job.adopted is not self
        waited = now - self.attempt.times.started
        wordless = self.attempt.times.first_token is None and self.told is None
        outwaited = superseded and wordless and 0 < self.spec.patience < waited
        self._grant.abandoned(now, waited if outwaited else None)
        ending = Ending.SUPERSEDED if superseded else Ending.CANCELLED
        self._leave(ending, self._used(charged=self.attempt.sent), None, now)

    def _break(self, fault: Fault, now: float) -> None:
        job, model = self._job, self.spec.model
        if self.own_key and fault.kind in OF_THE_KEY:
            self._grant.abandoned(now, None)
        else:
            given = self.attempt.timing.given
            accrued = accrues(fault, given, self.spec.full)
            self._grant.failed(now, fault, accrued=accrued)
        metrics = job.service.metrics
        metrics.fault(model.provider, fault.kind)
        job.service.faults.note(*metrics.labels(model.provider, model.id), fault, now)
        charged = POLICIES[fault.kind].charged and self.attempt.sent
        used = self._used(charged=charged or self.attempt.accepted)
        self._leave(Ending.FAULT, used, fault, now)

    def _used(self, *, charged: bool) -> Usage | None:
        """What an attempt without a good end may have used; None: nothing that could be billed.

        `charged` says whether the prompt alone counts, where no word has come back.
        """
        said = self.flow or self.told
        told, text = (None, 0) if said is None else (said.usage, said.text)
        if not (charged or text or told is not None):
            return None
        return from_reply(told) or self._estimate(text)

    def _estimate(self, text: int) -> Usage:
        return estimate_usage(self._job.prompt_tokens, text, self._job.most_output)

    def _leave(self, ending: Ending, usage: Usage | None, fault: Fault | None, now: float) -> None:
        assert not self._ended, "an attempt ends once"
        self._ended = True
        if ending is not Ending.COMPLETE:
            self.attempt.close()
        job, model, times = self._job, self.spec.model, self.attempt.times
        arrived = job.exchange.arrived
        first = times.first_token
        paid = 0 if usage is None else cost(usage, model.price)
        outcome = AttemptOutcome(
            model=model.id,
            provider=model.provider,
            started=times.started - arrived,
            first_token=None if first is None else first - arrived,
            ended=now - arrived,
            ending=ending,
            fault=None if fault is None else fault.kind.value,
            usage=usage,
            cost=paid,
            price_date=model.price_date,
            own_key=self.own_key,
        )
        job.note(self, outcome)
        if self.span_id and job.exchange.trace is not None:
            job.exchange.trace = job.exchange.trace.after(self._asked(outcome))
        job.service.metrics.attempt(outcome)
        self.flow = None  # which knows us: nothing that a request leaves may hold its prompt

    def _asked(self, outcome: AttemptOutcome) -> Asked:
        """For the attempt's span. It may wait for a collector, so nothing in it is long."""
        attempt, said = self.attempt, self.flow or self.told
        connected, origin = attempt.times.connected, attempt.endpoint.pool.origin
        answered = None if said is None else said.model
        reasons = () if said is None else said.reasons[:REASONS]
        return Asked(
            span_id=self.span_id,
            outcome=outcome,
            model=self.spec.model.upstream[:LENGTH],
            address=origin.host,
            port=origin.port,
            shown=self.shown,
            status=attempt.status,
            connected=None if math.isnan(connected) else connected - self._job.exchange.arrived,
            answered=None if answered is None else answered[:LENGTH],
            reasons=tuple(reason[:LENGTH] for reason in reasons),
        )


def _pace(usage: Usage, now: float, attempt: Attempt) -> float | None:
    """Tokens per second of a complete answer; None where it was too short to tell."""
    times = attempt.times
    since = times.started if times.first_token is None else times.first_token
    tokens = usage.completion_tokens
    return tokens / (now - since) if tokens > 1 and now > since else None


def ending_of(error: BaseException) -> Ending:
    """How something ended that was left by `error`; Broken and Expired are of the caller's side."""
    if isinstance(error, Fault | BrokenStream | Exhausted | DeadlineExceeded):
        return Ending.FAULT
    if isinstance(error, Rejected):
        return Ending.REJECTED
    if isinstance(error, Broken | Expired) or not isinstance(error, Exception):
        return Ending.CANCELLED
    return Ending.ERROR
