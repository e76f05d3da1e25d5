"""A connection to a provider that calls share: what ends one of them, and what ends all."""

import logging
import math
from collections.abc import Callable
from contextlib import suppress

import h2.errors
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.errors import FaultKind
from kproxy.routing.faults import POLICIES
from kproxy.transport.duplex import Broken, Expired
from kproxy.transport.h2_call import RESETS, UNTOUCHED, H2Call
from kproxy.wire.frame import LAST_CHUNK
from kproxy.wire.h2_frames import Code, frame_bytes
from tests.fakes.h2_answers import left
from tests.fakes.h2_frames import data, ping
from tests.fakes.h2_provider import REQUEST, Server, Site, Turn, answering, site


async def calling(made: Site) -> H2Call:
    found = await made.trunks.take(made.pool.origin, math.inf)
    assert found is not None
    assert isinstance(found[0], H2Call)
    await found[0].send_all(REQUEST)
    return found[0]


async def everything(call: H2Call) -> bytes:
    got = b""
    while piece := await call.receive():
        got += piece
    return got


async def broken(call: H2Call) -> Broken:
    """How it ends, when all that came was taken."""
    with pytest.raises(Broken) as error:
        await everything(call)
    call.close()
    return error.value


async def talking(turn: Turn) -> None:
    """A head, and then something every second."""
    await turn.head()
    while not turn.over:
        await turn.data(b"word")
        await trio.sleep(1)


async def silent(turn: Turn) -> None:
    await turn.asked()


# --- resets


def test_every_code_has_its_fault() -> None:
    assert set(RESETS) == set(h2.errors.ErrorCodes)
    assert set(RESETS.values()) <= set(POLICIES)
    assert {vars(Code)[name] for name in vars(Code) if name.isupper()} == set(RESETS)
    assert not any(POLICIES[RESETS[code]].charged for code in UNTOUCHED)


@pytest.mark.parametrize("code", [*RESETS, 0x99])
async def test_what_a_reset_is(autojump_clock: MockClock, code: int) -> None:
    async def play(turn: Turn) -> None:
        await turn.asked()
        await turn.server.send(frame_bytes(0x3, 0, turn.stream, code.to_bytes(4, "big")))

    async with site(play) as made:
        error = await broken(await calling(made))
        assert error.kind is RESETS.get(code, FaultKind.RESET)
        assert error.untouched is (code in UNTOUCHED)
        made.provider.servers[0].engine.reset_stream(1)  # its engine has not seen our bytes


# --- ends


async def test_a_call_that_is_given_up_leaves_the_others_alone(autojump_clock: MockClock) -> None:
    async with site(talking) as made:
        calls = [await calling(made) for _ in range(5)]
        for call in calls:
            await call.receive()
        for call in calls[1:]:
            call.close()
        await wait_all_tasks_blocked()
        (server,) = made.provider.servers
        assert [turn.reset for turn in server.turns.values()] == [None, *[Code.CANCEL] * 4]
        assert server.open_streams == 1
        await trio.sleep(3)
        assert await calls[0].receive()
        calls[0].close()
        assert made.provider.dialled == 1


async def test_an_idle_connection_is_closed_in_its_time(autojump_clock: MockClock) -> None:
    async with site(answering(b"x")) as made:
        start = trio.current_time()
        for _ in range(3):
            call = await calling(made)
            await everything(call)
            call.close()
            await trio.sleep(50)
        assert made.provider.dialled == 1
        await trio.sleep(100)
        (server,) = made.provider.servers
        assert server.ended - start == 160
        assert server.goaways == [Code.NO_ERROR]


@pytest.mark.parametrize("seconds", [10, 100])
async def test_a_connection_with_a_call_is_not_idle(
    autojump_clock: MockClock, seconds: float
) -> None:
    async with site(answering(b"x", wait=seconds)) as made:
        call = await calling(made)
        assert (await everything(call)).endswith(LAST_CHUNK)
        call.close()


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda server: server.link.reset(), FaultKind.RESET),
        (lambda server: server.link.close(), None),
    ],
)
async def test_the_connection_ends_in_mid_stream(
    autojump_clock: MockClock, act: Callable[[Server], None], kind: FaultKind | None
) -> None:
    async with site(talking) as made:
        calls = [await calling(made) for _ in range(2)]
        await trio.sleep(1)
        act(made.provider.servers[0])
        for call in calls:
            if kind is None:
                assert not (await everything(call)).endswith(LAST_CHUNK)
                call.close()
            else:
                assert (await broken(call)).kind is kind
        await wait_all_tasks_blocked()
        assert made.pool.statistics().shared == 0


@pytest.mark.parametrize(
    "raw", [b"HTTP/1.1 400 Bad\r\n\r\n", frame_bytes(0x1, 5, 1, b"\xff" * 9), ping() * 40]
)
async def test_what_is_no_http_2(autojump_clock: MockClock, raw: bytes) -> None:
    """A mistake, or a flood: the connection ends, its calls are at fault for that."""

    async def play(turn: Turn) -> None:
        await turn.asked()
        if turn.stream == 3:
            await turn.server.send(raw)

    async with site(play) as made:
        calls = [await calling(made) for _ in range(2)]
        assert [(await broken(call)).kind for call in calls] == [FaultKind.BAD_FRAMING] * 2


async def test_what_came_before_it_counts(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.asked()
        engine = turn.server.engine
        engine.send_headers(turn.stream, [(":status", "200")])
        engine.send_data(turn.stream, b"whole", end_stream=True)
        await turn.server.send(data(9, b"x"))

    async with site(play) as made:
        call = await calling(made)
        assert (await everything(call)).endswith(b"5\r\nwhole\r\n" + LAST_CHUNK)
        call.close()


async def test_its_owner_is_cancelled(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    ends: list[Broken] = []
    async with site(talking) as made:
        call = await calling(made)
        await call.receive()

        async def wait() -> None:
            ends.append(await broken(call))

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        made.stop()
        await wait_all_tasks_blocked()
        (server,) = made.provider.servers
        assert server.goaways == [Code.NO_ERROR]
    assert [end.kind for end in ends] == [FaultKind.RESET]


async def test_a_mistake_of_ours_ends_one_connection(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("ours")

    async with site(answering(b"x")) as made:
        call = await calling(made)
        monkeypatch.setattr(H2Call, "answer", fail)
        await broken(call)
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        monkeypatch.undo()
        again = await calling(made)
        assert await everything(again)
        again.close()
        assert made.provider.dialled == 2


# --- GOAWAY


async def test_a_provider_that_leaves(autojump_clock: MockClock) -> None:
    """What it looked at goes on, what it did not is told so, and the next is asked elsewhere."""

    async def play(turn: Turn) -> None:
        if len(made.provider.servers) == 1 and turn.stream == 3:
            await turn.server.send(left(1))
            turn.server.engine.reset_stream(3)
            turn.server.engine.data_to_send()
            return
        await answering(b"x", wait=5)(turn)

    async with site(play) as made:
        first, second = await calling(made), await calling(made)
        error = await broken(second)
        assert (error.kind, error.untouched) == (FaultKind.CONNECT, True)
        third = await calling(made)
        assert len(made.provider.servers) == 2
        for call in (first, third):
            assert (await everything(call)).endswith(LAST_CHUNK)
            call.close()
        await wait_all_tasks_blocked()
        assert [server.ended < math.inf for server in made.provider.servers] == [True, False]
        assert made.provider.servers[0].goaways == [Code.NO_ERROR]


async def test_a_call_made_before_and_begun_after_it(autojump_clock: MockClock) -> None:
    async with site(answering(b"x", wait=1)) as made:
        first = await calling(made)
        found = await made.trunks.take(made.pool.origin, math.inf)
        assert found is not None
        await made.provider.servers[0].send(left(1))
        await wait_all_tasks_blocked()
        with pytest.raises(Broken) as error:
            await found[0].send_all(REQUEST)
        assert error.value.untouched
        found[0].close()
        assert await everything(first)
        first.close()


async def test_a_provider_that_leaves_while_idle(autojump_clock: MockClock) -> None:
    async with site(answering(b"x")) as made:
        call = await calling(made)
        await everything(call)
        call.close()
        await made.provider.servers[0].send(left(1))
        await wait_all_tasks_blocked()
        assert (made.provider.open, made.pool.statistics().shared) == (0, 0)


# --- doubt


async def test_a_provider_that_has_fallen_silent_is_found_out(autojump_clock: MockClock) -> None:
    """Nothing comes, not even a reset: only a PING without an answer tells."""
    async with site(silent) as made:
        one, other = await calling(made), await calling(made)
        await wait_all_tasks_blocked()
        (server,) = made.provider.servers
        server.deaf = True
        await trio.sleep(20)
        late = await calling(made)
        start = trio.current_time()
        late.close()
        for call in (one, other):
            assert (await broken(call)).kind is FaultKind.RESET
        assert trio.current_time() - start == 5


async def test_one_that_falls_silent_in_mid_stream(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.head()
        await turn.data(b"word")

    async with site(play) as made:
        one, other = await calling(made), await calling(made)
        await one.receive()
        made.provider.servers[0].deaf = True
        await trio.sleep(4)
        one.close()
        await wait_all_tasks_blocked()
        third = await calling(made)
        assert made.provider.dialled == 1, "something came 4 s ago"
        await trio.sleep(1)
        third.close()
        start = trio.current_time()
        assert (await broken(other)).kind is FaultKind.RESET
        assert trio.current_time() - start == 5


async def test_one_that_never_says_its_settings(autojump_clock: MockClock) -> None:
    async with site(silent) as made:
        made.provider.mute = True
        start = trio.current_time()
        assert (await broken(await calling(made))).kind is FaultKind.RESET
        assert trio.current_time() - start == 5


async def test_a_provider_that_is_only_slow_is_not(autojump_clock: MockClock) -> None:
    async with site(silent) as made:
        slow = await calling(made)
        (server,) = made.provider.servers
        for _ in range(10):
            await trio.sleep(0.3)
            (await calling(made)).close()
            await wait_all_tasks_blocked()
        assert server.pings == 3, "not one for each call"
        await trio.sleep(20)
        assert server.ended == math.inf
        slow.close()


async def test_who_has_spoken_is_not_doubted(autojump_clock: MockClock) -> None:
    async with site(talking) as made:
        call = await calling(made)
        await call.receive()
        call.close()
        await wait_all_tasks_blocked()
        assert made.provider.servers[0].pings == 0


async def test_a_provider_that_reads_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Little is kept for it, and after a stall it is given up."""
    request = b"POST / HTTP/1.1\r\nhost: there\r\n\r\n" + bytes(60_000)
    async with site(silent, window=70_000) as made:
        first = await calling(made)
        (server,) = made.provider.servers
        await wait_all_tasks_blocked()
        blocked = trio.Event()

        async def deaf() -> bytes:
            await blocked.wait()
            return b""

        monkeypatch.setattr(server.link, "receive", deaf)
        server.engine.increment_flow_control_window(2**20)
        await server.send()
        await wait_all_tasks_blocked()
        start = trio.current_time()
        async with trio.open_nursery() as callers:

            async def ask() -> None:
                found = await made.trunks.take(made.pool.origin, math.inf)
                assert found is not None
                with suppress(Broken, Expired):
                    await found[0].send_all(request)
                    assert not await found[0].receive()
                found[0].close()

            for _ in range(10):
                callers.start_soon(ask)
            await wait_all_tasks_blocked()
            (trunk,) = made.trunks._trunks
            assert 0 < len(trunk._outlet) <= 65_536 + 10_000
        assert trio.current_time() - start == 60
        assert made.pool.statistics().shared == 0
        blocked.set()
        await broken(first)


# --- what it says


async def test_it_says_where_it_stands(autojump_clock: MockClock) -> None:
    async with site(answering(b"x", wait=1)) as made:
        call = await calling(made)
        (trunk,) = made.trunks._trunks
        assert repr(trunk) == "<H2Trunk open, 1 calls, 1 served>"
        made.pool.close()
        assert repr(trunk) == "<H2Trunk leaving, 1 calls, 1 served>"
        assert (await everything(call)).endswith(LAST_CHUNK)
        call.close()
        await wait_all_tasks_blocked()
        assert repr(trunk) == "<H2Trunk ended, 0 calls, 1 served>"
