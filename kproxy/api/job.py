"""One admitted chat request on its way: the decision, its deadlines, and what became of it.

The job opens attempts for the plan, turns their ends into counts, and says what the caller is told.
It lives in one task and ends with the request.
"""

import trio

from kproxy.api.service import Service
from kproxy.downstream.exchange import Exchange
from kproxy.errors import BrokenStream, Fault, Rejected
from kproxy.ledger.settle import Settlement, cost, extension_json, savings
from kproxy.ledger.usage import estimate_usage, from_reply
from kproxy.outcome import Ending
from kproxy.routing.explain import explain_json
from kproxy.routing.plan import AttemptSpec, Plan
from kproxy.routing.planner import is_auto
from kproxy.schema.chat import ChatCall
from kproxy.schema.reply import ReplyUsage
from kproxy.upstream.attempt import Attempt, Timing
from kproxy.wire.events import Headers
from kproxy.wire.names import COST, PROVIDER, RECEIPT, SAVINGS, forwardable

__all__ = ["Job"]


class Job:
    """See the module. `parsed` and `planned` are times on trio's clock, for Server-Timing."""

    def __init__(
        self, service: Service, exchange: Exchange, call: ChatCall, plan: Plan, prompt_tokens: int
    ) -> None:
        self.service = service
        self.exchange = exchange
        self.call = call
        self.plan = plan
        self.deadline = exchange.arrived + plan.total
        self.receipt_id = "rcpt_" + exchange.id
        self.attempts = 0
        self._prompt_tokens = prompt_tokens
        self._planned = trio.current_time()
        self._passed = forwardable(exchange.head.headers)

    async def open(self, spec: AttemptSpec, *, stream: bool) -> Attempt:
        """An attempt whose 200 head has come; the caller of this ends it. Raises Fault, Rejected.

        The first-token timer binds streams. Without a stream a provider is silent until it has
        written everything, so there only the total deadline does.
        """
        self.attempts += 1
        endpoint = self.service.endpoints[spec.model.provider]
        first = trio.current_time() + self.plan.first_token if stream else self.deadline
        timing = Timing(self.deadline, min(first, self.deadline), self.plan.gap)
        attempt = Attempt(endpoint, spec.model.id, timing)
        body = endpoint.dialect.encode(self.call.fields, spec.model.upstream, stream)
        with self.ending(attempt):
            await attempt.open(endpoint.request(body, self._passed))
        return attempt

    def ending(self, attempt: Attempt) -> "AttemptGuard":
        """A context that ends `attempt` when it is left by an exception, and counts how."""
        return AttemptGuard(self, attempt)

    def settle(
        self, attempt: Attempt, spec: AttemptSpec, told: ReplyUsage | None, text: int
    ) -> Settlement:
        """What the answer used, costs and saved; counted once, when the answer is complete."""
        usage = from_reply(told) or estimate_usage(self._prompt_tokens, text)
        model, request, service = spec.model, self.call.request, self.service
        actual = cost(usage, model.price)
        pinned = not is_auto(request.model)
        saved = savings(usage, service.reference, actual, pinned=pinned)
        service.metrics.used(model.provider, model.id, usage, actual)
        return Settlement(
            provider=service.catalog.provider(model.provider).display,
            slug=model.provider,
            model=model.id,
            cost=actual,
            savings=saved,
            estimated=usage.estimated,
            routed_from=request.model,
            receipt_id=self.receipt_id,
            attempts=self.attempts,
            strategy=self.plan.strategy,
        )

    def extension(self, settlement: Settlement) -> bytes:
        """The `x_kairosroute` object of the answer."""
        wanted = self.call.request.extension.explain
        return extension_json(settlement, explain_json(self.plan) if wanted else None)

    def fields(self, attempt: Attempt) -> Headers:
        """What the head says of the answer before its cost is known."""
        return [
            (PROVIDER, attempt.endpoint.provider.encode("ascii")),
            (RECEIPT, self.receipt_id.encode("ascii")),
            (b"server-timing", self._server_timing(attempt)),
        ]

    def money_fields(self, settlement: Settlement) -> Headers:
        """Cost and savings; no cost where the price is not known (contract section 7)."""
        fields: Headers = [(SAVINGS, settlement.savings_usd.encode("ascii"))]
        if settlement.cost_usd is not None:
            fields.append((COST, settlement.cost_usd.encode("ascii")))
        return fields

    def _server_timing(self, attempt: Attempt) -> bytes:
        times = attempt.times
        spans = (
            (b"plan", self._planned - self.exchange.arrived),
            (b"connect", times.connected - times.started),
            (b"first_token", (times.first_token or times.head) - times.connected),
        )
        return b", ".join(b"%b;dur=%.3f" % (name, 1000 * span) for name, span in spans)


class AttemptGuard:
    """Left by an exception: the attempt is closed, and counted as what the exception says."""

    __slots__ = ("_attempt", "_job")

    def __init__(self, job: Job, attempt: Attempt) -> None:
        self._job = job
        self._attempt = attempt

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        self._attempt.close()
        metrics = self._job.service.metrics
        provider, model = metrics.labels(self._attempt.endpoint.provider, self._attempt.model)
        metrics.attempt(provider, model, ending_of(error))
        fault = error.fault if isinstance(error, BrokenStream) else error
        if isinstance(fault, Fault):
            metrics.fault(provider, fault.kind)
            self._job.service.faults.note(provider, model, fault, trio.current_time())


def ending_of(error: BaseException) -> Ending:
    """How an attempt ended that was left by `error`; whatever is not the provider's is ours."""
    if isinstance(error, Fault | BrokenStream):
        return Ending.FAULT
    if isinstance(error, Rejected):
        return Ending.REJECTED
    return Ending.CANCELLED
