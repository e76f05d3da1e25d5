"""GET /v1/performance: what every route has shown, for whoever holds a key."""

import trio
from trio.testing import MockClock

from tests.fakes.house import House
from tests.fakes.scripted import ok
from tests.fakes.streams import GOOD, listen, streamed


async def test_routes_before_and_after_they_were_asked(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[GOOD, [(0.0, ok(b"", 503))]]], "dear": [[GOOD]]})
    await listen(streamed(house))
    await listen(streamed(house))
    answer = await house.get("/v1/performance")
    body = answer.json()
    assert (body["object"], body["window_seconds"]) == ("list", 300)
    cheap, dear = body["data"]
    assert (cheap["provider"], cheap["model"]) == ("cheap", "m")
    assert (cheap["samples"], cheap["sufficient"], cheap["error_rate"]) == (1, False, 0.5)
    assert 1800 < cheap["first_token_ms"]["p50"] < 2200
    assert 3600 < cheap["latency_ms"]["p99"] < 4400
    assert 225 < cheap["throughput_tps"]["p50"] < 275
    assert (cheap["breaker"], dear["samples"]) == ("closed", 1)


async def test_a_route_that_nobody_asked(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    body = (await House(nursery).get("/api/v1/performance")).json()
    assert body["data"][0] == {
        "provider": "cheap",
        "model": "m",
        "samples": 0,
        "sufficient": False,
        "latency_ms": None,
        "first_token_ms": None,
        "throughput_tps": None,
        "error_rate": 0.0,
        "breaker": "closed",
        "resting_ms": 0.0,
    }


async def test_it_asks_for_a_key(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    assert (await House(nursery).send("GET", "/v1/performance")).status == 401
