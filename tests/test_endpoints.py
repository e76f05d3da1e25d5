"""Endpoints of one configuration after another: which connections stay, and which end when."""

import math
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from kproxy.config import Config, Overrides, load
from kproxy.endpoints import Drawn, Endpoints, plays
from kproxy.transport.dial import Dial
from kproxy.transport.hub import Hub
from kproxy.transport.pool import Lease, Pool, PoolStatistics
from tests.fakes.pooled import whole
from tests.fakes.scripted import ScriptedProvider

pytestmark = pytest.mark.usefixtures("autojump_clock")

ACME = '[providers.acme]\nbase_url = "http://127.0.0.1:9/v1"\n'
OTHER = '[providers.other]\nbase_url = "http://127.0.0.1:8/v1"\n'


def configured(folder: Path, text: str) -> Config:
    file = folder / "kproxy.toml"
    file.write_text(text)
    return load(Overrides(config=file, data_dir=folder / "data"), {})


class Site:
    """Endpoints over a scripted provider that says nothing."""

    def __init__(self, nursery: trio.Nursery, folder: Path) -> None:
        self.hub = Hub()
        nursery.start_soon(self.hub.timers.run)
        self.folder = folder
        self.endpoints = Endpoints(self.hub)
        self.provider = ScriptedProvider(nursery, [[]] * 9)
        self.endpoints._plain = self.provider.dial

    def use(self, text: str) -> None:
        self.endpoints.adopt(self.draw(text))

    def draw(self, text: str) -> Drawn:
        return self.endpoints.draw(configured(self.folder, text))

    def pool(self, slug: str) -> Pool:
        return dict(self.endpoints.pools())[slug]

    async def lease(self, slug: str) -> Lease:
        return await self.pool(slug).acquire(math.inf)

    def closed(self) -> list[bool]:
        return [one.closed < math.inf for one in self.provider.connections]


@pytest.fixture
def site(nursery: trio.Nursery, tmp_path: Path, autojump_clock: MockClock) -> Site:
    return Site(nursery, tmp_path)


async def test_connections_stay_where_their_provider_stays(site: Site) -> None:
    site.use(ACME)
    (await site.lease("acme")).finish(whole(), keep_alive=True)
    site.use(OTHER + ACME + 'api_key = "another"\n[limits]\nupstream_body = 5\n')
    assert (await site.lease("acme")).reused
    assert site.closed() == [False]


async def test_those_of_a_provider_that_is_gone_end_with_their_owners(site: Site) -> None:
    site.use(ACME)
    idle, leased = await site.lease("acme"), await site.lease("acme")
    idle.finish(whole(), keep_alive=True)
    await trio.testing.wait_all_tasks_blocked()
    site.use(OTHER)
    await trio.testing.wait_all_tasks_blocked()
    assert site.closed() == [True, False]
    (old,) = (pool for slug, pool in site.endpoints.pools() if slug == "acme")
    assert old.statistics() == PoolStatistics(leased=1, idle=0, lingering=0)
    leased.finish(whole(), keep_alive=True)
    await trio.testing.wait_all_tasks_blocked()
    assert site.closed() == [True, True]
    site.use(OTHER)
    assert [slug for slug, _ in site.endpoints.pools()] == ["other"]


@pytest.mark.parametrize(
    "text",
    [
        ACME.replace(":9", ":7"),
        ACME + "max_connections = 7\n",
        ACME + "[timeouts]\nconnect = 1\n",
    ],
)
async def test_another_place_or_another_gate_is_another_pool(site: Site, text: str) -> None:
    site.use(ACME)
    lease = await site.lease("acme")
    site.use(text)
    assert not (await site.lease("acme")).reused
    lease.finish(whole(), keep_alive=True)
    await trio.testing.wait_all_tasks_blocked()
    assert site.closed() == [True, False]


async def test_what_has_moved_and_what_has_another_key(site: Site) -> None:
    await trio.lowlevel.checkpoint()
    site.use(ACME + OTHER)
    await trio.lowlevel.checkpoint()
    drawn = site.draw(ACME + 'api_key = "k"\n' + OTHER)
    assert (drawn.moved, drawn.rekeyed) == (frozenset(), {"acme"})
    for text in (ACME.replace("/v1", "/v2"), ACME + 'dialect = "anthropic"\n'):
        drawn = site.draw(text + OTHER)
        assert (drawn.moved, drawn.rekeyed) == ({"acme"}, frozenset())
    drawn = site.draw(ACME + "[limits]\nupstream_body = 5\n")
    assert (drawn.moved, drawn.rekeyed) == (frozenset(), frozenset())


async def test_connections_that_are_shared(site: Site) -> None:
    """They are their provider's, and are made under its limits."""
    await trio.lowlevel.checkpoint()
    secure = ACME.replace("http:", "https:")
    shared = secure + "http2 = true\n"
    site.use(secure)
    pools = [site.pool("acme")]
    for text in (shared, shared + "[limits]\nupstream_head = 5\n"):
        site.use(text)
        pools.append(site.pool("acme"))
        site.use(text + "[attempts]\nretries = 1\n")
        assert site.pool("acme") is pools[-1]
    assert len(set(pools)) == 3
    assert [pool.params.http2 for pool in pools] == [False, True, True]


async def test_who_wants_http_1_after_all(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is dialled without an offer; what that takes is made then, and once."""
    made: list[object] = []

    def dialler(_: Hub, context: object) -> Dial:
        made.append(context)
        return site.provider.dial

    monkeypatch.setattr("kproxy.endpoints.dialler", dialler)
    site.use(ACME.replace("http:", "https:") + "http2 = true\n")
    pool = site.pool("acme")
    assert len(made) == 1
    for _ in range(2):
        (await pool._dial(pool.origin, math.inf)).close()
        assert len(made) == 2


async def test_the_operators_classifier(site: Site) -> None:
    await trio.lowlevel.checkpoint()
    moderation = '[guardrails.moderation]\nurl = "http://127.0.0.1:6/judge"\n'
    drawn = site.draw(ACME + moderation)
    assert drawn.classifier is not None
    assert drawn.classifier.target == "/judge"
    site.endpoints.adopt(drawn)
    again = site.draw(ACME + moderation).classifier
    assert again is not None
    assert again.pool is drawn.classifier.pool
    assert [slug for slug, _ in site.endpoints.pools()] == ["acme"], "it is no provider"


def test_who_is_simulated(tmp_path: Path) -> None:
    assert plays(configured(tmp_path, ACME + '[providers.played]\ndialect = "sim"\n'))
    assert not plays(configured(tmp_path, ACME))
