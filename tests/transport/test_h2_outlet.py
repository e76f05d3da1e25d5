"""What waits for a link goes there whole and in order, and who waits for less of it is told."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.transport.duplex import Broken, Expired
from kproxy.transport.h2_outlet import PIECE, Outlet
from tests.fakes.duplex import MemoryDuplex, duplex_pair


class Made:
    """An outlet, and the other side of its link. `sizes`: what waited whenever some was taken."""

    def __init__(self) -> None:
        self.link, self.there = duplex_pair()
        self.outlet = Outlet(self.link, self._eased)
        self.sizes: list[int] = []

    def _eased(self) -> None:
        self.sizes.append(len(self.outlet))


async def read(there: MemoryDuplex, size: int) -> bytes:
    got = b""
    while len(got) < size:
        got += await there.receive()
    return got


async def test_what_the_link_takes_does_not_wait(autojump_clock: MockClock) -> None:
    made = Made()
    made.outlet.send(b"word")
    assert (len(made.outlet), made.sizes) == (0, [])
    assert await made.there.receive() == b"word"


async def test_what_it_does_not_take_goes_in_order(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    made = Made()
    said = [bytes([number]) * 30_000 for number in range(4)]
    made.outlet.send(b"first")
    for one in said[:2]:
        made.outlet.send(one)
    nursery.start_soon(made.outlet.run)
    await wait_all_tasks_blocked()
    for one in said[2:]:
        made.outlet.send(one)
    assert len(made.outlet) == 120_000
    assert await read(made.there, 120_005) == b"first" + b"".join(said)
    await wait_all_tasks_blocked()
    assert made.sizes == [*range(120_000 - PIECE, 0, -PIECE), 0, 0]
    made.outlet.send(b"last")
    assert await made.there.receive() == b"last"


async def test_waiting_until_it_has_eased(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    made, eased = Made(), trio.Event()
    made.outlet.send(b"first")
    made.outlet.send(bytes(50_000))

    async def wait() -> None:
        await made.outlet.ease(20_000)
        eased.set()

    nursery.start_soon(made.outlet.run)
    nursery.start_soon(wait)
    await read(made.there, 5 + PIECE)
    await wait_all_tasks_blocked()
    assert not eased.is_set()
    await read(made.there, PIECE)
    await wait_all_tasks_blocked()
    assert eased.is_set()
    await made.outlet.ease(20_000)


async def test_a_link_that_breaks(autojump_clock: MockClock) -> None:
    made = Made()
    made.outlet.send(b"first")
    made.outlet.send(b"more")
    made.there.close()
    with pytest.raises(Broken):
        await made.outlet.run()
    with pytest.raises(Broken):
        made.outlet.send(b"again")
    assert len(made.outlet) == 0


async def test_a_link_that_takes_nothing(autojump_clock: MockClock) -> None:
    made, start = Made(), trio.current_time()
    made.outlet.send(b"first")
    made.outlet.send(b"more")
    with pytest.raises(Expired):
        await made.outlet.run()
    assert trio.current_time() - start == made.link.stall
