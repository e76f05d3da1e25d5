"""What every handler stands on: one frozen value, made by the composition root."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import trio

from kproxy.admission.identity import Caller, bearer, identify
from kproxy.admission.keys import KeyRecord
from kproxy.admission.quota import Amount
from kproxy.admission.ratelimit import RateParams, Verdict
from kproxy.admission.shedding import LATE_TURN, shed
from kproxy.admission.sidecar import local_caller
from kproxy.admission.standing import Standing
from kproxy.admission.tiers import Tier
from kproxy.api.apart import Apart
from kproxy.api.guardrails import Guardrails
from kproxy.api.idempotency import Once
from kproxy.api.plugged import Plugins
from kproxy.catalog.load import Catalog, Price
from kproxy.downstream.exchange import Exchange
from kproxy.routing.appraise import Appraisal
from kproxy.routing.budget import Budget
from kproxy.routing.conversation import Conversations
from kproxy.routing.live import Routes
from kproxy.routing.plan import AttemptPolicy
from kproxy.schema.chat import ChatRequest
from kproxy.schema.jsonlimits import JsonLimits
from kproxy.schema.receipt import Receipt
from kproxy.store.desk import KeyDesk
from kproxy.store.memories import Memories
from kproxy.store.receipts import Receipts
from kproxy.telemetry.accesslog import AccessLog
from kproxy.telemetry.faultlog import FaultLog
from kproxy.telemetry.metrics import Metrics
from kproxy.telemetry.traces import Traces
from kproxy.transport.timers import Timers
from kproxy.upstream.endpoint import Endpoint

__all__ = ["Pressure", "Service"]


NO_QUEUES: Mapping[str, float] = MappingProxyType({})


class Ledger(Protocol):
    """Where receipts go (store/journal.py)."""

    @property
    def healthy(self) -> bool:
        """Whether there is room for the receipts of what is admitted now."""
        ...

    @property
    def strict(self) -> bool:
        """Whether an answer's last bytes wait until its receipt survives a power cut."""
        ...

    def append(self, receipt: Receipt) -> None:
        """Keep a receipt: in the kernel's hands when this returns. Raises StoreError."""
        ...

    async def durable(self) -> None:
        """Until everything appended so far is on the disk. Raises StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class Pressure:
    """When new requests are refused. `turn`: seconds that a turn of the event loop takes now, and
    `late` how many it may. `queue`: seconds in the queue for a provider's connection, likewise."""

    turn: Callable[[], float] = lambda: 0.0
    late: float = LATE_TURN
    queue: float = 5.0


class Held(Protocol):
    """A reservation, ended exactly once."""

    @property
    def standing(self) -> Standing | None:
        """The month's tokens with it reserved; None: no limit."""
        ...

    def settle(self, used: Amount) -> None:
        """Count what was used instead."""
        ...

    def release(self) -> None:
        """Count nothing."""
        ...


class Limits(Protocol):
    """What accounts may use, shared by all workers (store/counters.py)."""

    def take(self, account_id: str, rate: RateParams | None, now_ns: int) -> Verdict | None:
        """One request of the rate; None: no limit."""
        ...

    def reserve(self, account_id: str, tier: Tier, asked: Amount, now: float) -> Held:
        """What a request may use. Raises Rejected 429."""
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """`unix_now` is the wall clock in seconds; `ready` says whether new work is welcome.

    `appraise` is the learned router, see `routing/appraise.py`. `boot_ns` is a clock that nobody
    can set, in nanoseconds. `heartbeat` is in seconds; `reference` is what savings are measured
    against. `overloaded` says that there is no room for attempts that need not be. Without
    `lookup` no key is needed (`auth = "none"`); without `desk` none can be managed.
    """

    catalog: Catalog
    endpoints: Mapping[str, Endpoint]
    lookup: Callable[[bytes], KeyRecord | None] | None
    desk: KeyDesk | None
    tiers: Mapping[str, Tier]
    unix_now: Callable[[], float]
    boot_ns: Callable[[], int]
    ready: Callable[[], bool]
    policy: AttemptPolicy
    appraise: Callable[[ChatRequest], Appraisal | None]
    conversations: Conversations
    routes: Routes
    hedges: Budget
    repeats: Budget
    overloaded: Callable[[], bool]
    limits: Limits
    journal: Ledger
    readers: trio.CapacityLimiter  # of threads that read receipts: they must not hold up writing
    heartbeat: float
    json_limits: JsonLimits
    reference: Price | None
    metrics: Metrics
    faults: FaultLog
    timers: Timers
    receipts: Receipts
    once: Once
    pressure: Pressure = Pressure()
    access: AccessLog | None = None  # None: there is no access log
    traces: Traces | None = None  # None: nothing is traced
    guardrails: Guardrails | None = None  # None: nobody looks at what is said
    apart: Apart = field(default_factory=Apart)
    plugins: Plugins = field(default_factory=Plugins)
    memories: Memories | None = None  # opened where somebody asks
    # One rendering at a time, so that whoever may ask for metrics holds up one thread at most.
    renderers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1))

    def make_room(self, exchange: Exchange) -> None:
        """Raises Rejected 503 where there is more to do than can be done in time."""
        pressure = self.pressure
        turn = pressure.turn()
        if turn > pressure.late:
            refusal = shed(turn, pressure.late, exchange.chance)
            if refusal is not None:
                raise refusal

    def queues(self, now: float) -> Mapping[str, float]:
        """Providers for whose connections others wait too long already, and how many seconds."""
        found: Mapping[str, float] = NO_QUEUES
        for slug, endpoint in self.endpoints.items():
            if endpoint.pool.queued:
                wait = endpoint.pool.wait(now)
                if wait > self.pressure.queue:
                    found = {**found, slug: wait}
        return found

    def identify(self, exchange: Exchange) -> Caller:
        """Who is calling. Raises Rejected 401; without keys 403 for a foreign web page."""
        headers = exchange.head.headers
        if self.lookup is None:
            caller = local_caller(headers)
        else:
            now = self.unix_now()
            caller = identify(bearer(headers), self.lookup, self.tiers, now)
            if self.desk is not None:
                self.desk.used(caller.key_id, now)
        exchange.account_id, exchange.key_id = caller.account.id, caller.key_id
        return caller
