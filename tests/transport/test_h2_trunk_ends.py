"""The end of a shared connection: who is told what, in the instants before and after it."""

import logging
import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.errors import FaultKind
from kproxy.transport.duplex import Broken
from tests.fakes.attempted import attempt, whole
from tests.fakes.h2_frames import update
from tests.fakes.h2_provider import REQUEST, Turn, answering, lease, site

LARGE = b"POST /v1 HTTP/1.1\r\nhost: there\r\ncontent-length: 200000\r\n\r\n" + bytes(200_000)
WINDOWFUL = b"POST /v1 HTTP/1.1\r\nhost: there\r\ncontent-length: 65535\r\n\r\n" + bytes(65_535)


async def silent(turn: Turn) -> None:
    await turn.asked()


async def test_room_in_front_of_what_is_refused(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """In one piece: the codec is over when the call that waits for room would go on."""
    async with site(silent) as made, trio.open_nursery() as sending:
        made.provider.frozen = True
        found = await made.pool.acquire(math.inf)

        async def send() -> None:
            with pytest.raises(Broken) as error:
                await found.link.send_all(LARGE)
            assert error.value.kind is FaultKind.BAD_FRAMING
            found.close()

        sending.start_soon(send)
        await wait_all_tasks_blocked()
        await made.provider.servers[0].send(update(1, 100_000) + update(0, 100_000) + update(0, 0))
        await wait_all_tasks_blocked()
        assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_a_request_that_was_never_sent_is_untouched(autojump_clock: MockClock) -> None:
    async with site(silent) as made:
        first = await lease(made)
        await wait_all_tasks_blocked()
        early, late = [await made.pool.acquire(math.inf) for _ in range(2)]
        made.provider.servers[0].link.reset()
        with pytest.raises(Broken) as seen:
            await first.link.receive()
        assert not seen.value.untouched
        for one in (early, late):
            with pytest.raises(Broken) as error:
                await one.link.send_all(REQUEST)
            assert (error.value.kind, error.value.untouched) == (FaultKind.CONNECT, True)
        for one in (first, early, late):
            one.close()


async def test_no_timer_is_left_of_it(autojump_clock: MockClock) -> None:
    async with site(silent) as made:
        found = await lease(made)
        await wait_all_tasks_blocked()
        (trunk,) = made.trunks._trunks
        made.provider.servers[0].link.close()
        await wait_all_tasks_blocked()
        assert trunk.has_ended
        found.close()
        assert trunk._clock.when == math.inf


async def test_a_mistake_of_ours_keeps_the_end_from_nobody(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("ours")

    async with site(silent) as made:
        found = [await lease(made) for _ in range(3)]
        found[0].link.on_gone = fail
        await wait_all_tasks_blocked()
        made.provider.servers[0].link.reset()
        for one in found:
            with pytest.raises(Broken):
                await one.link.receive()
            one.close()
        assert [one.levelno for one in caplog.records] == [logging.ERROR]
        assert len(made.trunks) == 0


async def test_calls_go_elsewhere_where_too_much_waits_for_the_link(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And come back when it has eased."""
    async with site(answering(b"x"), window=70_000) as made:
        first = await lease(made)
        await first.link.receive()
        first.close()
        await wait_all_tasks_blocked()
        (server,) = made.provider.servers
        (trunk,) = made.trunks._trunks
        receive, eased = server.link.receive, trio.Event()

        async def deaf() -> bytes:
            await eased.wait()
            return await receive()

        monkeypatch.setattr(server.link, "receive", deaf)
        await server.send(update(0, 2**20))
        await wait_all_tasks_blocked()
        held = []
        async with trio.open_nursery() as sending:

            async def send() -> None:
                found = await made.pool.acquire(math.inf)
                held.append(found)
                await found.link.send_all(WINDOWFUL)

            for _ in range(2):
                sending.start_soon(send)
                await wait_all_tasks_blocked()
            assert (trunk.room, trunk.is_open) == (0, True)
            other = await made.pool.acquire(math.inf)
            assert made.provider.dialled == 2
            other.close()
            eased.set()
        await wait_all_tasks_blocked()
        assert trunk.room
        for one in held:
            one.close()
        assert await whole(attempt(made)) == b"x"  # type: ignore[arg-type]
        assert made.provider.dialled == 2
