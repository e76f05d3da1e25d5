"""The wait for a caller's last bytes: until its end, a silence, or too many of them."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from kproxy.downstream.linger import Patience, linger
from kproxy.transport.duplex import Expired
from tests.fakes.duplex import MemoryDuplex, duplex_pair

Speak = Callable[[MemoryDuplex], Awaitable[None]]
PATIENCE = Patience(gap=2, total=10, size=100)


async def lingering(speak: Speak) -> float:
    """When it was over, while `speak(caller)` spoke."""
    server, caller = duplex_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak, caller)
        try:
            await linger(server, patience=PATIENCE)
        finally:
            assert server.other.peer_ended, "our side has ended first"
            nursery.cancel_scope.cancel()
    return trio.current_time()


async def ends(caller: MemoryDuplex) -> None:
    await caller.send_all(b"x")
    await trio.sleep(1)
    caller.end()


async def silent(caller: MemoryDuplex) -> None:
    await caller.send_all(b"x")


async def drips(caller: MemoryDuplex) -> None:
    while True:
        await caller.send_all(b"x")
        await trio.sleep(1.5)


async def floods(caller: MemoryDuplex) -> None:
    while True:
        await caller.send_all(b"x" * 60)


async def test_until_the_callers_end(autojump_clock: MockClock) -> None:
    assert await lingering(ends) == 1


@pytest.mark.parametrize(("speak", "when"), [(silent, 2), (drips, 10)])
async def test_until_the_patience_ends(
    speak: Speak, when: float, autojump_clock: MockClock
) -> None:
    with pytest.RaisesGroup(Expired):
        await lingering(speak)
    assert trio.current_time() == when


async def test_until_it_was_enough(autojump_clock: MockClock) -> None:
    assert await lingering(floods) == 0
