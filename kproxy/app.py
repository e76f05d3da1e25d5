"""The composition root: a `Config` in, a serving process until a signal ends it.

Opens what lives as long as the process, has the rest assembled (assembly.py), owns the outermost
nursery, and takes everything down in order: not ready, no new connections, exchanges finish within
the drain time, then the rest is cut.
"""

import gc
import logging
import resource
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import trio

from kproxy.admission.keys import KeyRecord
from kproxy.api.routes import ADMIN_ROUTES, PUBLIC_ROUTES, ROUTES, Router
from kproxy.api.service import Service
from kproxy.assembly import Assembly, Parts, draw
from kproxy.catalog.load import Catalog
from kproxy.config import Address, Config
from kproxy.config.params import listener_params, memories_params
from kproxy.downstream.date import DateField
from kproxy.downstream.listener import Listener
from kproxy.endpoints import Endpoints, plays
from kproxy.offering import open_plugins
from kproxy.opening import Opened, open_all
from kproxy.orders import End, Hangup, Orders, by_signals, carry_out
from kproxy.reload import Reload
from kproxy.sharing import Turn, join
from kproxy.store.board import Place
from kproxy.store.counters import Counters
from kproxy.store.journal import Journal
from kproxy.store.memories import Memories
from kproxy.store.opening import StoreParams, Stores, open_stores
from kproxy.telemetry.accesslog import AccessLog
from kproxy.telemetry.lag import LoopLag
from kproxy.telemetry.metrics import Metrics
from kproxy.telemetry.traces import Traces, open_traces
from kproxy.transport.hub import Hub
from kproxy.transport.renewal import Renewal

__all__ = ["Seat", "Started", "serve", "serve_on"]

YOUNG = 10_000
"""Objects made, and not gone by themselves, after which cycles are looked for among them. Python's
700 looks ten times for each of some requests under way, and finds none: a twelfth of a request."""

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
    """Who tells a process what to do, and its place among several; None: it is the only one.

    `reread` reads the configuration anew, in a thread; None: it stays as it is.
    """

    orders: Orders = by_signals
    place: Place | None = None
    reread: Callable[[], Config] | None = None


async def serve(
    config: Config,
    announce: Callable[[Started], None],
    reread: Callable[[], Config] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT and the drain that follows; a second signal ends it now.

    Raises KproxyError where it cannot start. `announce` is called once, when requests are answered.
    SIGHUP has the configuration read anew by `reread`, in a thread; None: it stays as it is.
    """
    with ExitStack() as stack:
        await serve_on(config, open_all(stack, config), Seat(reread=reread), announce)


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
        access = _open_access_log(stack, config.access_log)
        await _run(config, Standing(stores, memories, opened, access), seat, announce)


def _open_access_log(stack: ExitStack, named: str | None) -> AccessLog | None:
    """Raises AccessLogError."""
    if named is None:
        return None
    access = AccessLog(None if named == "-" else Path(named))
    access.open()
    stack.callback(access.close)
    return access


class Standing(NamedTuple):
    """What is open before anything runs, and closed after everything."""

    stores: Stores
    memories: Memories
    opened: Opened
    access: AccessLog | None


async def _run(
    config: Config, standing: Standing, seat: Seat, announce: Callable[[Started], None]
) -> None:
    hub, (stores, memories, opened, access) = Hub(), standing
    offering = open_plugins(config, hub, memories, time.time)
    async with offering as plugins, trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        await nursery.start(stores.journal.run)
        endpoints, lag, end = Endpoints(hub), LoopLag(), End(trio.Event(), trio.Event())
        if plays(config):
            await endpoints.play(config.sim, nursery)
        nursery.start_soon(lag.run)
        traces = None if config.otlp is None else open_traces(config.otlp, hub)
        parts = Parts(stores, hub, end.draining, lag, time.time, plugins, memories, access, traces)
        assembly = Assembly(parts, endpoints, draw(config, endpoints))
        await assembly.name_left_out()
        service, metrics, date = assembly.service, parts.metrics, DateField(time.time)
        params = listener_params(config, date)
        public = Router(service, PUBLIC_ROUTES if opened.admin else ROUTES)
        operators = Router(service, ADMIN_ROUTES)
        listener = Listener(hub, opened.public, public, params)
        admin = Listener(hub, opened.admin, operators, params)

        def put(service: Service, config: Config) -> None:
            for router, one in ((public, listener), (operators, admin)):
                router.use(service)
                one.change(listener_params(config, date))

        reload = Reload(assembly, seat.reread or (lambda: config), put)
        renewal = Renewal(opened.credentials)
        for run in (endpoints.run, reload.run, renewal.run):
            nursery.start_soon(run)
        renew: list[Callable[[], object]] = [renewal.ask, reload.ask]
        if access is not None:
            renew.append(access.reopen)
        _write_down(parts, nursery)
        _watch(metrics, listener, hub, endpoints)
        _watch_process(metrics, lag, stores.journal, stores.counters)
        _watch_configuration(metrics, assembly, reload)
        place, routes = seat.place, service.routes
        sharing = None if place is None else join(place, routes, metrics, time.monotonic)
        if stores.keys is not None:
            nursery.start_soon(stores.keys.desk.run)
        nursery.start_soon(stores.answers.run, stores.journal.append, time.time)
        hangup = Hangup(renew, lambda: assembly.config.drain_timeout)
        await nursery.start(carry_out, seat.orders, listener, end, hangup)
        await nursery.start(admin.serve)  # until the end: a draining process is still watched
        await nursery.start(listener.serve)
        _spare_cycles()
        if sharing is not None:
            sharing.show_all()
            nursery.start_soon(sharing.run)
        first = None if stores.keys is None else stores.keys.store.first_key(time.time())
        announce(_started(config, service.catalog, opened, first))
        await _over(listener, traces, end.hurried)
        if sharing is not None:
            sharing.show_all()  # the last it has counted
        nursery.cancel_scope.cancel()
    endpoints.close()
    hub.close()


def _spare_cycles() -> None:
    """What lives from here to the end need not be looked at again, and what comes not so often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


def _write_down(parts: Parts, writers: trio.Nursery) -> None:
    """What becomes of requests, where somebody wants to know; its tasks live as long as we do."""
    if parts.access is not None:
        writers.start_soon(parts.access.run)
        _watch_access(parts.metrics, parts.access)
    if parts.traces is not None:
        writers.start_soon(parts.traces.run)
        _watch_traces(parts.metrics, parts.traces)


async def _over(listener: Listener, traces: Traces | None, hurried: trio.Event) -> None:
    """Until the last exchange has ended, and its spans are sent or given up."""
    await listener.wait_over()
    if traces is not None:
        await traces.flush(hurried)


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


def _watch(metrics: Metrics, listener: Listener, hub: Hub, endpoints: Endpoints) -> None:
    metrics.watch("kproxy_connections", "Connections of callers.", lambda: listener.statistics()[0])
    metrics.watch_count(
        "kproxy_connections_refused",
        "Connections closed at once, over a limit.",
        lambda: listener.statistics()[1],
    )
    metrics.watch_count(
        "kproxy_connections_turned_away",
        "Connections that ended in their PROXY header or TLS handshake.",
        lambda: listener.turned_away,
    )
    metrics.watch("kproxy_sockets", "Sockets in the hub.", lambda: hub.statistics().sockets)
    metrics.watch_each(
        "kproxy_upstream_connections",
        "Connections to providers.",
        ("provider", "state"),
        partial(_connections, endpoints),
    )


def _watch_access(metrics: Metrics, access: AccessLog) -> None:
    metrics.watch_count(
        "kproxy_access_log_written",
        "Lines of the access log.",
        lambda: access.written,
    )
    metrics.watch_count(
        "kproxy_access_log_dropped",
        "Lines that found no room, or could not be written.",
        lambda: access.dropped,
    )


def _watch_traces(metrics: Metrics, traces: Traces) -> None:
    metrics.watch_count(
        "kproxy_spans_exported",
        "Spans that a collector has taken.",
        lambda: traces.exported,
    )
    metrics.watch_count(
        "kproxy_spans_dropped",
        "Spans that found no room, or that no collector has taken.",
        lambda: traces.dropped,
    )


def _connections(endpoints: Endpoints) -> dict[tuple[str, ...], float]:
    counts: Counter[tuple[str, ...]] = Counter()
    for slug, pool in endpoints.pools():
        now = pool.statistics()
        counts[slug, "leased"] += now.leased
        counts[slug, "idle"] += now.idle
        if pool.params.http2:
            counts[slug, "shared"] += now.shared
    return dict(counts)


def _watch_configuration(metrics: Metrics, assembly: Assembly, reload: Reload) -> None:
    metrics.watch(
        "kproxy_config_generation",
        "Configurations put in force since the start.",
        lambda: assembly.generation,
        "max",
    )
    metrics.watch_count(
        "kproxy_config_refused",
        "Configurations that were found wrong, so that the old one stayed.",
        lambda: reload.refused,
        "max",
    )


def _watch_process(metrics: Metrics, lag: LoopLag, journal: Journal, counters: Counters) -> None:
    metrics.watch(
        "kproxy_loop_lag_seconds", "Lateness of the event loop.", lambda: lag.seconds, "max"
    )
    metrics.watch_count(
        "kproxy_limits_unlocked",
        "Times that a slot of the shared counters was used without its lock.",
        lambda: counters.unlocked,
    )
    metrics.watch(
        "kproxy_ledger_unmoved_bytes",
        "Receipts that are not in the database yet.",
        lambda: journal.statistics().unmoved,
    )
    metrics.watch(
        "kproxy_ledger_held",
        "Receipts in memory alone, until there is room for them.",
        lambda: journal.statistics().held,
    )
    metrics.watch(
        "kproxy_ledger_healthy",
        "Whether receipts find room.",
        lambda: journal.statistics().healthy,
        "min",
    )


def _more_descriptors() -> None:
    """Raise the soft limit of open files to the hard one; each stream holds two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
