"""What every handler stands on: one frozen value, made by the composition root."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kproxy.admission.identity import Caller, bearer, identify
from kproxy.admission.keys import KeyRecord
from kproxy.admission.sidecar import local_caller
from kproxy.admission.tiers import Tier
from kproxy.catalog.load import Catalog, Price
from kproxy.downstream.exchange import Exchange
from kproxy.routing.budget import Budget
from kproxy.routing.live import Routes
from kproxy.routing.plan import AttemptPolicy
from kproxy.schema.jsonlimits import JsonLimits
from kproxy.schema.receipt import Receipt
from kproxy.store.desk import KeyDesk
from kproxy.telemetry.faultlog import FaultLog
from kproxy.telemetry.metrics import Metrics
from kproxy.transport.timers import Timers
from kproxy.upstream.endpoint import Endpoint

__all__ = ["Service"]


@dataclass(frozen=True, slots=True)
class Service:
    """`unix_now` is the wall clock in seconds; `ready` says whether new work is welcome.

    `heartbeat` is in seconds; `reference` is what savings are measured against. `record` keeps a
    receipt; `overloaded` says that there is no room for attempts that need not be. Without
    `lookup` no key is needed (`auth = "none"`); without `desk` none can be managed.
    """

    catalog: Catalog
    endpoints: Mapping[str, Endpoint]
    lookup: Callable[[bytes], KeyRecord | None] | None
    desk: KeyDesk | None
    tiers: Mapping[str, Tier]
    unix_now: Callable[[], float]
    ready: Callable[[], bool]
    policy: AttemptPolicy
    routes: Routes
    hedges: Budget
    repeats: Budget
    overloaded: Callable[[], bool]
    record: Callable[[Receipt], None]
    heartbeat: float
    json_limits: JsonLimits
    reference: Price | None
    metrics: Metrics
    faults: FaultLog
    timers: Timers

    def identify(self, exchange: Exchange) -> Caller:
        """Who is calling. Raises Rejected 401; without keys 403 for a foreign web page."""
        if self.lookup is None:
            return local_caller(exchange.head.headers)
        now = self.unix_now()
        caller = identify(bearer(exchange.head.headers), self.lookup, self.tiers, now)
        if self.desk is not None:
            self.desk.used(caller.key_id, now)
        return caller
