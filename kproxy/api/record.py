"""One attempt under way, and how it will be remembered: an open connection in, one outcome out.

Whoever runs the attempt does it inside `with record:`; leaving it by an exception closes the
connection and says how the attempt ended, and so does `complete` at its good end. Either way there
is exactly one `AttemptOutcome`, the route's health and window hear of it, and it is counted.
"""

from typing import Protocol

import trio

from kproxy.api.service import Service
from kproxy.dialect.flow import Flow
from kproxy.downstream.exchange import Exchange
from kproxy.errors import BrokenStream, Fault, FaultKind, Rejected
from kproxy.ledger.settle import cost
from kproxy.ledger.usage import estimate_usage, from_reply
from kproxy.outcome import AttemptOutcome, Ending, Usage
from kproxy.routing.faults import POLICIES, accrues
from kproxy.routing.live import Grant
from kproxy.routing.plan import AttemptSpec, Plan
from kproxy.schema.reply import ReplyUsage
from kproxy.upstream.attempt import Attempt

__all__ = ["AttemptRecord", "ending_of"]


OF_THE_KEY = frozenset({FaultKind.CREDENTIAL, FaultKind.RATE_LIMITED})
"""Faults that say something of the key: of a caller's own one, nothing that concerns others."""


class Request(Protocol):
    """What a record needs of the request that its attempt is for: the job."""

    service: Service
    exchange: Exchange
    plan: Plan
    prompt_tokens: int
    is_decided: bool
    adopted: "AttemptRecord | None"

    def note(self, record: "AttemptRecord", outcome: AttemptOutcome) -> None:
        """The attempt has ended."""
        ...


class AttemptRecord:
    """See the module. The attempt's connection is the record's until it has ended."""

    __slots__ = ("_ended", "_grant", "_job", "attempt", "flow", "own_key", "spec")

    def __init__(self, job: Request, spec: AttemptSpec, attempt: Attempt, grant: Grant) -> None:
        self._job = job
        self._grant = grant
        self._ended = False
        self.spec = spec
        self.attempt = attempt
        self.flow: Flow | None = None  # of a stream: what it has said so far
        self.own_key = False  # sent with a key of the caller's, not with the operator's

    def __repr__(self) -> str:
        return f"<AttemptRecord {self.attempt!r}>"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.fail(error)

    def note_first_token(self) -> None:
        """The commit point of a stream."""
        now = trio.current_time()
        times = self.attempt.times
        times.first_token = now
        self._grant.first_token(now, now - times.started)
        job, model = self._job, self.spec.model
        job.service.metrics.first_token(model.provider, model.id, now - job.exchange.arrived)

    def complete(self, told: ReplyUsage | None, text: int) -> Usage:
        """The answer is whole; `text` is how many bytes of it the model wrote. Only once."""
        usage = from_reply(told) or estimate_usage(self._job.prompt_tokens, text)
        now, times = trio.current_time(), self.attempt.times
        self._grant.complete(now, now - times.started, _pace(usage, now, self.attempt))
        self._leave(Ending.COMPLETE, usage, None, now)
        return usage

    def fail(self, error: BaseException) -> None:
        """The attempt ends by `error`: a fault, a refusal, or a cancellation. Idempotent."""
        fault = error.fault if isinstance(error, BrokenStream) else error
        if self._ended:
            self.attempt.close()
        elif isinstance(fault, Fault):
            self._break(fault)
        elif isinstance(error, Rejected):
            now = trio.current_time()
            self._grant.answered(now)  # it works, it only does not want this
            self._leave(Ending.REJECTED, None, None, now)
        else:
            self.give_up()

    def give_up(self) -> None:
        """The attempt is not wanted any more: another was first, or the caller has left."""
        job, now = self._job, trio.current_time()
        superseded = job.is_decided and job.adopted is not self
        waited = now - self.attempt.times.started
        outwaited = superseded and 0 < self.spec.patience < waited
        self._grant.abandoned(now, waited if outwaited else None)
        ending = Ending.SUPERSEDED if superseded else Ending.CANCELLED
        self._leave(ending, self._used(charged=self.attempt.sent), None, now)

    def _break(self, fault: Fault) -> None:
        job, model, now = self._job, self.spec.model, trio.current_time()
        if self.own_key and fault.kind in OF_THE_KEY:
            self._grant.abandoned(now, None)
        else:
            self._grant.failed(now, fault, accrued=accrues(fault, hurried=job.plan.hurried))
        metrics = job.service.metrics
        metrics.fault(model.provider, fault.kind)
        job.service.faults.note(*metrics.labels(model.provider, model.id), fault, now)
        used = self._used(charged=POLICIES[fault.kind].charged)
        self._leave(Ending.FAULT, used, fault, now)

    def _used(self, *, charged: bool) -> Usage | None:
        """What an attempt without a good end may have used; None: nothing that could be billed.

        `charged` says whether the prompt alone counts, where no word has come back.
        """
        told, text = (self.flow.usage, self.flow.text) if self.flow is not None else (None, 0)
        if not (charged or text or told is not None):
            return None
        return from_reply(told) or estimate_usage(self._job.prompt_tokens, text)

    def _leave(self, ending: Ending, usage: Usage | None, fault: Fault | None, now: float) -> None:
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
            own_key=self.own_key,
        )
        job.note(self, outcome)
        metrics = job.service.metrics
        metrics.attempt(model.provider, model.id, ending)
        if usage is not None:
            metrics.used(model.provider, model.id, usage, paid)


def _pace(usage: Usage, now: float, attempt: Attempt) -> float | None:
    """Tokens per second of a complete answer; None where it was too short to tell."""
    times = attempt.times
    since = times.started if times.first_token is None else times.first_token
    tokens = usage.completion_tokens
    return tokens / (now - since) if tokens > 1 and now > since else None


def ending_of(error: BaseException) -> Ending:
    """How something ended that was left by `error`; whatever is not the provider's is ours."""
    if isinstance(error, Fault | BrokenStream):
        return Ending.FAULT
    if isinstance(error, Rejected):
        return Ending.REJECTED
    return Ending.CANCELLED
