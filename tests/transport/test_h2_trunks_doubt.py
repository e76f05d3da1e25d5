"""Connections that are silently dead: how many requests go there before it is known."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.errors import Fault
from kproxy.upstream.attempt import Attempt
from tests.fakes.attempted import attempt, whole
from tests.fakes.h2_provider import Site, Turn, answering, lease, site
from tests.fakes.h2_provider import whole as body


def ask(made: Site) -> Attempt:
    return attempt(made)  # type: ignore[arg-type]


async def test_a_path_that_is_forgotten_while_idle(autojump_clock: MockClock) -> None:
    """Nothing says so, not even a reset. Who asks first learns it, and few others."""
    async with site(answering(b"x")) as made:
        assert await whole(ask(made)) == b"x"
        await trio.sleep(30)
        (server,) = made.provider.servers
        server.deaf = server.mute = True
        start = trio.current_time()
        lost: list[tuple[int, float]] = []

        async def try_it(number: int) -> None:
            try:
                assert await whole(ask(made)) == b"x"
            except Fault:
                lost.append((number, trio.current_time() - start))

        async with trio.open_nursery() as callers:
            for number in range(30):
                callers.start_soon(try_it, number)
                await wait_all_tasks_blocked()
                await trio.sleep(0.5)
        assert sorted(lost) == [(0, 5), (1, 5)], "those before a PING had no answer for a second"
        assert made.provider.dialled == 2


async def test_one_that_answers_is_used_again(autojump_clock: MockClock) -> None:
    """A PING goes with the first request after a silence, and no further one."""
    async with site(answering(b"x", wait=3)) as made:
        for _ in range(2):
            assert await body(await lease(made)) == b"x"
            await trio.sleep(30)
        held = [await lease(made) for _ in range(4)]
        await trio.sleep(2)
        held.append(await lease(made))
        assert [await body(one) for one in held] == [b"x"] * 5
        (server,) = made.provider.servers
        assert server.pings == 2


async def test_after_a_second_calls_go_elsewhere(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.asked()

    async with site(play) as made:
        held = [await lease(made) for _ in range(2)]
        await wait_all_tasks_blocked()
        first = made.trunks._trunks[0]
        made.provider.servers[0].deaf = True
        await trio.sleep(6)
        held.append(await lease(made))  # a PING goes with it
        await trio.sleep(1)
        held.append(await lease(made))
        await wait_all_tasks_blocked()
        assert (made.provider.dialled, first.doubt) == (2, 1)
        for one in held:
            one.close()
        await trio.sleep(4)
        await wait_all_tasks_blocked()
        assert first.has_ended
