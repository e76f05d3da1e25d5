"""Callers over TLS: ends that are clean, ends that are cut, and a drain between handshakes."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme

from kproxy.downstream.connection import ConnectionParams
from kproxy.downstream.exchange import Exchange
from kproxy.downstream.listener import Listener, ListenerParams
from kproxy.downstream.respond import Answer
from kproxy.transport.accept import AcceptLimits, open_listeners
from kproxy.transport.certificates import Credentials
from kproxy.transport.entry import Bound
from kproxy.transport.hub import Hub
from tests.fakes.hubbed import until
from tests.fakes.talk import REQUEST_ID, Scripted, answer, get, post
from tests.fakes.tls import Ended, Peer, client_context, write_files

pytestmark = pytest.mark.loopback

LARGE = b"".join(b"%07d\n" % number for number in range(500_000))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Site:
    """A listener with TLS and its callers."""

    def __init__(self, listener: Listener, port: int, context: ssl.SSLContext) -> None:
        self.listener = listener
        self._port = port
        self._context = context

    async def call(self, *, shake_hands: bool = True) -> Peer:
        sock = socket.create_connection(("127.0.0.1", self._port))
        sock.setblocking(False)
        peer = Peer(sock, self._context)
        if shake_hands:
            await peer.handshake()
        return peer


@asynccontextmanager
async def listening(
    folder: Path, authority: trustme.CA, handler: Scripted, **fields: object
) -> AsyncIterator[Site]:
    hub, (sock,) = Hub(), open_listeners("127.0.0.1", 0)
    credentials = Credentials(write_files(folder, authority))
    params = ListenerParams(ConnectionParams(**fields), AcceptLimits())  # type: ignore[arg-type]
    listener = Listener(hub, [Bound(sock, "here", credentials)], handler, params)
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        await nursery.start(listener.serve)
        yield Site(listener, sock.getsockname()[1], client_context(authority))
        listener.cut()
        await listener.wait_over()
        nursery.cancel_scope.cancel()
    assert listener.statistics() == (0, 0)
    assert hub.statistics().sockets == 0
    hub.close()


def plain(data: bytes) -> bytes:
    return REQUEST_ID.sub(b"", data)


async def test_requests_on_a_kept_connection_and_a_clean_end(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with listening(tmp_path, authority, Scripted()) as site:
        peer = await site.call()
        wanted = answer(b"/body")
        for _ in range(2):
            await peer.send(post(b"body"))
            got = b""
            while len(plain(got)) < len(wanted):
                got += await peer.receive()
            assert plain(got) == wanted
        site.listener.drain()
        assert await peer.receive() == b"", "an idle connection ends with a close_notify"
        peer.close()
        await site.listener.wait_over()


async def test_a_large_answer_is_whole_before_the_clean_end(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async def large(exchange: Exchange) -> None:
        exchange.keep_alive = False
        await exchange.respond(Answer(200, [], LARGE))

    async with listening(tmp_path, authority, Scripted(large=large)) as site:
        for request in (get("/large"), get("/large", "connection: close")):
            peer = await site.call()
            await peer.send(request)
            assert (await peer.everything()).endswith(LARGE)
            peer.close()


async def test_an_aborted_stream_has_no_clean_end(tmp_path: Path, authority: trustme.CA) -> None:
    async def broken(exchange: Exchange) -> None:
        await exchange.link.send_all(exchange.start([]) + exchange.frame(b"half of i"))
        raise RuntimeError("a fault of ours")

    async with listening(tmp_path, authority, Scripted(broken=broken)) as site:
        for request in (get("/broken"), get("/broken", "connection: close")):
            peer = await site.call()
            await peer.send(request)
            got = await peer.until_cut()
            assert b"half of i" in got
            assert b"internal_error" in got
            assert not got.endswith(b"0\r\n\r\n")
            peer.close()


async def test_a_stream_that_is_cut_has_no_clean_end(tmp_path: Path, authority: trustme.CA) -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.link.send_all(exchange.start([]) + exchange.frame(b"half of i"))
        await trio.sleep_forever()

    async with listening(tmp_path, authority, Scripted(endless=endless)) as site:
        peer = await site.call()
        await peer.send(get("/endless"))
        got = b""
        while b"half of i" not in got:
            got += await peer.receive()
        site.listener.cut()
        while b'"code":"shutting_down"' not in got:
            got += await peer.receive()
        with pytest.raises(Ended):
            await peer.receive()
        peer.close()


class Waiting(Scripted):
    """`/wait` is answered never; `over` when it has been cancelled."""

    def __init__(self) -> None:
        super().__init__(wait=self.wait)
        self.begun = trio.Event()
        self.over = trio.Event()

    async def wait(self, exchange: Exchange) -> None:
        self.begun.set()
        try:
            await trio.sleep_forever()
        finally:
            self.over.set()


async def test_a_caller_who_says_the_end_and_waits_for_ours_ends_the_work(
    tmp_path: Path, authority: trustme.CA
) -> None:
    """What asyncio's streams do to a request that is cancelled; the connection stays open."""
    handler = Waiting()
    async with listening(tmp_path, authority, handler) as site:
        peer = await site.call()
        await peer.send(get("/wait"))
        await handler.begun.wait()
        await peer.say_end()
        await handler.over.wait()
        peer.close()


async def test_a_half_closed_caller_is_answered_where_that_is_set(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with listening(tmp_path, authority, Scripted(), half_close=True) as site:
        peer = await site.call()
        peer.tls.write(post(b"1") + post(b"2"))
        await peer.say_end()
        got = await peer.everything()
        assert plain(got) == answer(b"/1") + answer(b"/2")
        peer.close()


async def test_a_413_arrives_although_the_caller_still_sends(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with listening(tmp_path, authority, Scripted()) as site:
        peer = await site.call()
        head = b"POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n"
        await peer.send(head + LARGE)
        assert (await peer.everything()).startswith(b"HTTP/1.1 413 ")
        peer.close()


async def test_a_drain_waits_for_no_handshake_that_fails(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with listening(tmp_path, authority, Scripted()) as site:
        begun = [await site.call(shake_hands=False) for _ in range(2)]
        await begun[0].socket.send(b"\x16\x03\x01\x02\0\1")
        await until(lambda: site.listener.statistics()[0] == 2)
        site.listener.drain()
        await trio.testing.wait_all_tasks_blocked()
        for peer in begun:
            peer.close()
        await site.listener.wait_over()
        assert site.listener.turned_away == 2


async def test_who_comes_out_of_a_handshake_into_a_drain_is_ended(
    tmp_path: Path, authority: trustme.CA
) -> None:
    async with listening(tmp_path, authority, Scripted()) as site:
        peer = await site.call(shake_hands=False)
        await until(lambda: site.listener.statistics()[0] == 1)
        site.listener.drain()
        await peer.handshake()
        assert await peer.receive() == b""
        peer.close()
        await site.listener.wait_over()
