"""The composition root: a `Config` in, a serving process until a signal ends it.

Builds every room from narrow parameters, owns the outermost nursery, and takes everything down in
order: not ready, no new connections, exchanges finish within the drain time, then the rest is cut.
"""

import gc
import logging
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from urllib.parse import urlsplit

import trio

from kproxy.admission.keys import KeyRecord, Secret
from kproxy.api.guardrails import Guardrails, Moderation
from kproxy.api.idempotency import Once
from kproxy.api.plugged import Plugins
from kproxy.api.routes import ADMIN_ROUTES, PUBLIC_ROUTES, ROUTES, Router
from kproxy.api.service import Service
from kproxy.catalog.load import Catalog, load_packaged
from kproxy.config import Address, Config
from kproxy.config.catalog import build_catalog
from kproxy.config.guardrails import build_rules
from kproxy.config.params import (
    attempt_policy,
    health_params,
    hedge_budget,
    json_limits,
    listener_params,
    memories_params,
    repeat_budget,
)
from kproxy.config.providers import spoken
from kproxy.dialect.choose import dialect_for
from kproxy.dialect.openai import OpenAI
from kproxy.downstream.date import DateField
from kproxy.downstream.listener import Listener
from kproxy.offering import open_plugins
from kproxy.opening import Opened, open_all
from kproxy.orders import Orders, by_signals, carry_out
from kproxy.routing.appraise import Appraiser
from kproxy.routing.budget import Budget
from kproxy.routing.conversation import Conversations
from kproxy.routing.live import Routes
from kproxy.sharing import Turn, join
from kproxy.sim.serve import serve as serve_sim
from kproxy.store.board import Place
from kproxy.store.counters import Counters
from kproxy.store.journal import Journal
from kproxy.store.memories import Memories
from kproxy.store.opening import StoreParams, Stores, open_stores
from kproxy.telemetry.faultlog import FaultLog
from kproxy.telemetry.lag import LoopLag
from kproxy.telemetry.metrics import Metrics
from kproxy.transport.accept import open_listeners
from kproxy.transport.dial import Dial, Origin, dialler, tls_context
from kproxy.transport.hub import Hub
from kproxy.transport.pool import Pool, PoolParams
from kproxy.transport.renewal import Renewal
from kproxy.upstream.asking import ask
from kproxy.upstream.endpoint import AnswerLimits, Endpoint
from kproxy.wire.limits import H1Limits

__all__ = ["Seat", "Started", "serve", "serve_on"]

READERS = 2
"""Threads that may read receipts at one time."""

QUESTIONS = 256
"""Connections to the operator's classifier; requests beyond them wait, within its deadline."""

VERDICT = 65_536
"""Bytes of its answer; OpenAI's has two thousand."""

LOOKERS = 2
"""Threads that may look at long texts for the operator's rules, at one time."""

SIM_HOST = "127.0.0.1"


log = logging.getLogger("kproxy")


@dataclass(frozen=True, slots=True)
class Started:
    """What `serve` tells once it answers: where, and a key that is never shown again."""

    addresses: tuple[Address, ...]  # of callers, by TCP
    urls: tuple[str, ...]  # of callers, as people write them
    admin_urls: tuple[str, ...]
    first_key: str | None
    models: tuple[str, ...]
    passthrough: tuple[str, ...]  # providers that take any name, as slug/name
    simulated: bool
    keyless: bool  # auth = "none"


@dataclass(frozen=True, slots=True)
class Seat:
    """Who tells a process what to do, and its place among several; None: it is the only one."""

    orders: Orders = by_signals
    place: Place | None = None


async def serve(config: Config, announce: Callable[[Started], None]) -> None:
    """Serve until SIGTERM or SIGINT and the drain that follows; a second signal ends it now.

    Raises KproxyError where it cannot start. `announce` is called once, when requests are answered.
    """
    with ExitStack() as stack:
        await serve_on(config, open_all(stack, config), Seat(), announce)


async def serve_on(
    config: Config, opened: Opened, seat: Seat, announce: Callable[[Started], None]
) -> None:
    """`serve` on what is open already, as one of several processes or the only one."""
    with ExitStack() as stack:
        params = StoreParams(
            config.data_dir, config.seal_key, config.auth == "none", config.strict_ledger
        )
        stores = open_stores(stack, params, time.time())
        if seat.place is not None:
            opened = opened.shared(Turn(seat.place))
        memories = Memories(config.data_dir, memories_params(config))
        stack.callback(memories.close)
        _more_descriptors()
        await _run(config, stores, memories, opened, seat, announce)


async def _run(
    config: Config,
    stores: Stores,
    memories: Memories,
    opened: Opened,
    seat: Seat,
    announce: Callable[[Started], None],
) -> None:
    hub = Hub()
    offering = open_plugins(config, hub, memories, time.time)
    async with offering as plugins, trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        await nursery.start(stores.journal.run)
        endpoints = await _endpoints(config, hub, nursery)
        catalog = build_catalog(config)
        lag, draining = LoopLag(), trio.Event()
        nursery.start_soon(lag.run)
        classifier = _classifier(config, hub)
        parts = Parts(catalog, endpoints, stores, hub, draining, lag, classifier)
        parts = replace(parts, plugins=plugins, memories=memories)
        service = build_service(config, parts)
        params = listener_params(config, DateField(time.time))
        public = Router(service, PUBLIC_ROUTES if opened.admin else ROUTES)
        listener = Listener(hub, opened.public, public, params)
        admin = Listener(hub, opened.admin, Router(service, ADMIN_ROUTES), params)
        renewal = Renewal(opened.credentials)
        nursery.start_soon(renewal.run)
        metrics = service.metrics
        _watch(metrics, listener, hub, endpoints)
        _watch_process(metrics, lag, stores.journal, stores.counters)
        place, routes = seat.place, service.routes
        sharing = None if place is None else join(place, routes, metrics, time.monotonic)
        if stores.keys is not None:
            nursery.start_soon(stores.keys.desk.run)
        nursery.start_soon(stores.answers.run, stores.journal.append, time.time)
        patience = config.drain_timeout
        await nursery.start(carry_out, seat.orders, listener, draining, patience, renewal)
        await nursery.start(admin.serve)  # until the end: a draining process is still watched
        await nursery.start(listener.serve)
        gc.collect()
        gc.freeze()  # what lives from here to the end need not be looked at again
        if sharing is not None:
            sharing.show_all()
            nursery.start_soon(sharing.run)
        first = None if stores.keys is None else stores.keys.store.first_key(time.time())
        announce(_started(config, catalog, opened, first))
        await listener.wait_over()
        if sharing is not None:
            sharing.show_all()  # the last it has counted
        nursery.cancel_scope.cancel()
    for endpoint in (*endpoints.values(), *filter(None, [classifier])):
        endpoint.pool.close()
    hub.close()


def _started(
    config: Config,
    catalog: Catalog,
    opened: Opened,
    first: tuple[KeyRecord, str] | None,
) -> Started:
    return Started(
        addresses=opened.addresses,
        urls=opened.urls,
        admin_urls=opened.admin_urls,
        first_key=None if first is None else first[1],
        models=tuple(dict.fromkeys(model.id for model in catalog.models if model.enabled)),
        passthrough=tuple(slug for slug, one in config.providers.items() if one.models == "any"),
        simulated=all(given.dialect == "sim" for given in config.providers.values()),
        keyless=config.auth == "none",
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """What the handlers stand on that lives as long as the process."""

    catalog: Catalog
    endpoints: Mapping[str, Endpoint]
    stores: Stores
    hub: Hub
    draining: trio.Event
    lag: LoopLag
    classifier: Endpoint | None = None
    plugins: Plugins = field(default_factory=Plugins)
    memories: Memories | None = None


def build_service(config: Config, parts: Parts) -> Service:
    """Everything the handlers need, from the parts."""
    catalog, name = parts.catalog, config.reference_model
    stores, keys = parts.stores, parts.stores.keys
    faults = FaultLog()
    rows = (*catalog.by_id(name), *load_packaged().by_id(name))
    reference = next((row.price for row in rows if row.price is not None), None)
    return Service(
        catalog=catalog,
        endpoints=parts.endpoints,
        lookup=None if keys is None else keys.store.lookup,
        desk=None if keys is None else keys.desk,
        tiers=config.tiers,
        unix_now=time.time,
        boot_ns=partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME),
        ready=lambda: not parts.draining.is_set(),
        policy=attempt_policy(config),
        appraise=Appraiser(config.router, catalog.models),
        conversations=Conversations(),
        routes=Routes((model.key for model in catalog.models), health_params(config)),
        hedges=Budget(hedge_budget(config)),
        repeats=Budget(repeat_budget(config)),
        overloaded=parts.lag.overloaded,
        limits=stores.counters,
        journal=stores.journal,
        readers=trio.CapacityLimiter(READERS),
        heartbeat=config.timeouts.heartbeat,
        json_limits=json_limits(config),
        reference=reference,
        metrics=Metrics((model.provider, model.id) for model in catalog.models),
        faults=faults,
        timers=parts.hub.timers,
        receipts=stores.receipts,
        once=Once(stores.answers, time.time),
        guardrails=_guardrails(config, parts.classifier, faults),
        plugins=parts.plugins,
        memories=parts.memories,
    )


def _guardrails(config: Config, classifier: Endpoint | None, faults: FaultLog) -> Guardrails | None:
    """What looks at texts; None: nothing was configured, and nothing is imported for it."""
    given, moderation = config.guardrails, None
    if not given.rules and classifier is None:
        return None
    if classifier is not None and given.moderation is not None:
        moderation = Moderation(
            ask=partial(ask, classifier, given.moderation.deadline),
            model=given.moderation.model,
            max_bytes=given.moderation.max_bytes,
            fails_open=given.moderation.fail == "open",
            note=lambda fault: faults.note("guardrails", "moderation", fault, trio.current_time()),
        )
    asked, answered = build_rules(given)
    return Guardrails(asked, answered, moderation, trio.CapacityLimiter(LOOKERS))


def _watch(
    metrics: Metrics, listener: Listener, hub: Hub, endpoints: Mapping[str, Endpoint]
) -> None:
    metrics.watch("kproxy_connections", "Connections of callers.", lambda: listener.statistics()[0])
    metrics.watch(
        "kproxy_connections_refused",
        "Connections closed at once, over a limit.",
        lambda: listener.statistics()[1],
        "total",
    )
    metrics.watch(
        "kproxy_connections_turned_away",
        "Connections that ended in their PROXY header or TLS handshake.",
        lambda: listener.turned_away,
        "total",
    )
    metrics.watch("kproxy_sockets", "Sockets in the hub.", lambda: hub.statistics().sockets)
    pools: dict[tuple[str, ...], Callable[[], float]] = {}
    for slug, endpoint in endpoints.items():
        pools[slug, "leased"] = partial(_leased, endpoint.pool)
        pools[slug, "idle"] = partial(_idle, endpoint.pool)
    metrics.watch_each(
        "kproxy_upstream_connections", "Connections to providers.", ("provider", "state"), pools
    )


def _watch_process(metrics: Metrics, lag: LoopLag, journal: Journal, counters: Counters) -> None:
    metrics.watch(
        "kproxy_loop_lag_seconds", "Lateness of the event loop.", lambda: lag.seconds, "max"
    )
    metrics.watch(
        "kproxy_limits_unlocked",
        "Times that a slot of the shared counters was used without its lock.",
        lambda: counters.unlocked,
        "total",
    )
    metrics.watch(
        "kproxy_ledger_unmoved_bytes",
        "Receipts that are not in the database yet.",
        lambda: journal.statistics().unmoved,
    )
    metrics.watch(
        "kproxy_ledger_healthy",
        "Whether receipts find room.",
        lambda: journal.statistics().healthy,
        "min",
    )


def _leased(pool: Pool) -> float:
    return pool.statistics().leased


def _idle(pool: Pool) -> float:
    return pool.statistics().idle


async def _endpoints(config: Config, hub: Hub, nursery: trio.Nursery) -> dict[str, Endpoint]:
    """One endpoint for each provider; simulated ones share a real socket on loopback."""
    sims = [slug for slug, given in config.providers.items() if given.dialect == "sim"]
    sim_url = ""
    if sims:
        sockets = open_listeners(SIM_HOST, 0)
        sim_url = f"http://{SIM_HOST}:{sockets[0].getsockname()[1]}"
        await nursery.start(serve_sim, config.sim, sockets, hub)
    secure = any((given.base_url or "").startswith("https") for given in config.providers.values())
    dial = dialler(hub, tls_context() if secure else None)
    return {
        slug: _endpoint(config, slug, given.base_url or f"{sim_url}/{slug}/v1", dial, hub)
        for slug, given in config.providers.items()
    }


def _endpoint(config: Config, slug: str, url: str, dial: Dial, hub: Hub) -> Endpoint:
    given, limits, times = config.providers[slug], config.limits, config.timeouts
    origin, path = _place(url)
    dialect = dialect_for(spoken(slug, given), origin.host)
    params = PoolParams(given.max_connections, times.connect, times.upstream_keep_alive)
    return Endpoint(
        provider=slug,
        dialect=dialect,
        pool=Pool(origin, dial, hub.timers, params),
        target=path + dialect.path,
        api_key=given.api_key or Secret(""),
        h1=H1Limits(response_head=limits.upstream_head),
        limits=AnswerLimits(limits.upstream_body, limits.sse_line, limits.sse_event),
    )


def _place(url: str) -> tuple[Origin, str]:
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    return Origin(parts.hostname or "", parts.port or (443 if tls else 80), tls), parts.path


def _classifier(config: Config, hub: Hub) -> Endpoint | None:
    """The operator's own endpoint for moderation, off the relay's path."""
    given, limits, times = config.guardrails.moderation, config.limits, config.timeouts
    if given is None:
        return None
    origin, path = _place(given.url)
    dial = dialler(hub, tls_context() if origin.tls else None)
    return Endpoint(
        provider="guardrails",
        dialect=OpenAI(),
        pool=Pool(origin, dial, hub.timers, PoolParams(QUESTIONS, times.connect)),
        target=path or "/",
        api_key=given.api_key or Secret(""),
        h1=H1Limits(response_head=limits.upstream_head),
        limits=AnswerLimits(body=VERDICT),
    )


def _more_descriptors() -> None:
    """Raise the soft limit of open files to the hard one; each stream holds two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
