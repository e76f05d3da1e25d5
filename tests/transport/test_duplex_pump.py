"""`Duplex.pump`, held against real links over socket pairs and against the fake."""

from collections.abc import AsyncIterator, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.transport.duplex import Broken, Expired
from tests.fakes.pairs import Copy, Pair, everything, links, memory, secure


@pytest.fixture(params=[memory, links, secure], ids=["memory", "link", "secure"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Pair]]:
    async with request.param() as make:
        yield make


async def test_relays_until_the_stage_has_finished(pair: Callable[[], Pair]) -> None:
    (provider, source), (sink, caller) = pair(), pair()
    got = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(everything, caller, got)
        nursery.start_soon(source.pump, sink, Copy(last=b"two"), 60)
        for piece in (b"one", b"two"):
            await provider.send_all(piece)
            await wait_all_tasks_blocked()
        sink.end()
    assert got == b"onetwo"
    provider.send_nowait(b"three")
    assert await source.receive() == b"three", "the link is its owner's again"


async def test_the_gap_is_the_sources(pair: Callable[[], Pair], autojump_clock: MockClock) -> None:
    (provider, source), (sink, _) = pair(), pair()
    started = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def speak() -> None:
            await trio.sleep(5)
            provider.send_nowait(b"")
            await trio.sleep(5)

        nursery.start_soon(speak)
        with pytest.raises(Expired) as expired:
            await source.pump(sink, Copy(), 8)
    assert expired.value.link is source
    assert trio.current_time() == started + 10


async def test_the_whole_is_bounded_by_the_deadline(
    pair: Callable[[], Pair], autojump_clock: MockClock
) -> None:
    (_, source), (sink, _) = pair(), pair()
    source.deadline = until = trio.current_time() + 3
    with pytest.raises(Expired) as expired:
        await source.pump(sink, Copy(), 8)
    assert expired.value.link is source
    assert trio.current_time() == until


async def test_deafness_is_the_sinks(pair: Callable[[], Pair], autojump_clock: MockClock) -> None:
    (provider, source), (sink, _) = pair(), pair()
    sink.stall = 5.0  # type: ignore[attr-defined]
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(provider.send_all, b"x" * 50_000_000)
        with pytest.raises(Expired) as expired:
            await source.pump(sink, Copy(), 1)
        nursery.cancel_scope.cancel()
    assert expired.value.link is sink
    assert trio.current_time() == started + 5


async def test_what_the_stage_raises_comes_out(pair: Callable[[], Pair]) -> None:
    class Bad(Copy):
        def take(self, data: bytes) -> bytes:
            raise ValueError("bad bytes")

    (provider, source), (sink, _) = pair(), pair()
    provider.send_nowait(b"x")
    with pytest.raises(ValueError, match="bad bytes"):
        await source.pump(sink, Bad(), 60)


async def test_a_sink_that_broke_is_named(pair: Callable[[], Pair]) -> None:
    (provider, source), (sink, caller) = pair(), pair()
    caller.close()
    provider.send_nowait(b"x")
    with pytest.raises(Broken) as broken:
        await source.pump(sink, Copy(), 60)
    assert broken.value.link is sink
