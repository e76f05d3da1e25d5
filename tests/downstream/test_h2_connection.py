"""One HTTP/2 connection: many requests at once, each as if it were alone."""

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kproxy.downstream.exchange import BodyLimits, Exchange, ExchangeState
from kproxy.downstream.h2_connection import BACKLOG
from kproxy.downstream.respond import Answer
from kproxy.errors import BrokenStream, Fault, FaultKind, Rejected
from kproxy.wire.h2_events import H2Limits
from kproxy.wire.h2_floods import Allowance, FloodLimits
from kproxy.wire.h2_frames import Code
from tests.fakes.h2_caller import calling
from tests.fakes.h2_frames import ping
from tests.fakes.talk import Scripted, pause

LARGE = b"".join(b"%07d\n" % number for number in range(25_000))


def ticking(pieces: int = 1_000_000, size: int = 4) -> Any:
    """A handler that streams a piece each second."""

    async def tick(exchange: Exchange) -> None:
        head = exchange.start([(b"content-type", b"text/event-stream")])
        for _ in range(pieces):
            await exchange.link.send_all(head + exchange.frame(b"t" * size))
            head = b""
            await pause(1)
        exchange.complete()

    return tick


class TestRequests:
    async def test_one(self, autojump_clock: MockClock) -> None:
        handler = Scripted()
        async with calling(handler) as caller:
            got = await caller.whole(await caller.ask("/echo", b"body"))
        assert (got.status, got.body, got.whole) == (200, b"/echobody", True)
        assert got.headers["content-length"] == "9"
        assert got.headers["x-request-id"].startswith("req_")
        assert not {"connection", "transfer-encoding"} & set(got.headers)
        assert handler.seen == [("/echo", ExchangeState.DONE, 200)]
        assert handler.exchanges[0].head.get(b"host") == b"here"

    async def test_many_at_once_end_in_their_own_time(self, autojump_clock: MockClock) -> None:
        async def slow(exchange: Exchange) -> None:
            await pause(5)
            await exchange.respond(Answer(200, [], b"slow"))

        async with calling(Scripted(slow=slow)) as caller:
            start = trio.current_time()
            first = await caller.ask("/slow")
            quick = [await caller.whole(await caller.ask("/quick")) for _ in range(3)]
            assert [got.at - start for got in quick] == [0, 0, 0]
            assert (await caller.whole(first)).at - start == 5

    async def test_a_large_body_and_a_large_answer(self, autojump_clock: MockClock) -> None:
        async with calling(Scripted()) as caller:
            stream = await caller.ask("/echo", b"", more=True)
            await caller.tell(stream, LARGE * 10)
            got = await caller.whole(stream)
        assert got.body == b"/echo" + LARGE * 10

    async def test_a_large_answer_through_a_wide_window(self, autojump_clock: MockClock) -> None:
        """More than may wait for the link at one time, and the link takes all of it."""

        async def large(exchange: Exchange) -> None:
            await exchange.respond(Answer(200, [], LARGE * 10))

        async with calling(Scripted(large=large)) as caller:
            caller.engine.update_settings({4: 2**24})
            await caller.open_window(0, 2**24)
            await pause(1)
            assert (await caller.whole(await caller.ask("/large"))).body == LARGE * 10

    async def test_head_has_no_body(self, autojump_clock: MockClock) -> None:
        async with calling(Scripted()) as caller:
            got = await caller.whole(await caller.ask("/echo", method="HEAD"))
        assert (got.status, got.body, got.headers["content-length"]) == (200, b"", "5")

    async def test_an_answer_without_a_body(self, autojump_clock: MockClock) -> None:
        async def empty(exchange: Exchange) -> None:
            await exchange.respond(Answer(204, [], b""))

        async with calling(Scripted(empty=empty)) as caller:
            got = await caller.whole(await caller.ask("/empty"))
        assert (got.status, got.whole) == (204, True)
        assert "content-length" not in got.headers

    async def test_one_that_waits_for_a_word(self, autojump_clock: MockClock) -> None:
        async with calling(Scripted()) as caller:
            stream = await caller.ask("/echo", b"", more=True, expect="100-continue")
            await caller.until(lambda: caller.got[stream].informational)
            await caller.tell(stream, b"body")
            got = await caller.whole(stream)
        assert (got.informational, got.body) == ([100], b"/echobody")

    async def test_trailers_are_dropped(self, autojump_clock: MockClock) -> None:
        handler = Scripted()
        async with calling(handler) as caller:
            stream = await caller.ask("/echo", b"body", more=True)
            caller.engine.send_headers(stream, [("x-sum", "1")], end_stream=True)
            await caller.send()
            assert (await caller.whole(stream)).body == b"/echobody"


class TestErrors:
    async def test_before_the_answer(self, autojump_clock: MockClock) -> None:
        async def bad(exchange: Exchange) -> None:
            await trio.lowlevel.checkpoint()
            raise Rejected(429, "rate_limit_exceeded", "Too many.")

        async with calling(Scripted(bad=bad)) as caller:
            got = await caller.whole(await caller.ask("/bad"))
        assert (got.status, json.loads(got.body)["error"]["code"]) == (429, "rate_limit_exceeded")

    async def test_within_it(self, autojump_clock: MockClock) -> None:
        async def bad(exchange: Exchange) -> None:
            await exchange.link.send_all(exchange.start([]) + exchange.frame(b"data: one\n\n"))
            raise BrokenStream(Fault(FaultKind.CLOSED_EARLY, "the stream was cut"))

        handler = Scripted(bad=bad)
        async with calling(handler) as caller:
            got = await caller.whole(await caller.ask("/bad"))
            assert (await caller.whole(await caller.ask("/echo"))).status == 200
        assert got.body.startswith(b"data: one\n\ndata: {")
        assert (got.whole, got.reset) == (False, 2), "INTERNAL_ERROR: it is not whole"
        assert handler.seen[0] == ("/bad", ExchangeState.ABORTED, 200)

    async def test_of_ours(
        self, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
    ) -> None:
        async def bad(exchange: Exchange) -> None:
            await trio.lowlevel.checkpoint()
            raise ZeroDivisionError

        async with calling(Scripted(bad=bad)) as caller:
            got = await caller.whole(await caller.ask("/bad"))
        assert (got.status, json.loads(got.body)["error"]["code"]) == (500, "internal_error")
        assert "ZeroDivisionError" in caplog.text

    async def test_a_head_that_cannot_be_sent(
        self, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
    ) -> None:
        async def bad(exchange: Exchange) -> None:
            await trio.lowlevel.checkpoint()
            exchange.start([(b"x-a", b"b\r\nset-cookie: c")])

        async with calling(Scripted(bad=bad)) as caller:
            got = await caller.whole(await caller.ask("/bad"))
        assert got.status == 500
        assert "x-a" not in got.headers

    @pytest.mark.parametrize(
        ("fields", "status"), [({"x": "v" * 16_384}, 431), ({"expect": "tea"}, 417)]
    )
    async def test_what_no_handler_sees(
        self, fields: dict[str, str], status: int, autojump_clock: MockClock
    ) -> None:
        handler = Scripted()
        async with calling(handler) as caller:
            got = await caller.whole(await caller.ask("/echo", **fields))
            assert (await caller.whole(await caller.ask("/next"))).status == 200
        assert (got.status, list(json.loads(got.body))) == (status, ["error"])
        assert [target for target, *_ in handler.seen] == ["/next"]

    async def test_a_malformed_request_is_reset_and_the_others_go_on(
        self, autojump_clock: MockClock
    ) -> None:
        handler = Scripted(tick=ticking(3))
        async with calling(handler) as caller:
            bystander = await caller.ask("/tick")
            bad = await caller.ask("/bad", Upper="case")
            assert (await caller.whole(bad)).reset == 1
            assert (await caller.whole(bystander)).body == b"tttttttttttt"
        assert handler.seen == [("/tick", ExchangeState.DONE, 200)]


class TestBodies:
    async def test_announced_too_large(self, autojump_clock: MockClock) -> None:
        async with calling(Scripted(), body=BodyLimits(size=10)) as caller:
            stream = await caller.ask("/echo", b"", more=True, content_length="11")
            got = await caller.whole(stream)
            assert got.status == 413
            await caller.until(lambda: got.reset is not None)
        assert (got.whole, got.reset) == (True, 0), "NO_ERROR: the answer is whole"

    async def test_found_too_large(self, autojump_clock: MockClock) -> None:
        async with calling(Scripted(), body=BodyLimits(size=10)) as caller:
            stream = await caller.ask("/echo", b"eleven byte", more=True)
            assert (await caller.whole(stream)).status == 413

    async def test_too_slow(self, autojump_clock: MockClock) -> None:
        async with calling(Scripted(), body=BodyLimits(gap=15, total=60)) as caller:
            start = trio.current_time()
            stream = await caller.ask("/echo", b"some", more=True)
            got = await caller.whole(stream)
        assert (got.status, got.at - start) == (408, 15)

    async def test_one_that_nobody_reads_holds_up_no_other(self, autojump_clock: MockClock) -> None:
        async def deaf(exchange: Exchange) -> None:
            await pause(30)
            await exchange.respond(Answer(200, [], b"late"))

        async with calling(Scripted(deaf=deaf)) as caller, trio.open_nursery() as nursery:
            start = trio.current_time()
            stuck = await caller.ask("/deaf", b"", more=True)
            nursery.start_soon(caller.tell, stuck, LARGE * 2)
            await pause(1)
            assert caller.engine.local_flow_control_window(stuck) == 0
            other = await caller.ask("/echo", b"", more=True)
            await caller.tell(other, LARGE * 2)
            assert (await caller.whole(other)).body == b"/echo" + LARGE * 2
            assert trio.current_time() - start == 1
            assert (await caller.whole(stuck)).body == b"late"
            nursery.cancel_scope.cancel()


class TestSlowReaders:
    async def test_one_stream_waits_and_the_others_go_on(self, autojump_clock: MockClock) -> None:
        handler = Scripted(tick=ticking(size=10_000))
        async with calling(handler) as caller:
            start = trio.current_time()
            stuck = await caller.ask("/tick")
            caller.frozen.add(stuck)
            await caller.open_window(0, 1_000_000)
            await pause(30)
            assert len(caller.got[stuck].body) == 65_535
            assert (await caller.whole(await caller.ask("/echo"))).at - start == 30
            await caller.open_window(stuck, 4_465)
            await pause(1)
            assert len(caller.got[stuck].body) == 70_000

    async def test_one_that_takes_nothing_is_cut(self, autojump_clock: MockClock) -> None:
        handler = Scripted(tick=ticking(size=65_536))
        async with calling(handler, stall=60) as caller:
            start = trio.current_time()
            stuck = await caller.ask("/tick")
            caller.frozen.add(stuck)
            await caller.open_window(0, 1_000_000)
            got = await caller.whole(stuck)
            assert (got.at - start, got.reset, len(got.body)) == (60, 8, 65_535)
            assert (await caller.whole(await caller.ask("/echo"))).status == 200
        assert handler.seen[0] == ("/tick", ExchangeState.STARTED, 200)

    async def test_a_caller_that_reads_nothing(self, autojump_clock: MockClock) -> None:
        """The windows are open, so the link is what holds it up; and nothing piles up for it."""
        sent = 0

        async def flood(exchange: Exchange) -> None:
            nonlocal sent
            head = exchange.start([])
            while True:
                await exchange.link.send_all(head + b"x" * 10_000)
                head = b""
                sent += 10_000

        handler = Scripted(flood=flood)
        async with calling(handler, stall=60) as caller:
            await caller.open_window(0, 2**30)
            for _ in range(5):
                await caller.open_window(await caller.ask("/flood"), 2**30)
            caller.hearing = trio.Event()
            await caller.send(ping())  # what it hears now is the last
            await pause(1)
            before = sent
            await pause(50)
            assert sent - before <= 2 * BACKLOG
            caller.hearing.set()
        assert len(handler.seen) == 5

    async def test_all_streams_get_their_share_of_a_narrow_connection(
        self, autojump_clock: MockClock
    ) -> None:
        async def much(exchange: Exchange) -> None:
            await exchange.respond(Answer(200, [], LARGE))

        async with calling(Scripted(much=much)) as caller:
            streams = [await caller.ask("/much") for _ in range(4)]
            caller.frozen.update(streams)
            for stream in streams:
                await caller.open_window(stream, 1_000_000)
            for _ in range(8):
                await pause(1)
                await caller.open_window(0, 16_384)
            await pause(1)
            shares = sorted(len(caller.got[stream].body) for stream in streams)
            assert sum(shares) == 65_535 + 8 * 16_384
            assert shares[0] >= 16_384, "nobody starves"


async def test_a_request_right_behind_the_preface(autojump_clock: MockClock) -> None:
    async with calling(Scripted(), begin=False) as caller:
        caller.engine.initiate_connection()
        assert (await caller.whole(await caller.ask("/echo"))).status == 200


async def test_the_limits_are_the_operators(autojump_clock: MockClock) -> None:
    floods = FloodLimits(pings=Allowance(1, 0))
    async with calling(Scripted(), h2=H2Limits(streams=3, floods=floods)) as caller:
        assert (await caller.whole(await caller.ask("/echo"))).status == 200
        assert caller.engine.remote_settings.max_concurrent_streams == 3
        for _ in range(2):
            caller.engine.ping(b"12345678")
        await caller.send()
        await trio.testing.wait_all_tasks_blocked()
        assert [code for code, _, _ in caller.goaways] == [Code.ENHANCE_YOUR_CALM]
