"""The configured providers in, an endpoint for each out; and for another configuration once more.

A pool stays where its address and its limits have stayed, with its connections. One that has no
place any more keeps nothing: what is idle is closed, and what is leased ends with its owner.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import trio

from kproxy.admission.keys import Secret
from kproxy.config import Config, ProviderConfig
from kproxy.config.providers import spoken
from kproxy.dialect.choose import dialect_for
from kproxy.dialect.openai import OpenAI
from kproxy.sim.params import SimParams
from kproxy.transport.accept import open_listeners
from kproxy.transport.dial import Dial, Origin, dialler, prepare, tls_context
from kproxy.transport.duplex import Duplex
from kproxy.transport.hub import Hub
from kproxy.transport.keeper import Keeper
from kproxy.transport.pool import Pool, PoolParams, Shared
from kproxy.upstream.endpoint import AnswerLimits, Endpoint
from kproxy.wire.limits import H1Limits

__all__ = ["CLASSIFIER", "Drawn", "Endpoints", "plays"]

CLASSIFIER = "guardrails"
"""The slug of the operator's endpoint for moderation: no provider, off the relay's path."""

SIM_HOST = "127.0.0.1"

QUESTIONS = 256
"""Connections to it; requests beyond them wait, within its deadline."""

VERDICT = 65_536
"""Bytes of its answer; OpenAI's has two thousand."""


def plays(config: Config) -> bool:
    """Whether a provider is simulated."""
    return any(given.dialect == "sim" for given in config.providers.values())


class Drawn(NamedTuple):
    """What a configuration wants, not in force yet.

    `moved`: slugs of those that are at another address now, `rekeyed`: with another key.
    """

    providers: Mapping[str, Endpoint]
    classifier: Endpoint | None
    moved: frozenset[str]
    rekeyed: frozenset[str]


class Endpoints:
    """Every connection of the process to a provider. `close` ends what nobody holds."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._plain = dialler(hub, None)
        self._secure: dict[bool, Dial] = {}  # by whether HTTP/2 is offered
        self._keeper = Keeper()
        self._now = Drawn({}, None, frozenset(), frozenset())
        self._retired: list[tuple[str, Pool]] = []
        self.sim_url = ""  # of the simulated providers, once they run

    def __repr__(self) -> str:
        return f"<Endpoints {', '.join(self._now.providers)}; {len(self._retired)} pools retired>"

    async def play(self, params: SimParams, players: trio.Nursery) -> None:
        """Let simulated providers answer, on a real socket on loopback. Only once; their task lives
        in `players`, as long as the process."""
        from kproxy.sim.serve import serve as serve_sim

        sockets = open_listeners(SIM_HOST, 0)
        self.sim_url = f"http://{SIM_HOST}:{sockets[0].getsockname()[1]}"
        await players.start(serve_sim, params, sockets, self._hub)

    async def run(self) -> None:
        """Own the connections that requests share, until cancelled."""
        await self._keeper.run()

    def draw(self, config: Config) -> Drawn:
        """The endpoints of a configuration; what is in force stays untouched.

        The first that wants TLS takes 50 ms, the first at a name 15: it may be called in a thread.
        """
        before = self._now.providers
        providers = {
            slug: self._endpoint(config, slug, given) for slug, given in config.providers.items()
        }
        both = [(slug, before[slug], one) for slug, one in providers.items() if slug in before]
        return Drawn(
            providers,
            self._classifier(config),
            frozenset(slug for slug, old, new in both if _place_of(old) != _place_of(new)),
            frozenset(slug for slug, old, new in both if old.api_key != new.api_key),
        )

    def adopt(self, drawn: Drawn) -> None:
        """From now on these are the endpoints. Pools that are none of theirs are retired."""
        kept = {id(one.pool) for one in _all(drawn)}
        self._retired = [one for one in self._retired if one[1].statistics().leased]
        for one in _all(self._now):
            if id(one.pool) not in kept:
                one.pool.close()
                self._retired.append((one.provider, one.pool))
        self._now = drawn

    def pools(self) -> Iterator[tuple[str, Pool]]:
        """Every pool of a provider, in force or retired. For any thread."""
        yield from tuple(self._retired)
        yield from ((slug, one.pool) for slug, one in self._now.providers.items())

    def close(self) -> None:
        """Close what nobody holds; leases that are out end with their owners."""
        for one in _all(self._now):
            one.pool.close()

    def _endpoint(self, config: Config, slug: str, given: ProviderConfig) -> Endpoint:
        limits, times = config.limits, config.timeouts
        origin, path = _place(given.base_url or f"{self.sim_url}/{slug}/v1")
        dialect = dialect_for(spoken(slug, given), origin.host)
        params = PoolParams(
            given.max_connections, times.connect, times.upstream_keep_alive, given.http2
        )
        h1 = H1Limits(response_head=limits.upstream_head)
        return Endpoint(
            provider=slug,
            dialect=dialect,
            pool=self._pool(self._now.providers.get(slug), origin, params, h1),
            target=path + dialect.path,
            api_key=given.api_key or Secret(""),
            h1=h1,
            limits=AnswerLimits(limits.upstream_body, limits.sse_line, limits.sse_event),
        )

    def _classifier(self, config: Config) -> Endpoint | None:
        given, limits, times = config.guardrails.moderation, config.limits, config.timeouts
        if given is None:
            return None
        origin, path = _place(given.url)
        params = PoolParams(QUESTIONS, times.connect)
        h1 = H1Limits(response_head=limits.upstream_head)
        return Endpoint(
            provider=CLASSIFIER,
            dialect=OpenAI(),
            pool=self._pool(self._now.classifier, origin, params, h1),
            target=path or "/",
            api_key=given.api_key or Secret(""),
            h1=h1,
            limits=AnswerLimits(body=VERDICT),
        )

    def _pool(
        self, before: Endpoint | None, origin: Origin, params: PoolParams, h1: H1Limits
    ) -> Pool:
        if (
            before is not None
            and (before.pool.origin, before.pool.params) == (origin, params)
            and (before.h1 == h1 or not params.http2)  # shared connections have its limits
        ):
            return before.pool
        if params.http2:
            shared = self._shared(origin, params, h1)
            return Pool(origin, self._dial_late, self._hub.timers, params, shared)
        return Pool(origin, self._dial(origin), self._hub.timers, params)

    def _shared(self, origin: Origin, params: PoolParams, h1: H1Limits) -> Shared:
        from kproxy.transport.h2_trunk import TrunkParams  # with h2 it holds 2 MB
        from kproxy.transport.h2_trunks import Trunks

        limits = TrunkParams(h1, params.idle, params.connect)
        dial = self._dial(origin, http2=True)
        return Trunks(dial, self._keeper.keep, self._hub.timers, limits, params.connect)

    async def _dial_late(self, origin: Origin, deadline: float) -> Duplex:
        """Without HTTP/2, to a provider that was to speak it: few come to this, so nothing is made
        for it before."""
        dial = self._secure.get(False)
        if dial is None:
            dial = await trio.to_thread.run_sync(self._dial, origin)
        return await dial(origin, deadline)

    def _dial(self, origin: Origin, *, http2: bool = False) -> Dial:
        prepare(origin)
        if not origin.tls:
            return self._plain
        if http2 not in self._secure:
            self._secure[http2] = dialler(self._hub, tls_context(http2=http2))
        return self._secure[http2]


def _all(drawn: Drawn) -> Iterator[Endpoint]:
    yield from drawn.providers.values()
    if drawn.classifier is not None:
        yield drawn.classifier


def _place_of(one: Endpoint) -> tuple[Origin, str, type]:
    return one.pool.origin, one.target, type(one.dialect)


def _place(url: str) -> tuple[Origin, str]:
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    return Origin(parts.hostname or "", parts.port or (443 if tls else 80), tls), parts.path
