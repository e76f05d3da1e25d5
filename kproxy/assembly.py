"""A configuration and what lives as long as the process in; everything that handlers need out.

The same again for the next configuration: `draw` makes all that it wants beside what is in force,
and may be called in a thread; `adopt` puts it in force in one synchronous step. A request takes the
service once, when it begins, and ends with what it began with. What has been learned goes on:
windows, health, conversations, budgets, counters.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import trio

from kproxy.api.apart import Apart
from kproxy.api.guardrails import Guardrails, Moderation
from kproxy.api.idempotency import Once
from kproxy.api.plugged import Plugins
from kproxy.api.service import Pressure, Service
from kproxy.catalog.load import Catalog, Price, load_packaged
from kproxy.config import Config
from kproxy.config.catalog import build_catalog
from kproxy.config.guardrails import build_rules
from kproxy.config.params import (
    attempt_policy,
    health_params,
    hedge_budget,
    json_limits,
    repeat_budget,
)
from kproxy.endpoints import CLASSIFIER, Drawn, Endpoints
from kproxy.guard.rules import Ruleset
from kproxy.routing.appraise import Appraiser
from kproxy.routing.budget import Budget
from kproxy.routing.conversation import Conversations
from kproxy.routing.live import Routes
from kproxy.store.database import StoreError
from kproxy.store.keystore import KeyStore
from kproxy.store.memories import Memories
from kproxy.store.opening import Stores
from kproxy.telemetry.accesslog import AccessLog
from kproxy.telemetry.faultlog import FaultLog
from kproxy.telemetry.lag import LoopLag
from kproxy.telemetry.metrics import Metrics
from kproxy.telemetry.traces import Traces
from kproxy.transport.hub import Hub
from kproxy.upstream.asking import ask

__all__ = ["Assembly", "Draft", "Parts", "draw"]

log = logging.getLogger("kproxy.assembly")

READERS = 2
"""Threads that may read receipts at one time."""

LOOKERS = 2
"""Threads that may look at long texts for the operator's rules, at one time."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the handlers stand on that lives as long as the process. `unix_now`: the wall clock."""

    stores: Stores
    hub: Hub
    draining: trio.Event
    lag: LoopLag
    unix_now: Callable[[], float]
    plugins: Plugins = field(default_factory=Plugins)
    memories: Memories | None = None
    access: AccessLog | None = None
    traces: Traces | None = None
    metrics: Metrics = field(default_factory=lambda: Metrics(()))
    faults: FaultLog = field(default_factory=FaultLog)
    conversations: Conversations = field(default_factory=Conversations)
    apart: Apart = field(default_factory=Apart)
    readers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(READERS))
    renderers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1))
    lookers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(LOOKERS))


class Draft(NamedTuple):
    """What one configuration comes to, before it is in force."""

    config: Config
    catalog: Catalog
    drawn: Drawn
    appraiser: Appraiser
    reference: Price | None
    rules: tuple[Ruleset | None, Ruleset | None]


class Budgets(NamedTuple):
    """For attempts beside others, and for asking the same again."""

    hedges: Budget
    repeats: Budget


class Assembly:
    """The configuration in force, and the `service` by it; `generation` counts them from 1."""

    def __init__(self, parts: Parts, endpoints: Endpoints, draft: Draft) -> None:
        self.parts = parts
        self.endpoints = endpoints
        self.generation = 0
        self._once = Once(parts.stores.answers, parts.unix_now)
        self._routes = Routes((), health_params(draft.config))
        self._budgets = Budgets(
            Budget(hedge_budget(draft.config)), Budget(repeat_budget(draft.config))
        )
        self.config = draft.config
        self.service = self.adopt(draft)

    def __repr__(self) -> str:
        return f"<Assembly {self.generation}: {self.endpoints!r}>"

    def adopt(self, draft: Draft) -> Service:
        """Put it in force, whole: nothing of it can fail."""
        config, drawn = draft.config, draft.drawn
        keys = (model.key for model in draft.catalog.models)
        self._routes.renew(keys, health_params(config), drawn.moved, drawn.rekeyed)
        if config.attempts != self.config.attempts:
            self._budgets = Budgets(Budget(hedge_budget(config)), Budget(repeat_budget(config)))
        self.parts.metrics.know((model.provider, model.id) for model in draft.catalog.models)
        self.endpoints.adopt(drawn)
        self.config = config
        self.generation += 1
        self.service = self._service(draft)
        return self.service

    async def name_left_out(self) -> None:
        """Tell of accounts whose tier is not configured: refused, they keep all they have."""
        keys = self.parts.stores.keys
        try:
            counts = {} if keys is None else await keys.desk.ask(KeyStore.tiers)
        except StoreError as error:
            log.error("whose tier is configured cannot be seen: %s", error)
            return
        for tier, count in counts.items():
            if tier not in self.config.tiers:
                log.warning('tier "%s" is not configured: its accounts (%d) get 403', tier, count)

    def _service(self, draft: Draft) -> Service:
        config, catalog, parts = draft.config, draft.catalog, self.parts
        stores, keys = parts.stores, parts.stores.keys
        return Service(
            catalog=catalog,
            endpoints=draft.drawn.providers,
            lookup=None if keys is None else keys.store.lookup,
            desk=None if keys is None else keys.desk,
            tiers=config.tiers,
            unix_now=parts.unix_now,
            boot_ns=partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME),
            ready=lambda: not parts.draining.is_set(),
            policy=attempt_policy(config),
            appraise=draft.appraiser,
            conversations=parts.conversations,
            routes=self._routes,
            hedges=self._budgets.hedges,
            repeats=self._budgets.repeats,
            overloaded=parts.lag.overloaded,
            limits=stores.counters,
            journal=stores.journal,
            readers=parts.readers,
            heartbeat=config.timeouts.heartbeat,
            json_limits=json_limits(config),
            reference=draft.reference,
            metrics=parts.metrics,
            faults=parts.faults,
            timers=parts.hub.timers,
            receipts=stores.receipts,
            once=self._once,
            pressure=Pressure(
                lambda: parts.lag.standing, config.timeouts.turn, config.timeouts.queue
            ),
            access=parts.access,
            traces=parts.traces,
            guardrails=_guardrails(draft, parts),
            plugins=parts.plugins,
            memories=parts.memories,
            apart=parts.apart,
            renderers=parts.renderers,
        )


def draw(config: Config, endpoints: Endpoints) -> Draft:
    """All that a configuration wants, which takes tens of milliseconds: fit for a thread.

    Raises what is wrong with it that reading it has not shown.
    """
    catalog, name = build_catalog(config), config.reference_model
    rows = (*catalog.by_id(name), *load_packaged().by_id(name))
    return Draft(
        config=config,
        catalog=catalog,
        drawn=endpoints.draw(config),
        appraiser=Appraiser(config.router, catalog.models),
        reference=next((row.price for row in rows if row.price is not None), None),
        rules=build_rules(config.guardrails),
    )


def _guardrails(draft: Draft, parts: Parts) -> Guardrails | None:
    """What looks at texts; None: nothing was configured, and nothing is imported for it."""
    given, classifier = draft.config.guardrails, draft.drawn.classifier
    if not given.rules and classifier is None:
        return None
    moderation = None
    if classifier is not None and given.moderation is not None:
        moderation = Moderation(
            ask=partial(ask, classifier, given.moderation.deadline),
            model=given.moderation.model,
            max_bytes=given.moderation.max_bytes,
            fails_open=given.moderation.fail == "open",
            note=lambda fault: parts.faults.note(
                CLASSIFIER, "moderation", fault, trio.current_time()
            ),
        )
    asked, answered = draft.rules
    return Guardrails(asked, answered, moderation, parts.lookers)
