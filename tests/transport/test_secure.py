"""TLS on a link: what readiness does not tell, ends that are clean or cut, and slow readers."""

import math
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trustme
from trio.testing import MockClock

from kproxy.transport.duplex import Broken, Expired
from kproxy.transport.hub import READABLE, WRITABLE, Hub
from kproxy.transport.link import Link
from kproxy.transport.secure import AHEAD, SecureLink
from tests.fakes.hubbed import hubbed, until
from tests.fakes.pairs import Copy
from tests.fakes.tls import Ended, Peer, connected

LARGE = b"".join(b"%07d\n" % number for number in range(500_000))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def talking(
    ca: trustme.CA, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> AsyncIterator[tuple[Hub, SecureLink, Peer]]:
    async with hubbed() as (hub, _):
        link, peer = await connected(hub, ca, version=version)
        try:
            yield hub, link, peer
        finally:
            link.close()
            peer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_large_answer_arrives_whole_and_ends_clean(
    authority: trustme.CA, version: ssl.TLSVersion
) -> None:
    async with talking(authority, version) as (_, link, peer), trio.open_nursery() as nursery:

        async def answer() -> None:
            await link.send_all(LARGE)
            link.end()

        nursery.start_soon(answer)
        assert await peer.everything() == LARGE


async def test_a_close_without_an_end_shows(authority: trustme.CA) -> None:
    async with talking(authority) as (_, link, peer):
        await link.send_all(b"half of i")
        link.close()
        assert await peer.receive() == b"half of i"
        with pytest.raises(Ended):
            await peer.receive()


async def test_an_end_that_says_cut_shows_and_stays(authority: trustme.CA) -> None:
    async with talking(authority) as (_, link, peer):
        await link.send_all(b"half of i")
        assert link.end(cut=True)
        assert link.end()
        assert await peer.receive() == b"half of i"
        with pytest.raises(Ended):
            await peer.receive()


async def test_after_our_end_we_hear_the_peers(authority: trustme.CA) -> None:
    async with talking(authority) as (_, link, peer):
        link.end()
        link.end()
        assert await peer.receive() == b""
        await peer.send(b"still talking" * 1_000)
        peer.close()
        while await link.receive():
            pass


async def test_where_there_is_no_room_the_end_goes_out_with_the_next_edge(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(authority) as (_, link, peer):
        await link.send_all(b"whole")
        real, refusals = link._tls.unwrap, [ssl.SSLWantWriteError()]

        def unwrap() -> socket.socket:
            if refusals:
                raise refusals.pop()
            return real()

        monkeypatch.setattr(link._tls, "unwrap", unwrap)
        assert not link.end()
        assert not link.end()
        assert await peer.receive() == b"whole"
        link._edge(WRITABLE)
        assert link.end()
        assert await peer.receive() == b""


async def test_what_is_under_way_comes_first_or_nothing_does(authority: trustme.CA) -> None:
    async with talking(authority) as (_, link, peer):
        sent = 0
        while piece := link.send_nowait(b"x" * 16_384):
            sent += piece
        assert link.send_nowait(b"") == 0
        for other in (b"other", b"x" * 16_383, b"y" * 20_000):
            with pytest.raises(Broken):
                link.send_nowait(other)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.send_all, b"x" * 16_384 + b"other")
            assert await peer.receive_exactly(sent + 16_389) == b"x" * (sent + 16_384) + b"other"
        link.end()
        with pytest.raises(Broken):
            link.send_nowait(b"behind the end")


async def test_a_wait_that_crosses_takes_any_edge_for_both(authority: trustme.CA) -> None:
    """A read that wants to write (a new key) and a write that wants to read, each once."""
    async with talking(authority) as (_, link, peer):
        real_recv, real_send = link.recv, link.send
        wants: list[type[ssl.SSLError]] = [ssl.SSLWantWriteError]

        def recv(size: int) -> bytes:
            if wants:
                raise wants.pop()
            return real_recv(size)

        def send(data: bytes) -> int:
            if wants:
                raise wants.pop()
            return real_send(data)

        await peer.send(b"hello")
        await until(lambda: link.readable)
        link.recv = recv  # type: ignore[method-assign]
        got: list[bytes] = []

        async def read() -> None:
            got.append(await link.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            assert got == []
            link._edge(WRITABLE)
        assert got == [b"hello"]

        wants.append(ssl.SSLWantReadError)
        link.send = send  # type: ignore[method-assign]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.send_all, b"good-bye")
            await trio.testing.wait_all_tasks_blocked()
            link._edge(READABLE)
        assert await peer.receive_exactly(8) == b"good-bye"


async def test_a_relay_whose_read_wants_to_write_goes_on(authority: trustme.CA) -> None:
    async with talking(authority) as (hub, link, peer):
        left, right = socket.socketpair()
        sink, caller = Link(hub, left), Link(hub, right)
        real_recv = link.recv
        wants = [ssl.SSLWantWriteError]

        def recv(size: int) -> bytes:
            if wants:
                raise wants.pop()
            return real_recv(size)

        link.recv = recv  # type: ignore[method-assign]
        await peer.send(b"over")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.pump, sink, Copy(b"over"), math.inf)
            await until(lambda: not wants)
            link._edge(WRITABLE)
            assert await caller.receive() == b"over"
        sink.close()
        caller.close()


async def test_many_records_in_one_edge_are_all_read(authority: trustme.CA) -> None:
    async with talking(authority) as (_, link, peer):
        for number in range(300):
            peer.tls.write(b"%03d" % number)
        await peer.flush()
        got = bytearray()
        while len(got) < 900:
            got += await link.receive()
        assert bytes(got) == b"".join(b"%03d" % number for number in range(300))


class TestGone:
    """Somebody answers, nobody reads, and the peer's end is a record."""

    async def test_a_close_notify_is_seen_though_the_connection_stays(
        self, authority: trustme.CA
    ) -> None:
        async with talking(authority) as (_, link, peer):
            told = trio.Event()
            link.on_gone = told.set
            await peer.say_end()
            await told.wait()
            assert link.peer_ended
            assert await link.receive() == b""
            await link.send_all(b"answered all the same")
            assert await peer.receive_exactly(21) == b"answered all the same"

    async def test_behind_a_pipelined_request_which_is_not_lost(
        self, authority: trustme.CA
    ) -> None:
        async with talking(authority) as (_, link, peer):
            told = trio.Event()
            link.on_gone = told.set
            await peer.send(b"GET /next ")
            await trio.testing.wait_all_tasks_blocked()
            assert not told.is_set()
            await peer.send(b"HTTP/1.1")
            await peer.say_end()
            await told.wait()
            assert await link.receive() == b"GET /next HTTP/1.1"
            assert await link.receive() == b""

    async def test_told_at_once_when_it_came_before_anybody_asked(
        self, authority: trustme.CA
    ) -> None:
        async with talking(authority) as (_, link, peer):
            peer.tls.write(b"all in one")
            await peer.say_end()
            assert await link.receive() == b"all in one"
            told: list[int] = []
            link.on_gone = lambda: told.append(1)
            assert told == [1]

    async def test_no_more_is_kept_than_one_request(self, authority: trustme.CA) -> None:
        async with talking(authority) as (_, link, peer):
            link.on_gone = lambda: None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.send, LARGE)
                await until(lambda: len(link._ahead) >= AHEAD)
                await trio.testing.wait_all_tasks_blocked()
                assert len(link._ahead) < AHEAD + 16_384
                link.on_gone = None
                got = bytearray()
                while len(got) < len(LARGE):
                    got += await link.receive()
            assert bytes(got) == LARGE

    async def test_a_reset_is_told(self, authority: trustme.CA) -> None:
        async with talking(authority) as (_, link, peer):
            await link.send_all(b"unread bytes make it a reset")
            told = trio.Event()
            link.on_gone = told.set
            peer.close()
            await told.wait()

    async def test_garbage_is_told(self, authority: trustme.CA) -> None:
        async with talking(authority) as (_, link, peer):
            told = trio.Event()
            link.on_gone = told.set
            await peer.socket.send(b"this is no record of TLS")
            await told.wait()


async def test_garbage_is_no_end_of_a_stream(authority: trustme.CA) -> None:
    async with talking(authority) as (_, link, peer):
        await peer.socket.send(b"this is no record of TLS")
        with pytest.raises(Broken):
            await link.receive()


async def test_a_slow_reader_holds_the_relay_and_loses_nothing(authority: trustme.CA) -> None:
    async with talking(authority) as (hub, sink, peer):
        left, right = socket.socketpair()
        provider, source = Link(hub, left), Link(hub, right)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.send_all, LARGE)
            nursery.start_soon(source.pump, sink, Copy(LARGE[-8:]), math.inf)
            await trio.testing.wait_all_tasks_blocked()
            before = sink.hub.statistics()
            assert (await peer.receive_exactly(len(LARGE))) == LARGE
            assert before.sockets == 3
            nursery.cancel_scope.cancel()
        provider.close()
        source.close()


async def test_what_a_deaf_reader_can_make_us_hold_is_bounded(authority: trustme.CA) -> None:
    """Socket pairs hold some 200 KB each way; the provider cannot put in more than that."""
    taken = 0

    class Counting(Copy):
        def take(self, data: bytes) -> bytes:
            nonlocal taken
            taken += len(data)
            return data

    async with talking(authority) as (hub, sink, _):
        left, right = socket.socketpair()
        provider, source = Link(hub, left), Link(hub, right)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.send_all, b"x" * 50_000_000)
            nursery.start_soon(source.pump, sink, Counting(), math.inf)
            await trio.testing.wait_all_tasks_blocked()
            assert 0 < taken < 2_000_000
            nursery.cancel_scope.cancel()
        provider.close()
        source.close()


async def test_a_reader_who_is_slow_but_reads_does_not_expire(
    authority: trustme.CA, mock_clock: MockClock
) -> None:
    """OpenSSL says nothing of a large write that got half way: each record must count."""
    async with talking(authority) as (_, link, peer), trio.open_nursery() as nursery:
        nursery.start_soon(link.send_all, LARGE)
        got = 0
        while got < len(LARGE):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(link.stall * 0.75)
            wanted = min(got + 500_000, len(LARGE))
            while got < wanted:
                got += len(await peer.receive())


async def test_a_reader_who_takes_nothing_expires_the_sender(authority: trustme.CA) -> None:
    async with talking(authority) as (_, link, _peer):
        link.stall = 0.0
        with pytest.raises(Expired):
            await link.send_all(b"x" * 50_000_000)


async def test_a_peer_who_leaves_breaks_a_send(authority: trustme.CA) -> None:
    async with talking(authority) as (_, link, peer):
        peer.close()
        with pytest.raises(Broken):
            await link.send_all(b"x" * 50_000_000)
