"""An exchange over HTTP/2: the same calls as over HTTP/1.1, and what becomes of them."""

from typing import Any

import pytest
from trio.testing import MockClock

from kproxy.downstream.exchange import HEARTBEAT, Exchange
from kproxy.downstream.respond import Answer
from tests.fakes.h2_caller import Got, calling
from tests.fakes.talk import Scripted, pause


async def asked(handler: Any, **fields: str) -> Got:
    """What a caller gets."""
    async with calling(Scripted(it=handler)) as caller:
        return await caller.whole(await caller.ask("/it", **fields))


async def test_a_stream_is_its_bytes_and_nothing_else(autojump_clock: MockClock) -> None:
    async def stream(exchange: Exchange) -> None:
        assert not exchange.verbatim, "a provider's chunks are no frames"
        head = exchange.start([(b"content-type", b"text/event-stream")])
        assert (head, exchange.frame(b"data"), exchange.ending) == (b"", b"data", b"")
        await exchange.link.send_all(head + exchange.frame(b"data") + exchange.ending)
        exchange.complete()

    got = await asked(stream)
    assert (got.status, got.body, got.whole, got.reset) == (200, b"data", True, None)
    assert got.headers["content-type"] == "text/event-stream"
    assert "transfer-encoding" not in got.headers


async def test_conditions_and_versions_are_told_as_over_http_11(autojump_clock: MockClock) -> None:
    async def told(exchange: Exchange) -> None:
        await exchange.respond(Answer(200, [], exchange.forwardable[-1][1]))

    assert (await asked(told)).body == b"2 kproxy"
    got = await asked(told, **{"if-none-match": "*"})
    assert (got.status, got.body, "content-length" in got.headers) == (304, b"", False)
    assert (await asked(told, **{"if-match": '"x"'})).status == 412


async def test_an_answer_without_content_has_no_length_and_ends(autojump_clock: MockClock) -> None:
    async def told(exchange: Exchange) -> None:
        await exchange.respond(Answer(204, [(b"allow", b"GET")], b""))

    got = await asked(told)
    assert (got.status, got.body, got.whole, got.headers["allow"]) == (204, b"", True, "GET")
    assert "content-length" not in got.headers


async def test_the_head_leaves_with_a_beat(autojump_clock: MockClock) -> None:
    async def slow(exchange: Exchange) -> None:
        exchange.beat([])
        await pause(3)
        exchange.beat([])
        await exchange.link.send_all(exchange.due() + b"data")
        exchange.complete()

    async with calling(Scripted(slow=slow)) as caller:
        stream = await caller.ask("/slow")
        await pause(1)
        assert (caller.got[stream].status, caller.got[stream].body) == (200, HEARTBEAT)
        assert (await caller.whole(stream)).body == HEARTBEAT * 2 + b"data"


async def test_beats_wait_for_the_window(autojump_clock: MockClock) -> None:
    async def slow(exchange: Exchange) -> None:
        await exchange.link.send_all(exchange.start([]) + b"x" * 65_530)
        for _ in range(3):
            exchange.beat([])
            await pause(1)
        await exchange.link.send_all(exchange.due() + b"data")
        exchange.complete()

    async with calling(Scripted(slow=slow)) as caller:
        stream = await caller.ask("/slow")
        caller.frozen.add(stream)
        await pause(5)
        await caller.open_window(stream, 100)
        await caller.open_window(0, 100)
        got = await caller.whole(stream)
    assert got.body[65_530:] == HEARTBEAT + b"data", "one beat is due, others are not begun"


async def test_a_stream_that_head_asked_for_is_a_head(autojump_clock: MockClock) -> None:
    async def stream(exchange: Exchange) -> None:
        await exchange.link.send_all(exchange.start([]) + exchange.frame(b"data"))
        exchange.complete()

    got = await asked(stream, method="HEAD")
    assert (got.status, got.body, got.whole) == (200, b"", True)


@pytest.mark.parametrize("close", [False, True])
async def test_an_answer_ends_its_stream_and_not_the_connection(
    close: bool, autojump_clock: MockClock
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.respond(Answer(400, [], b"no", close))

    async with calling(Scripted(refuse=refuse)) as caller:
        assert (await caller.whole(await caller.ask("/refuse"))).status == 400
        assert (await caller.whole(await caller.ask("/echo"))).status == 200
