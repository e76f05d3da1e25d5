"""The relay between two real sockets: whole, in order, under backpressure, cancellable."""

import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from kproxy.transport.duplex import Broken, Expired
from kproxy.transport.hub import GONE, READABLE, Hub
from kproxy.transport.link import Link
from kproxy.transport.pump import Pump


class Copy:
    """A stage that passes everything and finishes with the source."""

    def __init__(self) -> None:
        self.finished = False
        self.taken = 0

    def take(self, data: bytes) -> bytes:
        self.taken += len(data)
        self.finished = not data
        return data


@asynccontextmanager
async def relaying() -> AsyncIterator[tuple[Link, Link, Link, Link]]:
    """provider | source -> sink | caller, in one hub."""
    hub = Hub()
    provider, source = socket.socketpair()
    sink, caller = socket.socketpair()
    links = [Link(hub, one) for one in (provider, source, sink, caller)]
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        yield links[0], links[1], links[2], links[3]
        for link in links:
            link.close()
        nursery.cancel_scope.cancel()
    hub.close()


async def test_everything_arrives_in_order_under_backpressure() -> None:
    sent = b"".join(b"%07d\n" % number for number in range(1_000_000))
    async with relaying() as (provider, source, sink, caller), trio.open_nursery() as nursery:

        async def speak() -> None:
            await provider.send_all(sent)
            provider.end()

        async def relay() -> None:
            await source.pump(sink, Copy(), 60)
            sink.end()

        nursery.start_soon(speak)
        nursery.start_soon(relay)
        got = bytearray()
        while data := await caller.receive():
            got += data
        assert bytes(got) == sent


async def test_a_caller_who_does_not_read_stops_the_reading() -> None:
    async with relaying() as (provider, source, sink, _caller), trio.open_nursery() as nursery:
        stage = Copy()
        nursery.start_soon(source.pump, sink, stage, 60)
        nursery.start_soon(provider.send_all, b"x" * 50_000_000)
        with trio.move_on_after(0.2):
            await trio.sleep_forever()
        held = stage.taken
        with trio.move_on_after(0.2):
            await trio.sleep_forever()
        assert stage.taken == held < 4_000_000
        nursery.cancel_scope.cancel()


async def test_cancelling_the_owner_detaches_at_once() -> None:
    async with relaying() as (provider, source, sink, caller):
        stage = Copy()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(source.pump, sink, stage, 60)
                await provider.send_all(b"before")
                assert await caller.receive() == b"before"
                scope.cancel()
        await provider.send_all(b"after")
        assert await source.receive() == b"after"
        assert stage.taken == len(b"before")
        assert not sink.torn


async def test_cancelled_with_something_left_over_it_leaves_the_sink_torn() -> None:
    class Swelling(Copy):
        def __init__(self) -> None:
            super().__init__()
            self.took = trio.Event()

        def take(self, data: bytes) -> bytes:
            self.took.set()
            return data * 10_000_000

    async with relaying() as (provider, source, sink, _caller):
        stage = Swelling()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.pump, sink, stage, 60)
            await provider.send_all(b"x")
            await stage.took.wait()
            nursery.cancel_scope.cancel()
        assert sink.torn


async def test_what_the_stage_raises_reaches_the_owner() -> None:
    class Bad(Copy):
        def take(self, data: bytes) -> bytes:
            raise ValueError("bad bytes")

    async with relaying() as (provider, source, sink, _):
        provider.send_nowait(b"x")
        with pytest.raises(ValueError, match="bad bytes"):
            await source.pump(sink, Bad(), 60)


async def test_so_does_what_it_raises_at_its_very_end() -> None:
    class Breaks(Copy):
        def take(self, data: bytes) -> bytes:
            super().take(data)
            if self.finished:
                raise RuntimeError("at the end")
            return data

    async with relaying() as (provider, source, sink, _):
        provider.send_nowait(b"x")
        provider.end()
        with trio.fail_after(10), pytest.raises(RuntimeError, match="at the end"):
            await source.pump(sink, Breaks(), 60)


async def test_silence_is_the_sources_and_deafness_the_sinks() -> None:
    async with relaying() as (provider, source, sink, _):
        with pytest.raises(Expired) as silent:
            await source.pump(sink, Copy(), 0.01)
        assert silent.value.link is source
        sink.stall = 0.01
        source.deadline = math.inf
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.send_all, b"x" * 50_000_000)
            with pytest.raises(Expired) as deaf:
                await source.pump(sink, Copy(), 60)
            assert deaf.value.link is sink
            nursery.cancel_scope.cancel()


async def test_a_sink_that_breaks_ends_the_relay() -> None:
    async with relaying() as (provider, source, sink, caller):
        caller.close()
        provider.send_nowait(b"x")
        with pytest.raises(Broken) as broken:
            await source.pump(sink, Copy(), 60)
        assert broken.value.link is sink


async def test_a_deadline_that_meets_the_end_does_not_undo_it() -> None:
    """The loop was held up: the timer comes between the last bytes and the owner's waking."""
    async with relaying() as (provider, source, sink, caller), trio.open_nursery() as nursery:
        stage = Copy()
        nursery.start_soon(source.pump, sink, stage, 60)
        await trio.testing.wait_all_tasks_blocked()
        provider.send_nowait(b"all of it")
        provider.end()
        source._edge(READABLE | GONE)
        assert stage.finished
        sink._expire()  # both before the owner has run
        source._expire()
        await trio.testing.wait_all_tasks_blocked()
        assert await caller.receive() == b"all of it"


async def test_bytes_that_wait_are_no_silence() -> None:
    async with relaying() as (provider, source, sink, caller):
        stage = Copy()
        pump = Pump(source, sink, stage, 0.0)
        provider.send_nowait(b"in time")
        provider.end()
        await trio.testing.wait_all_tasks_blocked()
        pump.source_expired()
        assert stage.taken == len(b"in time")
        assert await caller.receive() == b"in time"


async def test_the_deadline_of_the_whole_bounds_a_deaf_sink() -> None:
    async with relaying() as (provider, source, sink, _), trio.open_nursery() as nursery:
        source.deadline = trio.current_time() + 1  # the buffers in between fill in milliseconds
        nursery.start_soon(provider.send_all, b"x" * 50_000_000)
        with pytest.raises(Expired) as deaf:
            await source.pump(sink, Copy(), 60)
        assert deaf.value.link is sink
        nursery.cancel_scope.cancel()
