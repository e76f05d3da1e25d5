"""How streams and connections end early: resets, hang-ups, silence, floods, drains and cuts."""

import itertools
import json
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from kproxy.downstream.answering import FAREWELL, TAKEN
from kproxy.downstream.exchange import Exchange, ExchangeState
from kproxy.downstream.h2_connection import GRACE
from kproxy.downstream.respond import Answer
from kproxy.transport.duplex import Broken
from kproxy.wire.h2_frames import PREFACE, frame_bytes
from tests.fakes.h2_caller import H2Caller, calling
from tests.fakes.h2_frames import (
    BEGUN,
    GET,
    block,
    continuation,
    data,
    headers,
    ping,
    reset,
    settings,
    update,
)
from tests.fakes.talk import Scripted, pause

CALM = 0xB


class Working(Scripted):
    """Waits, or streams an event each second, until it is cancelled; notes when that was."""

    def __init__(self) -> None:
        super().__init__(wait=self.wait, stream=self.stream, kept=self.kept)
        self.stopped: list[float] = []
        self.carried_out: list[float] = []

    async def wait(self, exchange: Exchange) -> None:
        await exchange.read_body()
        try:
            await trio.sleep_forever()
        finally:
            self.stopped.append(trio.current_time())

    async def stream(self, exchange: Exchange) -> None:
        head = exchange.start([])
        try:
            while True:
                await exchange.link.send_all(head + exchange.frame(b"tick"))
                head = b""
                await pause(1)
        finally:
            self.stopped.append(trio.current_time())

    async def kept(self, exchange: Exchange) -> None:
        """Carried out whoever hangs up."""
        exchange.link.on_gone = None
        await pause(5)
        self.carried_out.append(trio.current_time())
        await exchange.respond(Answer(200, [], b"kept"))


async def leave_by_reset(caller: H2Caller, stream: int) -> None:
    await caller.reset(stream)


async def leave_by_end(caller: H2Caller, stream: int) -> None:
    await trio.lowlevel.checkpoint()
    caller.link.end()


async def leave_by_close(caller: H2Caller, stream: int) -> None:
    await trio.lowlevel.checkpoint()
    caller.link.close()


async def leave_by_breaking_the_rules(caller: H2Caller, stream: int) -> None:
    await caller.send(data(0, b"x"))


LEAVES = [leave_by_reset, leave_by_end, leave_by_close, leave_by_breaking_the_rules]


class TestGone:
    @pytest.mark.parametrize("path", ["/wait", "/stream"])
    @pytest.mark.parametrize("leave", LEAVES)
    async def test_at_that_instant(self, leave: Any, path: str, autojump_clock: MockClock) -> None:
        handler = Working()
        async with calling(handler) as caller:
            stream = await caller.ask(path)
            await pause(2.5)
            await leave(caller, stream)
            await trio.testing.wait_all_tasks_blocked()
            assert handler.stopped == [2.5]
        state = ExchangeState.WAITING if path == "/wait" else ExchangeState.STARTED
        assert handler.seen[0][:2] == (path, state)

    async def test_the_others_go_on(self, autojump_clock: MockClock) -> None:
        handler = Working()
        async with calling(handler) as caller:
            first, second = await caller.ask("/stream"), await caller.ask("/stream")
            await pause(1.5)
            await caller.reset(first)
            await pause(2)
            assert handler.stopped == [1.5]
            assert caller.got[second].body == b"tick" * 4

    async def test_before_anything_was_begun(self, autojump_clock: MockClock) -> None:
        handler = Working()
        async with calling(handler) as caller:
            await pause(1)
            await caller.send(headers(1) + reset(1))
            await pause(1)
        assert (handler.exchanges, handler.stopped) == ([], [])

    @pytest.mark.parametrize("leave", LEAVES[:3])
    async def test_what_is_carried_out_all_the_same(
        self, leave: Any, autojump_clock: MockClock
    ) -> None:
        handler = Working()
        async with calling(handler) as caller:
            stream = await caller.ask("/kept")
            await pause(1)
            await leave(caller, stream)
            await pause(10)
            assert handler.carried_out == [5]

    async def test_in_the_middle_of_a_body(self, autojump_clock: MockClock) -> None:
        handler = Scripted()
        async with calling(handler) as caller:
            stream = await caller.ask("/echo", b"some", more=True)
            await pause(1)
            await caller.reset(stream)
            await trio.testing.wait_all_tasks_blocked()
            assert handler.seen == [("/echo", ExchangeState.WAITING, 0)]

    async def test_a_caller_that_says_goodbye_first(self, autojump_clock: MockClock) -> None:
        async def slow(exchange: Exchange) -> None:
            await pause(5)
            await exchange.respond(Answer(200, [], b"slow"))

        async with calling(Scripted(slow=slow)) as caller:
            stream = await caller.ask("/slow")
            await caller.send(b"\0\0\x08\x07\0\0\0\0\0" + bytes(8))
            assert (await caller.whole(stream)).body == b"slow"
            await pause(1)
            assert caller.ended == 5, "and then nothing is waited for"


class TestSilence:
    @pytest.mark.parametrize(
        ("said", "when"),
        [
            (b"", 10),
            (PREFACE, 10),
            (PREFACE + settings(), 10),
            (BEGUN, 60),
            (BEGUN + ping(), 60),
            (BEGUN + headers(1)[:20], 10),
            (BEGUN + frame_bytes(1, 1, 1, block(GET)), 10),
            (BEGUN + frame_bytes(1, 1, 1, block(GET)) + continuation(1), 10),
        ],
    )
    async def test_without_a_stream(
        self, said: bytes, when: float, autojump_clock: MockClock
    ) -> None:
        async with calling(Scripted(), begin=False, head=10, idle=60) as caller:
            caller.engine.initiate_connection()
            caller.engine.clear_outbound_data_buffer()
            caller.hearing = trio.Event()  # it would acknowledge our SETTINGS
            await caller.send(said)
            with trio.move_on_after(100):
                while await caller.link.receive():
                    pass
            assert trio.current_time() == when

    async def test_a_stream_may_be_silent(self, autojump_clock: MockClock) -> None:
        async def slow(exchange: Exchange) -> None:
            await pause(500)
            await exchange.respond(Answer(200, [], b"slow"))

        async with calling(Scripted(slow=slow), head=10, idle=60) as caller:
            assert (await caller.whole(await caller.ask("/slow"))).at == 500
            await caller.until(lambda: caller.goaways)
            assert caller.goaways == [(0, 1, 560)]

    async def test_pings_keep_nothing_alive(self, autojump_clock: MockClock) -> None:
        async with calling(Scripted(), idle=60) as caller:
            for _ in range(11):
                await caller.send(ping())
                await pause(5)
            await caller.until(lambda: caller.goaways)
            assert caller.goaways == [(0, 0, 60)]

    async def test_a_busy_peer_is_never_between_two_frames(self, autojump_clock: MockClock) -> None:
        """Each read ends in the middle of a frame, for longer than a head may take."""
        async with calling(Scripted(), head=10) as caller:
            wire = [ping(b"%08d" % number) for number in range(30)]
            await caller.send(wire[0][:10])
            for one, next_one in itertools.pairwise(wire):
                await caller.send(one[10:] + next_one[:10])
                await pause(1)
            assert caller.ended == float("inf")


class TestFloods:
    @pytest.mark.parametrize(
        "flood",
        [
            pytest.param(lambda n: headers(2 * n + 3) + reset(2 * n + 3), id="rapid reset"),
            pytest.param(lambda _: ping(), id="PING"),
            pytest.param(lambda _: settings(), id="SETTINGS"),
            pytest.param(lambda _: data(1), id="empty DATA"),
            pytest.param(lambda _: update(0, 1), id="WINDOW_UPDATE"),
        ],
    )
    async def test_ends_its_connection_and_no_other(
        self, flood: Any, autojump_clock: MockClock
    ) -> None:
        handler, other = Working(), Working()
        async with calling(other) as bystander, calling(handler) as caller:
            beside = await bystander.ask("/stream")
            await caller.ask("/wait", b"", more=True)
            await pause(1.5)
            await caller.send(b"".join(flood(number) for number in range(10_000))[:60_000])
            await trio.testing.wait_all_tasks_blocked()
            assert [code for code, *_ in caller.goaways] == [CALM]
            assert len(handler.exchanges) == 1, "nothing of it came to a handler"
            await pause(2)
            assert caller.ended <= 2.5, "within a second"
            assert bystander.got[beside].body == b"tick" * 4
            assert other.stopped == []

    async def test_a_peer_that_reads_no_answers_is_read_no_more(
        self, autojump_clock: MockClock
    ) -> None:
        """Slow enough for every allowance, and our answers are never taken (CVE-2019-9512)."""
        async with calling(Working(), stall=60) as caller:
            await caller.ask("/wait")
            caller.hearing = trio.Event()
            await caller.send(ping())  # what it hears now is the last
            await pause(1)

            async def send_on() -> None:
                while True:
                    await caller.link.send_all(ping() * 5)
                    await pause(1)

            with pytest.raises(Broken):
                await send_on()
            assert trio.current_time() < 100


class TestDrain:
    async def test_without_a_stream(self, autojump_clock: MockClock) -> None:
        async with calling(Scripted()) as caller:
            await caller.whole(await caller.ask("/echo"))
            await pause(1)
            caller.server.drain()
            await trio.testing.wait_all_tasks_blocked()
            assert caller.goaways == [(0, 1, 1)]
            assert caller.ended == 1

    async def test_before_it_has_begun(self, autojump_clock: MockClock) -> None:
        handler = Scripted()
        async with calling(handler, begin=False) as caller:
            caller.server.drain()
            await trio.testing.wait_all_tasks_blocked()
            assert (caller.goaways, caller.ended) == ([(0, 0, 0)], 0)

    async def test_streams_are_served_to_their_end(self, autojump_clock: MockClock) -> None:
        async def slow(exchange: Exchange) -> None:
            await pause(5)
            await exchange.respond(Answer(200, [], b"slow"))

        async with calling(Scripted(slow=slow)) as caller:
            stream = await caller.ask("/slow")
            await pause(1)
            caller.server.drain()
            caller.server.drain()
            await pause(1)
            assert (await caller.whole(await caller.ask("/beside"))).status == 200
            assert caller.goaways == []
            assert (await caller.whole(stream)).body == b"slow"
            await trio.testing.wait_all_tasks_blocked()
            assert caller.goaways == [(0, 3, 5)]
            assert caller.ended == 5

    async def test_a_connection_that_is_never_quiet(self, autojump_clock: MockClock) -> None:
        async with calling(Working()) as caller:
            stream = await caller.ask("/stream")
            caller.server.drain()
            await pause(GRACE + 0.5)
            assert caller.goaways == [], "nobody asks for more"
            after = await caller.ask("/echo")
            assert (await caller.whole(after)).status == 200
            assert caller.goaways == [(0, after, GRACE + 0.5)]
            late = await caller.ask("/late")
            assert (await caller.whole(late)).reset == 7, "refused: ask another server"
            assert not caller.got[stream].over
            await caller.reset(stream)
            await trio.testing.wait_all_tasks_blocked()
            assert caller.ended == GRACE + 0.5


class TestCut:
    async def test_a_stream_gets_one_event(self, autojump_clock: MockClock) -> None:
        handler = Working()
        async with calling(handler) as caller:
            stream = await caller.ask("/stream")
            await pause(2.5)
            caller.server.cut()
            got = await caller.whole(stream)
            assert got.at == 2.5
            await pause(TAKEN)
            await trio.testing.wait_all_tasks_blocked()
            assert caller.ended == 2.5 + TAKEN
        assert got.reset == 2
        first, event = got.body.split(b"data: ")
        assert first == b"tick" * 3
        assert json.loads(event)["error"]["code"] == "shutting_down"
        assert caller.goaways == [(0, stream, 2.5 + TAKEN)], "not before it could be taken"
        assert handler.exchanges[0].refused == "shutting_down"
        assert handler.stopped == [2.5]

    async def test_what_waits_gets_an_answer(self, autojump_clock: MockClock) -> None:
        async with calling(Working()) as caller:
            stream, body = await caller.ask("/wait"), await caller.ask("/echo", b"x", more=True)
            await pause(1)
            caller.server.cut()
            for one in (stream, body):
                got = await caller.whole(one)
                assert (got.status, got.whole, got.at) == (503, True, 1)
                assert got.headers["retry-after"] == "1"

    async def test_a_request_that_has_just_come(self, autojump_clock: MockClock) -> None:
        handler = Scripted(full=self.full)
        async with calling(handler) as caller:
            caller.frozen.add(await caller.ask("/full"))
            await pause(1)
            caller.server.cut()
            late = await caller.ask("/echo")
            assert (await caller.whole(late)).status == 503
        assert len(handler.exchanges) == 1, "it is not begun"

    async def test_who_takes_nothing_is_not_waited_for(self, autojump_clock: MockClock) -> None:
        handler = Scripted(much=self.much)
        async with calling(handler) as caller:
            stream = await caller.ask("/much")
            caller.frozen.add(stream)
            await pause(2)
            caller.server.cut()
            got = await caller.whole(stream)
            assert (got.reset, len(got.body)) == (2, 65_535), "no event in the midst of another"
            assert got.at == 2
            await pause(TAKEN)
            await trio.testing.wait_all_tasks_blocked()
            assert caller.ended == 2 + TAKEN

    async def test_and_neither_is_who_could_take_it_and_does_not(
        self, autojump_clock: MockClock
    ) -> None:
        handler = Scripted(full=self.full)
        async with calling(handler) as caller:
            stream = await caller.ask("/full")
            caller.frozen.add(stream)
            await pause(2)
            caller.server.cut()
            got = await caller.whole(stream)
            assert (got.reset, got.at) == (2, 2 + FAREWELL)

    async def much(self, exchange: Exchange) -> None:
        await exchange.link.send_all(exchange.start([]) + b"x" * 100_000)

    async def full(self, exchange: Exchange) -> None:
        await exchange.link.send_all(exchange.start([]) + b"x" * 65_535)
        await trio.sleep_forever()

    async def test_without_a_word_streams_are_reset(self, autojump_clock: MockClock) -> None:
        """The process has waited long enough: its tasks are cancelled."""
        handler = Working()
        async with calling(handler) as caller:
            stream = await caller.ask("/stream")
            await pause(2.5)
            caller.stop.cancel()
            assert (await caller.whole(stream)).reset == 2
            assert handler.stopped == [2.5]
