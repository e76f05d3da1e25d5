"""One admitted chat request on its way: the decision, its deadlines, and what became of it.

The job opens attempts for the plan and remembers how each ended; at the end it says what the
caller is told, and leaves exactly one receipt, whatever the end was. It lives in one task, and is
left like a context: by its good end, or by the exception that the caller is told.
"""

import logging
from collections.abc import Mapping
from typing import Self

import msgspec
import trio
from msgspec import Raw
from msgspec.structs import replace

from kproxy.admission.quota import NOTHING, Amount
from kproxy.api.admit import Passed, limited_by, reserve
from kproxy.api.idempotency import Keep
from kproxy.api.plugged import Plugged
from kproxy.api.record import AttemptRecord, ending_of
from kproxy.api.service import Held, Service
from kproxy.api.tally import Tally
from kproxy.downstream.exchange import Exchange, ExchangeState
from kproxy.downstream.respond import Answer
from kproxy.errors import DeadlineExceeded, Exhausted, Rejected, Withheld
from kproxy.guard.guarded import Guarded
from kproxy.guard.heal import Healed
from kproxy.ledger.receipt import attempts_json, receipt_id
from kproxy.ledger.settle import Settlement, extension_json, savings
from kproxy.outcome import AttemptOutcome, Ending
from kproxy.routing.budget import affordable
from kproxy.routing.candidates import is_auto
from kproxy.routing.chain import Chain
from kproxy.routing.estimate import output_limit
from kproxy.routing.explain import explain_json
from kproxy.routing.plan import AttemptSpec, Plan
from kproxy.schema.receipt import Decision, Execution, Fired, Join, PluginReport, Receipt
from kproxy.store.database import StoreError
from kproxy.upstream.attempt import Attempt, Timing
from kproxy.wire.events import Headers
from kproxy.wire.names import PROVIDER, RECEIPT

__all__ = ["Admitted", "Job"]

log = logging.getLogger("kproxy.ledger")

_SPANS = b", ".join(
    b"%b;dur=%%.3f" % name for name in (b"parse", b"route", b"queue", b"connect", b"first_token")
)


class Admitted(msgspec.Struct, frozen=True):
    """A request that may be dispatched. `prompt_tokens` is our estimate; `held` is what it may use,
    and the job's to end; `began` is when its plan was begun, on trio's clock. `keep`: the caller
    may ask for the same answer again. `guarded`: the operator's rules have edited it, and edit what
    answers it. `plugged`: what plugins have done for it, and their tools.
    """

    passed: Passed
    prompt_tokens: int
    held: Held
    began: float
    keep: Keep | None = None
    guarded: Guarded | None = None
    plugged: Plugged | None = None


class Job:
    """See the module."""

    def __init__(
        self, service: Service, exchange: Exchange, admitted: Admitted, plan: Plan
    ) -> None:
        self.service = service
        self.exchange = exchange
        self.call = admitted.passed.call
        self.asked: Mapping[str, Raw] = self.call.fields  # the members of what is asked now
        self.guarded = admitted.guarded
        self.plugged = admitted.plugged
        self.most_output = self.call.request.most_output
        # What savings are measured against: a model that was asked for by name saves nothing.
        self._reference = service.reference if is_auto(self.call.request.model) else None
        self.prompt_tokens = admitted.prompt_tokens
        self.plan = plan
        self.deadline = exchange.arrived + plan.total
        self.receipt_id = receipt_id(admitted.passed.arrived, exchange.id)
        self.tally = Tally()
        self.begun = 0  # how many of them were before the round under way
        self.joins: tuple[Join, ...] = ()
        self.is_decided = False  # what is cancelled now was superseded
        self.running: dict[AttemptRecord, int | None] = {}  # what each is estimated to cost
        self.passed = admitted.passed
        self.held_too: list[Held] = []  # for attempts beyond the plan: healing.py, rounds.py
        self.healed: Healed | None = None  # what became of the answer's JSON
        self._admitted = admitted
        self.adopted: AttemptRecord | None = None  # whose words the caller is being shown
        self._is_late = False  # our clock ended the answer between two of its rounds
        self._is_withheld = False  # a rule of the operator's did
        self._concluded = False
        self._kept: Receipt | None = None  # the receipt that was kept with the whole answer
        self._planned = trio.current_time()
        self.created = int(admitted.passed.arrived)  # for answers that do not say it
        self._passed = exchange.forwardable
        service.metrics.planned(self._planned - exchange.arrived)
        service.hedges.deposit(self._planned)
        service.repeats.deposit(self._planned)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self.conclude(Ending.COMPLETE)
            else:
                self._fail(error)
        finally:
            self.adopted = None  # it knows us, and a request that is over leaves no cycle

    def _fail(self, error: BaseException) -> None:
        started = self.exchange.state is ExchangeState.STARTED
        self._is_late = started and isinstance(error, DeadlineExceeded)
        self._is_withheld = isinstance(error, Withheld)
        if isinstance(error, Exhausted):
            error.retry_after = self._someone_again()
        try:
            self.conclude(ending_of(error))
        except StoreError as trouble:
            log.error("%s: %s", self.receipt_id, trouble)  # the journal holds it, and tries again

    # --- attempts

    def admit(self, spec: AttemptSpec, chain: Chain) -> AttemptRecord:
        """An attempt that its route lets through. Raises Fault (RESTING)."""
        now, model = trio.current_time(), spec.model
        grant = self.service.routes.admit(model.key, now)
        timing = Timing(
            started=now,
            total=min(self.deadline, now + spec.total),
            first=chain.allowance(spec, now, self.deadline),
            gap=spec.gap,
        )
        attempt = Attempt(self.service.endpoints[model.provider], model.id, timing)
        record = AttemptRecord(self, spec, attempt, grant)
        self.running[record] = spec.est_cost
        return record

    async def open(self, record: AttemptRecord, fields: Mapping[str, Raw]) -> None:
        """Send the request with these members and read the head of a 200. Raises Fault, Rejected.

        The first-token timer binds streams. Without a stream a provider is silent until it has
        written everything, so there only the total deadline does, or its share of it.
        """
        endpoint, stream = record.attempt.endpoint, bool(self.call.request.stream)
        model = record.spec.model
        limit = output_limit(model, self.prompt_tokens)
        body = endpoint.dialect.encode(fields, model.upstream, stream, limit)
        key = self._admitted.passed.caller.provider_keys.get(endpoint.provider)
        record.own_key = key is not None
        try:
            await record.attempt.open(endpoint.request(body, record.passing(self._passed), key))
        except Rejected as refusal:
            if self.guarded is not None:  # its words are about what it was shown
                refusal.message = self.guarded.restored(refusal.message)
            raise

    def may_hedge(self, spec: AttemptSpec) -> bool:
        """Whether the plan's caps and the house's budget allow one more attempt beside these."""
        service, plan = self.service, self.plan
        if service.overloaded() or service.endpoints[spec.model.provider].pool.crowded:
            return False
        spent = (*self.running.values(), *(outcome.cost for outcome in self.tally.outcomes))
        if not affordable(spent, spec.est_cost, plan.cost_cap):
            return False
        return plan.strategy == "race" or service.hedges.withdraw(trio.current_time())

    def hedge_unused(self) -> None:
        """The attempt that `may_hedge` allowed was not made."""
        if self.plan.strategy == "hedge":
            self.service.hedges.give_back()

    def may_repeat(self) -> bool:
        """Whether the house's budget allows to ask an endpoint again that has just failed."""
        return self.service.repeats.withdraw(trio.current_time())

    def decide(self, winner: AttemptRecord | None) -> None:
        """A race is over: the others that are cancelled from now on have lost it."""
        self.is_decided = True
        self.adopted = winner

    def hold_more(self, prompt_tokens: int, plan: Plan) -> Plan:
        """Reserve for one more round with that prompt; the plan without the attempts that do not
        fit. Raises Rejected 429, 503."""
        held, plan = reserve(self.service, self._admitted.passed, prompt_tokens, plan)
        self.held_too.append(held)
        self.prompt_tokens = prompt_tokens
        return plan

    # --- the end

    def note(self, record: AttemptRecord, outcome: AttemptOutcome) -> None:
        """An attempt has ended."""
        self.running.pop(record, None)
        self.tally.note(outcome, shown=record.shown)

    def forget(self, record: AttemptRecord) -> None:
        """The provider was not asked after all."""
        self.running.pop(record, None)

    @property
    def answered_by(self) -> str:
        """The `provider/id` whose words were the last of the answer; one attempt has ended."""
        last = self.tally.last
        return f"{last.provider}/{last.model}"

    def conclude(self, status: Ending) -> None:
        """Leave the receipt, and count what is charged. Only the first call does anything: what is
        known then is how it ended. Raises StoreError where the receipt found no room."""
        if self._concluded:
            return
        self._concluded = True
        charged = self._charged(status)
        if self.plan.strategy != "compare" and self.plugged is None:  # its rounds are no repeats
            self.service.metrics.further(self.tally.outcomes)
        self.service.metrics.plugged(self._reports)
        receipt = self.exchange.receipt = self._kept or self._receipt(status, charged)
        try:
            self.service.journal.append(receipt)
        finally:
            if charged == NOTHING:
                self._admitted.held.release()
            else:
                self._admitted.held.settle(charged)
            for held in self.held_too:
                held.release()

    @property
    def is_kept(self) -> bool:
        """Whether the caller may ask for the same answer again."""
        return self._admitted.keep is not None

    async def keep(self, answer: Answer) -> None:
        """Keep a complete answer and its receipt in one, where that may be asked for.

        `conclude` comes next, with nothing to wait for in between. Raises Rejected 503.
        """
        assert self._admitted.keep is not None
        receipt = self._receipt(Ending.COMPLETE, self._charged(Ending.COMPLETE))
        await self._admitted.keep(answer, receipt)
        self._kept = receipt

    def _charged(self, status: Ending) -> Amount:
        tier, spoken = self._admitted.passed.caller.tier, self._is_late or self._is_withheld
        return self.tally.charged(status, tier, spoken=spoken)

    def settle(self) -> Settlement:
        """What the caller is told of a complete answer. The receipt is left before it leaves."""
        self.conclude(Ending.COMPLETE)
        return self.settlement()

    def settlement(self) -> Settlement:
        """The same, where the receipt is still to be left."""
        healed = self.healed or Healed("")
        last, request = self.tally.last, self.call.request
        return Settlement(
            provider=self.service.catalog.provider(last.provider).display,
            model=last.model,
            cost=self.tally.cost,
            savings=self._savings(),
            estimated=self.tally.estimated,
            routed_from=request.model,
            receipt_id=self.receipt_id,
            attempts=len(self.tally.outcomes),
            strategy=self.plan.strategy,
            joins=self.joins,
            guardrails=self._fired,
            healed=healed.healed,
            healing=healed.done,
            unhealed=healed.why,
            plugins=self._reports,
        )

    def extension(self, settlement: Settlement) -> bytes:
        """The `x_kairosroute` object of the answer."""
        if not self.call.request.extension.explain:
            return extension_json(settlement)
        return extension_json(
            settlement, explain_json(self.plan, attempts_json(self.tally.outcomes))
        )

    def fields(self, attempt: Attempt | None) -> Headers:
        """What the head says of the answer before its cost is known. Of a comparison there is no
        one attempt, and no provider."""
        by = [] if attempt is None else [(PROVIDER, attempt.endpoint.provider.encode("ascii"))]
        return [
            *by,
            (RECEIPT, self.receipt_id.encode("ascii")),
            (b"server-timing", self._server_timing(attempt)),
            *limited_by(self._admitted.passed.rate, self._admitted.held),
        ]

    def _someone_again(self) -> float | None:
        """Seconds until the first of the plan's endpoints may be asked again; None: now."""
        known = self.service.routes.snapshot(trio.current_time())
        rests = [known[key].resting for key in self._keys() if key in known]
        return min(rests, default=0.0) or None

    def _keys(self) -> tuple[str, ...]:
        return tuple([spec.model.key for spec in self.plan.attempts])

    @property
    def _fired(self) -> tuple[Fired, ...]:
        return () if self.guarded is None else self.guarded.fired

    @property
    def _reports(self) -> tuple[PluginReport, ...]:
        return () if self.plugged is None else tuple(self.plugged.reports)

    def _savings(self) -> int:
        if self._reference is None:
            return 0
        return savings(self.tally.shown, self._reference, self.tally.cost)

    def _receipt(self, status: Ending, charged: Amount) -> Receipt:
        plan, exchange, caller = self.plan, self.exchange, self._admitted.passed.caller
        usage = self.tally.used if self.tally.has_shown else None
        chosen = plan.attempts[0].model
        latency = trio.current_time() - exchange.arrived
        firsts = [one.first_token for one in self.tally.outcomes if one.first_token is not None]
        return Receipt(
            receipt_id=self.receipt_id,
            account_id=caller.account.id,
            key_id=caller.key_id,
            arrived=self._admitted.passed.arrived,
            asked=self.call.request.model,
            stream=bool(self.call.request.stream),
            classification=plan.classification,
            candidates=plan.candidates,
            decision=Decision(
                model_id=chosen.id,
                provider=chosen.provider,
                strategy=plan.strategy,
                fallback_chain=self._keys(),
                dial=plan.dial,
            ),
            attempts=tuple(self.tally.outcomes),
            execution=Execution(
                status=status,
                cost=self.tally.cost,
                savings=0 if usage is None else self._savings(),
                latency=latency,
                first_token=min(firsts, default=None),
                usage=usage,
                joins=self.joins,
                healed=None if self.healed is None else self.healed.healed,
                charged_tokens=charged.tokens,
                charged_spend=charged.spend,
            ),
            policy_version=plan.policy_version,
            guardrails=self._fired,
            plugins=tuple(replace(one, cited=()) for one in self._reports),
        )

    def _server_timing(self, attempt: Attempt | None) -> bytes:
        """Where the time went, in milliseconds and in order (contract section 3). Whatever comes
        before the decision is `parse`: the body on its way, rules, plugins."""
        began = self._admitted.began
        parse, route = began - self.exchange.arrived, self._planned - began
        if attempt is None:
            return b"parse;dur=%.3f, route;dur=%.3f" % (1000 * parse, 1000 * route)
        times = attempt.times
        connect = times.connected - times.started - times.queued
        first = (times.first_token or times.head) - times.connected
        return _SPANS % (
            1000 * parse,
            1000 * route,
            1000 * times.queued,
            1000 * connect,
            1000 * first,
        )
