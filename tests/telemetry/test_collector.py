"""How bodies reach a collector: what is tried again and when, and what is said of a failure."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kproxy.admission.keys import Secret
from kproxy.ledger.trace import Sampler
from kproxy.telemetry.collector import Collector, NotTaken, collector_dial
from kproxy.telemetry.otlp import OtlpParams
from tests.fakes.hubbed import hubbed
from tests.fakes.scripted import Act, Answer, ScriptedProvider, ok

URL = "http://provider.test/v1/traces"


def params(**changes: Any) -> OtlpParams:
    told: dict[str, Any] = {
        "endpoint": URL,
        "headers": (("authorization", Secret("Bearer canary")),),
        "resource": {},
        "sampler": Sampler(),
        "older": False,
        "timeout": 10.0,
        "compressed": False,
    }
    return OtlpParams(**(told | changes))


def script(nursery: trio.Nursery, *answers: Answer) -> ScriptedProvider:
    return ScriptedProvider(nursery, [[answer] for answer in answers])


def begun(provider: ScriptedProvider) -> Sequence[float]:
    return [one.opened for one in provider.connections]


async def refused(provider: ScriptedProvider, **changes: Any) -> str:
    with pytest.raises(NotTaken) as caught:
        await Collector(provider.dial, params(**changes)).send(b"spans")
    return str(caught.value)


async def test_one_request_with_the_operators_headers(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    provider = script(nursery, [(1, ok(b"told"))])
    collector = Collector(provider.dial, params())
    assert await collector.send(b"spans") == b"told"
    assert "canary" not in repr(collector)
    (request,) = provider.connections[0].requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/traces HTTP/1.1\r\n")
    lines = head.lower().split(b"\r\n")
    for line in (b"content-type: application/x-protobuf", b"authorization: bearer canary",
                 b"content-length: 5"):  # fmt: skip
        assert line in lines
    assert body == b"spans"


async def test_what_passes_is_tried_again(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    provider = script(
        nursery, [(0, ok(b"", 503))], [(0, Act.CLOSE)], [(0, ok(b"", 429))], [(0, ok(b"told"))]
    )
    assert await Collector(provider.dial, params()).send(b"spans") == b"told"
    assert begun(provider) == [0, 1, 3, 7]


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 413, 500])
async def test_what_does_not_pass_is_not(
    autojump_clock: MockClock, nursery: trio.Nursery, status: int
) -> None:
    moved = b"location: http://elsewhere.test/"
    provider = script(nursery, [(0, ok(b"canary", status, moved))], [(0, ok(b""))])
    why = await refused(provider, timeout=1.0)
    assert why == ("redirected" if status in (301, 307) else f"HTTP {status}")
    assert begun(provider) == [0]


async def test_the_deadline_holds_for_all_of_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    provider = script(nursery, [(0, ok(b"", 503))], [(60, ok(b""))])
    assert await refused(provider) == "took too long"
    assert trio.current_time() == 10
    assert begun(provider) == [0, 1]


def later(status: int, *fields: bytes) -> Answer:
    return [(0, ok(b"", status, *fields))]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_the_collector_says_when_to_come_back(
    autojump_clock: MockClock, nursery: trio.Nursery, status: int
) -> None:
    """Also later than the deadline, which is for what we take and not for what we are told."""
    provider = script(nursery, later(status, b"retry-after: 30"), [(0, ok(b"told"))])
    assert await Collector(provider.dial, params()).send(b"spans") == b"told"
    assert begun(provider) == [0, 30]


async def test_of_two_pauses_the_longer_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dates = (b"date: Sun, 06 Nov 1994 08:49:30 GMT", b"retry-after: Sun, 06 Nov 1994 08:49:39 GMT")
    provider = script(
        nursery, later(503, b"retry-after: 0"), later(503, b"retry-after: soon"),
        later(503, b"retry-after: 1"), later(503, *dates), [(0, ok(b"told"))],
    )  # fmt: skip
    assert await Collector(provider.dial, params(timeout=30.0)).send(b"spans") == b"told"
    assert begun(provider) == [0, 1, 3, 7, 16]


async def test_other_statuses_say_nothing_of_when(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    provider = script(nursery, later(500, b"retry-after: 30"), [(0, ok(b"told"))])
    collector = Collector(provider.dial, params())
    with pytest.raises(NotTaken):
        await collector.send(b"spans")
    assert await collector.send(b"more") == b"told"
    assert begun(provider) == [0, 0]


async def test_patience_ends_and_the_rest_is_kept_by_whatever_follows(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    hour = later(429, b"retry-after: 3600")
    provider = script(nursery, hour, hour, [(0, ok(b"told"))])
    collector = Collector(provider.dial, params())
    with pytest.raises(NotTaken, match="HTTP 429"):
        await collector.send(b"spans")
    assert trio.current_time() == 60
    assert await collector.send(b"more") == b"told"
    assert begun(provider) == [0, 60, 120]


async def test_nobody_is_there(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    assert "refused" in await refused(script(nursery))
    assert trio.current_time() == 7, "after 1, 2 and 4 seconds; 8 more are not there"


async def test_bodies_may_be_compressed(nursery: trio.Nursery) -> None:
    provider = script(nursery, [(0, ok(b"told"))])
    assert await Collector(provider.dial, params(compressed=True)).send(b"spans") == b"told"
    head, _, body = provider.connections[0].requests[0].partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in head
    assert gzip.decompress(body) == b"spans"


async def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    bad = tmp_path / "ca.pem"
    bad.write_text("canary")
    async with hubbed() as (hub, _):
        for file in (bad, tmp_path / "missing.pem"):
            with pytest.raises(NotTaken, match="no authorities to trust"):
                collector_dial(hub, str(file))
