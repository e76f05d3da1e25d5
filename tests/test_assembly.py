"""One configuration after another in force: what follows it, and what has been learned stays."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from kproxy.assembly import Assembly, Parts, draw
from kproxy.catalog.load import Price
from kproxy.config import Config, Overrides, load
from kproxy.endpoints import Endpoints
from kproxy.errors import Fault, FaultKind
from kproxy.store.opening import StoreParams, open_stores
from kproxy.telemetry.lag import LoopLag
from kproxy.transport.hub import Hub

ACME = """\
[providers.acme]
base_url = "http://127.0.0.1:9/v1"
api_key = "one"
[[models]]
id = "m"
provider = "acme"
price = { input = 1, output = 2 }
"""
REFUSED = Fault(FaultKind.CREDENTIAL, "HTTP 401", status=401)


def configured(folder: Path, text: str) -> Config:
    file = folder / "kproxy.toml"
    file.write_text(text)
    return load(Overrides(config=file, data_dir=folder / "data"), {})


@pytest.fixture
def assembly(tmp_path: Path) -> Iterator[Assembly]:
    with ExitStack() as stack:
        stores = open_stores(stack, StoreParams(tmp_path / "data"), time.time())
        hub = Hub()
        stack.callback(hub.close)
        parts = Parts(stores, hub, trio.Event(), LoopLag(), time.time)
        endpoints = Endpoints(hub)
        yield Assembly(parts, endpoints, draw(configured(tmp_path, ACME), endpoints))


async def change(assembly: Assembly, folder: Path, text: str) -> None:
    config = configured(folder, text)
    assembly.adopt(await trio.to_thread.run_sync(draw, config, assembly.endpoints))


async def test_what_follows_the_configuration(assembly: Assembly, tmp_path: Path) -> None:
    before = assembly.service
    more = (
        "[timeouts]\ntotal = 5\nheartbeat = 2\n[attempts]\nretries = 7\n"
        "[limits]\njson_depth = 9\n[tiers.free]\nrequests_per_minute = 12\n"
        '[[guardrails.rules]]\naction = "mask"\nbuiltin = "email"\n'
    )
    await change(assembly, tmp_path, ACME.replace("input = 1", "input = 3") + more)
    after = assembly.service
    assert assembly.generation == 2
    assert after.policy.timeouts.total == 5
    assert after.policy.retries == 7
    assert after.heartbeat == 2
    assert after.json_limits.depth == 9
    assert after.tiers["free"].requests_per_minute == 12
    assert after.guardrails is not None
    prices = [one.catalog.by_id("m")[0].price for one in (before, after)]
    assert prices == [Price.from_usd(1, 2), Price.from_usd(3, 2)]
    assert before.policy.timeouts.total == 600, "who has begun with it goes on with it"


async def test_what_was_learned_stays(assembly: Assembly, tmp_path: Path) -> None:
    before = assembly.service
    assert before.hedges.withdraw(0)
    before.routes.admit("acme/m", 0).complete(1, 1.0, None)
    await change(assembly, tmp_path, ACME.replace("input = 1", "input = 3"))
    after = assembly.service
    for name in ("routes", "conversations", "metrics", "faults", "once", "hedges", "apart"):
        assert getattr(after, name) is getattr(before, name), name
    assert after.routes.snapshot(1)["acme/m"].measured.samples == 1


async def test_a_new_key_is_tried_at_once(assembly: Assembly, tmp_path: Path) -> None:
    routes = assembly.service.routes
    late = routes.admit("acme/m", 0)
    routes.admit("acme/m", 0).failed(0, REFUSED, accrued=True)
    assert routes.snapshot(0)["acme/m"].resting > 0
    await change(assembly, tmp_path, ACME.replace('"one"', '"two"'))
    assert routes.snapshot(0)["acme/m"].resting == 0
    late.failed(0, REFUSED, accrued=True)
    assert routes.snapshot(1)["acme/m"].resting == 0, "an attempt with the old key says nothing"


async def test_a_budget_follows_its_numbers(assembly: Assembly, tmp_path: Path) -> None:
    await change(assembly, tmp_path, ACME + "[attempts]\nhedge_share = 0\n")
    assert not assembly.service.hedges.withdraw(0)


async def test_new_models_are_counted_by_name(assembly: Assembly, tmp_path: Path) -> None:
    assert assembly.service.metrics.labels("acme", "new") == ("acme", "other")
    await change(assembly, tmp_path, ACME.replace('"m"', '"new"'))
    assert assembly.service.metrics.labels("acme", "new") == ("acme", "new")
    assert os.listdir(tmp_path / "data"), "the stores are the same"


async def test_accounts_whose_tier_is_gone_are_told_of(
    assembly: Assembly, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = assembly.parts.stores.keys
    assert keys is not None
    for name in ("one", "two"):
        keys.store.create_account(name, "lab", time.time())
    await change(assembly, tmp_path, ACME + "[tiers.lab]\npaid = true\n")
    await assembly.name_left_out()
    assert caplog.messages == []
    await change(assembly, tmp_path, ACME)
    await assembly.name_left_out()
    assert caplog.messages == ['tier "lab" is not configured: its accounts (2) get 403']
