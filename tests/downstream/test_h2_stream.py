"""A stream as a channel: what its peer's window does to whoever sends, by hand or by a relay."""

import math
import socket

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.downstream.h2_stream import H2Stream
from kproxy.transport.duplex import Broken, Expired
from kproxy.transport.link import Link
from kproxy.transport.timers import Timers
from kproxy.wire.proxy import Peer
from tests.fakes.hubbed import hubbed, until


class Trunk:
    """A connection with as much room as the test says. `sent` and `given` are what it was asked."""

    def __init__(self, timers: Timers | None = None) -> None:
        self.timers = timers or Timers()
        self.peer = Peer("192.0.2.1", 7)
        self.room = 0
        self.sent = b""
        self.given: list[int] = []
        self.waiting: list[H2Stream] = []

    def offer(self, stream: int, data: bytes | memoryview) -> int:
        piece = bytes(data[: self.room])
        self.room -= len(piece)
        self.sent += piece
        return len(piece)

    def await_room(self, stream: H2Stream) -> None:
        self.waiting = [stream]

    def used(self, stream: int, size: int) -> None:
        self.given.append(size)

    def open(self, room: int) -> None:
        self.room += room
        waiting, self.waiting = self.waiting, []
        for stream in waiting:
            stream.has_room()


class Copy:
    """A stage that passes everything and finishes with the source."""

    def __init__(self) -> None:
        self.finished = False
        self.taken = 0

    def take(self, data: bytes) -> bytes:
        self.taken += len(data)
        self.finished = not data
        return data


class TestReceive:
    async def test_pieces_then_the_end(self) -> None:
        trunk = Trunk()
        stream = H2Stream(trunk, 1, 60)
        assert stream.receive_nowait() is None
        stream.receive_piece(b"one", 5, ended=False)
        stream.receive_piece(b"two", 3, ended=True)
        assert [await stream.receive() for _ in range(3)] == [b"one", b"two", b""]
        assert trunk.given == [5, 3], "with padding, and by what was taken"

    async def test_waits_for_a_piece(self, nursery: trio.Nursery) -> None:
        stream = H2Stream(Trunk(), 1, 60)
        got: list[bytes] = []

        async def read() -> None:
            got.append(await stream.receive())

        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        stream.receive_piece(b"one", 3, ended=False)
        await wait_all_tasks_blocked()
        assert got == [b"one"]

    async def test_padding_alone_is_given_back_at_once(self) -> None:
        trunk = Trunk()
        await trio.lowlevel.checkpoint()
        H2Stream(trunk, 1, 60).receive_piece(b"", 9, ended=False)
        assert trunk.given == [9]

    async def test_what_nobody_took_is_given_back_in_the_end(self) -> None:
        trunk = Trunk()
        await trio.lowlevel.checkpoint()
        stream = H2Stream(trunk, 1, 60)
        stream.receive_piece(b"body", 4, ended=False)
        assert trunk.given == []
        stream.close()
        assert trunk.given == [4]

    async def test_a_deadline(self, autojump_clock: MockClock) -> None:
        trunk = Trunk()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trunk.timers.run)
            stream = H2Stream(trunk, 1, 60)
            stream.deadline = 5
            with pytest.raises(Expired) as late:
                await stream.receive()
            assert (late.value.link, trio.current_time()) == (stream, 5)
            nursery.cancel_scope.cancel()

    async def test_a_stream_that_is_no_more(self) -> None:
        stream = H2Stream(Trunk(), 1, 60)
        stream.receive_piece(b"body", 4, ended=True)
        stream.lose("reset by the peer")
        with pytest.raises(Broken, match="reset by the peer"):
            await stream.receive()
        with pytest.raises(Broken):
            stream.send_nowait(b"x")


class TestGone:
    async def test_is_told_once(self) -> None:
        told: list[int] = []
        stream = H2Stream(Trunk(), 1, 60)
        stream.on_gone = lambda: told.append(1)
        stream.lose("a")
        stream.lose("b")
        await trio.lowlevel.checkpoint()
        assert (told, repr(stream)) == ([1], "<H2Stream 1 a>")

    async def test_and_at_once_where_it_was_before(self) -> None:
        told: list[int] = []
        stream = H2Stream(Trunk(), 1, 60)
        stream.lose("a")
        await trio.lowlevel.checkpoint()
        stream.on_gone = lambda: told.append(1)
        assert told == [1]


class TestSend:
    async def test_waits_for_room(self) -> None:
        trunk = Trunk()
        trunk.room = 3
        stream = H2Stream(trunk, 1, 60)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"0123456789")
            await wait_all_tasks_blocked()
            assert trunk.sent == b"012"
            trunk.open(4)
            await wait_all_tasks_blocked()
            assert trunk.sent == b"0123456"
            trunk.open(100)
        assert trunk.sent == b"0123456789"
        assert stream.deadline == math.inf

    async def test_until_the_stall(self, autojump_clock: MockClock) -> None:
        trunk = Trunk()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trunk.timers.run)
            stream = H2Stream(trunk, 1, 60)
            nursery.start_soon(_open_at, trunk, 50)
            with pytest.raises(Expired):
                await stream.send_all(b"0123456789")
            assert trio.current_time() == 110, "progress begins it anew"
            nursery.cancel_scope.cancel()

    async def test_until_its_end(self) -> None:
        stream = H2Stream(Trunk(), 1, 60)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_lose_soon, stream)
            with pytest.raises(Broken):
                await stream.send_all(b"x")

    async def test_a_wake_for_another_reason_sends_nothing(self) -> None:
        trunk = Trunk()
        stream = H2Stream(trunk, 1, 60)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"x")
            await wait_all_tasks_blocked()
            stream.receive_piece(b"body", 4, ended=False)
            await wait_all_tasks_blocked()
            assert trunk.sent == b""
            trunk.open(1)
        assert trunk.sent == b"x"


async def _open_at(trunk: Trunk, when: float) -> None:
    await trio.sleep(when)
    trunk.open(1)


async def _lose_soon(stream: H2Stream) -> None:
    await wait_all_tasks_blocked()
    stream.lose("reset by the peer")


class TestRelay:
    """A provider's socket, relayed into a stream by the hub."""

    async def test_a_window_that_is_shut_stops_the_provider(self) -> None:
        sent = b"".join(b"%07d\n" % number for number in range(200_000))
        async with hubbed() as (hub, nursery):
            near, far = socket.socketpair()
            provider, source = Link(hub, near), Link(hub, far)
            trunk, stage = Trunk(hub.timers), Copy()
            stream = H2Stream(trunk, 1, 60)

            async def speak() -> None:
                await provider.send_all(sent)
                provider.end()

            async def relay() -> None:
                await source.pump(stream, stage, 60)

            nursery.start_soon(speak)
            async with trio.open_nursery() as relaying:
                relaying.start_soon(relay)
                await until(lambda: trunk.waiting)
                held = stage.taken
                for _ in range(50):
                    await trio.lowlevel.checkpoint()
                assert stage.taken == held <= 65_536, "one read, and no more"
                while not stage.finished:
                    trunk.open(100_000)
                    await until(lambda: trunk.waiting or stage.finished)
                trunk.open(1_000_000)
            assert trunk.sent == sent
            provider.close()
            source.close()

    async def test_ends_with_the_stream(self) -> None:
        async with hubbed() as (hub, _):
            near, far = socket.socketpair()
            provider, source = Link(hub, near), Link(hub, far)
            stream = H2Stream(Trunk(hub.timers), 1, 60)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_lose_soon, stream)
                with pytest.raises(Broken) as broken:
                    await source.pump(stream, Copy(), 60)
            assert broken.value.link is stream
            provider.close()
            source.close()
