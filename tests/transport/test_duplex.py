"""The contract of `Duplex`, held against a real link over a socket pair and against the fake.

What the tests of other rooms believe about a connection is believed of `MemoryDuplex`; whatever is
promised to both is tried on both here, and what the relay is promised in `test_duplex_pump.py`.
"""

import inspect
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.transport.duplex import Broken, Duplex, Expired
from kproxy.transport.link import Link
from kproxy.transport.secure import SecureLink
from tests.fakes.duplex import MemoryDuplex, duplex_pair
from tests.fakes.pairs import Pair, everything, links, memory, secure


@pytest.fixture(params=[memory, links, secure], ids=["memory", "link", "secure"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Pair]]:
    async with request.param() as make:
        yield make


@pytest.mark.parametrize("kind", [MemoryDuplex, Link, SecureLink])
def test_both_have_every_member(kind: type) -> None:
    for name, member in inspect.getmembers(Duplex):
        if name.startswith("_"):
            continue
        mine = getattr(kind, name)
        if inspect.isfunction(member):
            wanted = list(inspect.signature(member).parameters)
            assert list(inspect.signature(mine).parameters) == wanted, name
            assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(member), name
    for name in Duplex.__annotations__:
        assert isinstance(getattr(kind, name), property), name


async def test_what_was_handed_over_is_counted(pair: Callable[[], Pair]) -> None:
    a, b = pair()
    begun = a.sent
    async with trio.open_nursery() as nursery:
        for size in (3, 2_000_000):
            nursery.start_soon(a.send_all, b"x" * size)
            left = size
            while left:
                left -= len(await b.receive())
            await trio.testing.wait_all_tasks_blocked()
    assert a.sent - begun == 2_000_003
    assert not a.torn


async def test_bytes_arrive_whole_and_in_order(pair: Callable[[], Pair]) -> None:
    a, b = pair()
    sent = bytes(range(256)) * 4_000
    got = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(everything, b, got)
        await a.send_all(sent[:10])
        await a.send_all(b"")
        await a.send_all(sent[10:])
        a.end()
    assert bytes(got) == sent


async def test_an_end_is_told_again_and_again(pair: Callable[[], Pair]) -> None:
    a, b = pair()
    a.end()
    a.end()
    assert await b.receive() == b""
    assert await b.receive() == b""
    assert b.receive_nowait() == b""
    await wait_all_tasks_blocked()
    assert b.peer_ended
    assert not a.peer_ended


@pytest.mark.parametrize("open_to_it", [memory, links], ids=["memory", "link"])
async def test_after_an_end_the_other_direction_goes_on(
    open_to_it: Callable[[], AbstractAsyncContextManager[Callable[[], Pair]]],
) -> None:
    """Not over TLS: what comes then is only waited for (test_secure.py)."""
    async with open_to_it() as pair:
        await goes_on_after_an_end(*pair())


async def goes_on_after_an_end(a: Duplex, b: Duplex) -> None:
    a.end()
    got = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(everything, a, got)
        await b.send_all(b"answer")
        b.end()
    assert got == b"answer"
    with pytest.raises(Broken) as broken:
        a.send_nowait(b"more")
    assert broken.value.link is a


async def test_what_would_wait_says_so(pair: Callable[[], Pair], nursery: trio.Nursery) -> None:
    a, b = pair()
    assert b.receive_nowait() is None
    rest = b"x" * 65_536
    while sent := a.send_nowait(rest):
        rest = rest[sent:] or b"x" * 65_536
    got = bytearray()
    nursery.start_soon(everything, b, got)
    await a.send_all(rest + b"last")
    a.end()
    await wait_all_tasks_blocked()
    assert got.endswith(b"xlast")


async def test_a_receive_ends_at_its_deadline(
    pair: Callable[[], Pair], autojump_clock: MockClock
) -> None:
    a, b = pair()
    b.deadline = trio.current_time() + 5
    started = trio.current_time()
    with pytest.raises(Expired) as expired:
        await b.receive()
    assert expired.value.link is b
    assert trio.current_time() == started + 5
    with pytest.raises(Expired):
        await b.receive()
    b.deadline = math.inf
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.send_all, b"usable")
        assert await b.receive() == b"usable"


async def test_what_is_here_is_received_after_the_deadline(
    pair: Callable[[], Pair], autojump_clock: MockClock
) -> None:
    a, b = pair()
    a.send_nowait(b"here")
    b.deadline = trio.current_time() - 1
    assert await b.receive() == b"here"


@pytest.mark.parametrize("change", [-4.0, 0.0, 20.0])
async def test_a_deadline_can_be_moved_while_waiting(
    pair: Callable[[], Pair], autojump_clock: MockClock, change: float
) -> None:
    _, b = pair()
    started = trio.current_time()
    b.deadline = started + 5
    async with trio.open_nursery() as nursery:

        async def move() -> None:
            await trio.sleep(0.5)
            b.deadline = started + 5 + change

        nursery.start_soon(move)
        with pytest.raises(Expired):
            await b.receive()
    assert trio.current_time() == started + 5 + change


async def test_a_send_that_nobody_takes_stalls(
    pair: Callable[[], Pair], autojump_clock: MockClock
) -> None:
    a, _ = pair()
    a.stall = 7.0  # type: ignore[attr-defined]
    started = trio.current_time()
    with pytest.raises(Expired) as expired:
        await a.send_all(b"x" * 50_000_000)
    assert expired.value.link is a
    assert trio.current_time() == started + 7
    assert a.deadline == math.inf


async def test_a_send_that_is_taken_slowly_does_not_stall(
    pair: Callable[[], Pair], autojump_clock: MockClock
) -> None:
    a, b = pair()
    a.stall = 7.0  # type: ignore[attr-defined]
    got = bytearray()
    async with trio.open_nursery() as nursery:

        async def slowly() -> None:
            while len(got) < 2_000_000:
                await trio.sleep(6)
                for _ in range(32):
                    got.extend(b.receive_nowait() or b"")

        nursery.start_soon(slowly)
        await a.send_all(b"x" * 2_000_000)
    assert len(got) == 2_000_000


async def test_a_send_ends_at_the_deadline_too(
    pair: Callable[[], Pair], autojump_clock: MockClock
) -> None:
    a, _ = pair()
    a.deadline = until = trio.current_time() + 3
    with pytest.raises(Expired):
        await a.send_all(b"x" * 50_000_000)
    assert trio.current_time() == a.deadline == until


@pytest.mark.parametrize("leave", ["end", "close", "reset"])
async def test_gone_is_told_once_with_bytes_unread(pair: Callable[[], Pair], leave: str) -> None:
    a, b = pair()
    told: list[bool] = []
    b.on_gone = lambda: told.append(b.peer_ended)
    a.send_nowait(b"a pipelined request")
    await wait_all_tasks_blocked()
    assert told == []
    getattr(a, leave)()
    await wait_all_tasks_blocked()
    assert told == [True]
    assert b.on_gone is None
    a.close()
    await wait_all_tasks_blocked()
    assert told == [True]


async def test_gone_is_told_at_once_to_who_asks_late(pair: Callable[[], Pair]) -> None:
    a, b = pair()
    a.end()
    await wait_all_tasks_blocked()
    told: list[int] = []
    b.on_gone = lambda: told.append(1)
    assert told == [1]


async def test_gone_is_not_told_to_who_asks_no_more(pair: Callable[[], Pair]) -> None:
    a, b = pair()
    told: list[int] = []
    b.on_gone = lambda: told.append(1)
    b.on_gone = None
    a.close()
    await wait_all_tasks_blocked()
    b.on_gone = lambda: told.append(2)
    b.close()
    assert told == [2]


async def test_ones_own_close_is_not_the_peers(pair: Callable[[], Pair]) -> None:
    a, _ = pair()
    a.on_gone = lambda: pytest.fail("told")
    a.close()
    await wait_all_tasks_blocked()


async def test_closing_wakes_who_waits(pair: Callable[[], Pair]) -> None:
    a, _ = pair()
    with pytest.RaisesGroup(Broken):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.receive)
            await wait_all_tasks_blocked()
            a.close()
    a.close()
    with pytest.raises(Broken):
        await a.receive()
    with pytest.raises(Broken):
        await a.send_all(b"x")


async def test_a_peer_that_closed_breaks_a_send(pair: Callable[[], Pair]) -> None:
    a, b = pair()
    b.close()
    with pytest.raises(Broken) as broken:
        await a.send_all(b"x" * 1_000_000)
    assert broken.value.link is a


async def test_a_peer_that_closes_breaks_a_waiting_send(pair: Callable[[], Pair]) -> None:
    a, b = pair()
    with pytest.RaisesGroup(Broken):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.send_all, b"x" * 50_000_000)
            await wait_all_tasks_blocked()
            b.close()


async def test_closing_with_bytes_unread_resets(pair: Callable[[], Pair]) -> None:
    a, b = pair()
    a.send_nowait(b"unread")
    b.close()
    with pytest.raises(Broken) as broken:
        await a.receive()
    assert broken.value.link is a


async def test_a_cancelled_wait_loses_nothing(
    pair: Callable[[], Pair], autojump_clock: MockClock
) -> None:
    a, b = pair()
    with trio.move_on_after(1) as scope:
        await b.receive()
    assert scope.cancelled_caught
    a.send_nowait(b"after")
    assert await b.receive() == b"after"


async def test_a_watcher_hears_of_bytes_and_of_the_end(pair: Callable[[], Pair]) -> None:
    a, b = pair()
    heard: list[bytes | None] = []
    b.watch(lambda: heard.append(b.receive_nowait()))
    a.send_nowait(b"bytes")
    await wait_all_tasks_blocked()
    a.end()
    await wait_all_tasks_blocked()
    b.watch(None)
    a.close()
    await wait_all_tasks_blocked()
    assert b"bytes" in heard
    assert heard[-1] == b""


class TestMemoryOnly:
    """Where the fake is harsher than a kernel."""

    async def test_a_send_waits_until_all_is_taken(self, nursery: trio.Nursery) -> None:
        a, b = duplex_pair()
        b.read_size = 2
        nursery.start_soon(a.send_all, b"abc")
        await wait_all_tasks_blocked()
        assert (b.receive_nowait(), a.sent, b.unread) == (b"ab", 2, 1)
        assert a.send_nowait(b"d") == 0

    async def test_a_reset_destroys_what_was_on_its_way(self) -> None:
        a, b = duplex_pair()
        b.send_nowait(b"response")
        a.send_nowait(b"unread")
        b.close()
        with pytest.raises(Broken):
            await a.receive()
