"""Alive, ready, metrics: for operators, without a key."""

import pytest
import trio
from trio.testing import MockClock

from kproxy.api.plugged import Plugins
from kproxy.plugins.layers import Layer
from tests.fakes.house import House
from tests.fakes.scripted import Act


@pytest.fixture
def house(autojump_clock: MockClock, nursery: trio.Nursery) -> House:
    return House(nursery)


@pytest.mark.parametrize("path", ["/readyz", "/healthz"])
async def test_ready_until_the_drain(house: House, path: str) -> None:
    answer = await house.send("GET", path)
    assert (answer.status, answer.json()) == (200, {"status": "ready"})
    house.ready = False
    answer = await house.send("GET", path)
    assert (answer.status, answer.json()) == (503, {"status": "draining"})
    assert answer.headers["content-type"] == "application/json"


async def test_ready_shows_the_layers_of_a_sandbox_that_is_open(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    found = (Layer("process", True, "x"), Layer("landlock", False, "the kernel has none"))
    house = House(nursery, plugins=Plugins(layers=lambda: found))
    answer = await house.send("GET", "/readyz")
    assert answer.json() == {"status": "ready", "sandbox": {"process": True, "landlock": False}}


async def test_alive_to_the_end(house: House) -> None:
    house.ready = False
    answer = await house.send("GET", "/livez")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


async def test_metrics_count_what_came_before(house: House) -> None:
    await house.send("GET", "/livez")
    answer = await house.send("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b'kproxy_requests_total{route="/livez",status="200"} 1.0\n' in answer.body


async def test_metrics_say_who_rests_and_what_is_under_way(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[[(0, Act.CLOSE)]]] * 3})
    for _ in range(3):
        await house.ask(model="cheap/m")
    text = (await house.send("GET", "/metrics")).body.decode()
    resting = {"provider": "cheap", "model": "m"}
    assert house.counted("kproxy_route_resting_seconds", **resting) == 5
    assert "kproxy_requests_in_flight 1.0\n" in text, "the one that asks"
    assert 'kproxy_refused_total{code="all_models_unavailable"} 3.0\n' in text
    assert house.metrics.in_flight == 0
