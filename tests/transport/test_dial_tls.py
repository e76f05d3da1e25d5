"""TLS to providers for real: spoken by trio's own implementation on the other side."""

import datetime
import math
import socket
import ssl
from collections.abc import Awaitable, Callable

import httpcore
import pytest
import trio
import trustme

from kproxy.errors import FaultKind
from kproxy.transport.dial import Origin, dialler, tls_context
from kproxy.transport.duplex import Duplex
from kproxy.transport.hub import Hub
from kproxy.transport.link import Link
from tests.fakes.hubbed import fault_of, hubbed, until

pytestmark = pytest.mark.loopback

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
LARGE = b"".join(b"%07d\n" % number for number in range(1_000_000))

Handler = Callable[[trio.SSLStream[trio.SocketStream]], Awaitable[None]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


async def speak_tls(
    nursery: trio.Nursery,
    leaf: trustme.LeafCert,
    handler: Handler,
    protocols: tuple[str, ...] = ("http/1.1",),
) -> int:
    """A provider that speaks TLS by trio's own implementation, and its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    leaf.configure_cert(context)

    async def serve(stream: trio.SocketStream) -> None:
        secure = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await handler(secure)
        except trio.BrokenResourceError:
            pass  # the client refused, or left
        finally:
            await trio.aclose_forcefully(secure)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, serve, [listener])
    return listener.socket.getsockname()[1]


def trusting(authority: trustme.CA, *, http2: bool = False) -> ssl.SSLContext:
    context = tls_context(http2=http2)
    authority.configure_trust(context)
    return context


async def handshake(stream: trio.SSLStream[trio.SocketStream]) -> None:
    await stream.do_handshake()
    await stream.receive_some()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_large_data_both_ways_at_once(authority: trustme.CA, version: ssl.TLSVersion) -> None:
    async with hubbed() as (hub, nursery):
        heard = bytearray()

        async def talk(stream: trio.SSLStream[trio.SocketStream]) -> None:
            async def listen() -> None:
                while len(heard) < len(LARGE):
                    heard.extend(await stream.receive_some())

            async with trio.open_nursery() as both:
                both.start_soon(listen)
                await stream.send_all(LARGE)

        port = await speak_tls(nursery, authority.issue_cert("localhost"), talk)
        context = trusting(authority)
        context.maximum_version = version
        link = await dialler(hub, context)(Origin("localhost", port, tls=True), math.inf)
        got = bytearray()
        async with trio.open_nursery() as both:
            both.start_soon(link.send_all, LARGE)
            while len(got) < len(LARGE):
                got += await link.receive()
        assert bytes(got) == LARGE
        await until(lambda: len(heard) == len(LARGE))
        assert bytes(heard) == LARGE
        link.close()


class Copy:
    """A stage that passes everything and finishes after so many bytes."""

    def __init__(self, size: int) -> None:
        self.finished = False
        self._left = size

    def take(self, data: bytes) -> bytes:
        self._left -= len(data)
        self.finished = not data or self._left <= 0
        return data


def plain_pair(hub: Hub) -> tuple[Link, Link]:
    left, right = socket.socketpair()
    return Link(hub, left), Link(hub, right)


async def receive_exactly(link: Duplex, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        got += await link.receive()
    return bytes(got)


async def test_a_relay_out_of_tls(authority: trustme.CA) -> None:
    async with hubbed() as (hub, nursery):

        async def talk(stream: trio.SSLStream[trio.SocketStream]) -> None:
            await stream.send_all(LARGE)
            await stream.receive_some()

        port = await speak_tls(nursery, authority.issue_cert("localhost"), talk)
        source = await dialler(hub, trusting(authority))(Origin("localhost", port, True), math.inf)
        sink, caller = plain_pair(hub)
        nursery.start_soon(source.pump, sink, Copy(len(LARGE)), 60)
        assert await receive_exactly(caller, len(LARGE)) == LARGE
        for link in (source, sink, caller):
            link.close()


async def test_a_relay_into_tls(authority: trustme.CA) -> None:
    async with hubbed() as (hub, nursery):
        heard = bytearray()
        whole = trio.Event()

        async def listen(stream: trio.SSLStream[trio.SocketStream]) -> None:
            while len(heard) < len(LARGE):
                heard.extend(await stream.receive_some())
            whole.set()

        port = await speak_tls(nursery, authority.issue_cert("localhost"), listen)
        sink = await dialler(hub, trusting(authority))(Origin("localhost", port, True), math.inf)
        caller, source = plain_pair(hub)
        nursery.start_soon(source.pump, sink, Copy(len(LARGE)), 60)
        await caller.send_all(LARGE)
        await whole.wait()
        assert bytes(heard) == LARGE
        for link in (source, sink, caller):
            link.close()


async def test_many_small_records_that_come_at_once_are_all_read(authority: trustme.CA) -> None:
    """One edge, many records: a short read does not mean an empty socket."""
    async with hubbed() as (hub, nursery):

        async def talk(stream: trio.SSLStream[trio.SocketStream]) -> None:
            await stream.receive_some()
            for number in range(500):
                await stream.send_all(b"%03d" % number)
            await stream.receive_some()

        port = await speak_tls(nursery, authority.issue_cert("localhost"), talk)
        link = await dialler(hub, trusting(authority))(Origin("localhost", port, True), math.inf)
        await link.send_all(b"go")
        expected = b"".join(b"%03d" % number for number in range(500))
        assert await receive_exactly(link, len(expected)) == expected
        link.close()


@pytest.mark.parametrize(
    ("offered", "known", "chosen"),
    [
        (True, ("h2", "http/1.1"), "h2"),
        (True, ("http/1.1", "h2"), "http/1.1"),
        (True, ("http/1.1",), "http/1.1"),
        (True, (), ""),
        (False, ("h2", "http/1.1"), "http/1.1"),
    ],
)
async def test_the_protocol_is_what_the_provider_chooses(
    authority: trustme.CA, offered: bool, known: tuple[str, ...], chosen: str
) -> None:
    async with hubbed() as (hub, nursery):
        port = await speak_tls(nursery, authority.issue_cert("localhost"), handshake, known)
        dial = dialler(hub, trusting(authority, http2=offered))
        link = await dial(Origin("localhost", port, tls=True), math.inf)
        assert link.protocol == chosen
        link.close()


@pytest.mark.parametrize("case", ["other name", "other authority", "expired", "no TLS at all"])
async def test_what_cannot_be_verified_is_refused(authority: trustme.CA, case: str) -> None:
    leaf = {
        "other name": lambda: authority.issue_cert("elsewhere.test"),
        "other authority": lambda: trustme.CA().issue_cert("localhost"),
        "expired": lambda: authority.issue_cert(
            "localhost", not_before=LONG_AGO, not_after=LONG_AGO + datetime.timedelta(days=1)
        ),
        "no TLS at all": lambda: authority.issue_cert("localhost"),
    }[case]()

    async def nonsense(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.transport_stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    handler = nonsense if case == "no TLS at all" else handshake
    async with hubbed() as (hub, nursery):
        port = await speak_tls(nursery, leaf, handler)
        fault = await fault_of(hub, Origin("localhost", port, tls=True), trusting(authority))
        assert fault.kind is FaultKind.TLS
        assert ("certificate refused" in fault.detail) == (case != "no TLS at all")
        assert hub.statistics().sockets == 0


@pytest.mark.parametrize("reset", [False, True])
async def test_a_provider_that_leaves_during_the_handshake(
    authority: trustme.CA, reset: bool
) -> None:
    async def leave(stream: trio.SSLStream[trio.SocketStream]) -> None:
        if not reset:
            await stream.transport_stream.receive_some()  # else unread bytes make it a reset

    async with hubbed() as (hub, nursery):
        port = await speak_tls(nursery, authority.issue_cert("localhost"), leave)
        fault = await fault_of(hub, Origin("localhost", port, tls=True), trusting(authority))
        assert fault.kind is FaultKind.TLS
        assert hub.statistics().sockets == 0


async def test_silence_during_the_handshake_ends_at_the_deadline(authority: trustme.CA) -> None:
    closed = trio.Event()

    async def say_nothing(stream: trio.SSLStream[trio.SocketStream]) -> None:
        while await stream.transport_stream.receive_some():
            pass
        closed.set()

    async with hubbed() as (hub, nursery):
        port = await speak_tls(nursery, authority.issue_cert("localhost"), say_nothing)
        origin = Origin("localhost", port, tls=True)
        fault = await fault_of(hub, origin, trusting(authority), 0.1)
        assert fault.kind is FaultKind.CONNECT_TIMEOUT
        assert hub.statistics().sockets == 0
        await closed.wait()


async def test_cancelled_during_the_handshake_no_socket_is_left(authority: trustme.CA) -> None:
    begun, closed = trio.Event(), trio.Event()

    async def say_nothing(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.transport_stream.receive_some()
        begun.set()
        while await stream.transport_stream.receive_some():
            pass
        closed.set()

    async with hubbed() as (hub, nursery):
        port = await speak_tls(nursery, authority.issue_cert("localhost"), say_nothing)
        dial = dialler(hub, trusting(authority))
        async with trio.open_nursery() as dialling:
            dialling.start_soon(dial, Origin("localhost", port, tls=True), math.inf)
            await begun.wait()
            dialling.cancel_scope.cancel()
        assert hub.statistics().sockets == 0
        await closed.wait()


async def test_a_name_that_tls_cannot_ask_for_is_a_fault(authority: trustme.CA) -> None:
    async with hubbed() as (hub, nursery):
        port = await speak_tls(nursery, authority.issue_cert("localhost"), handshake)
        connect = httpcore.TrioBackend.connect_tcp

        async def anywhere(self: httpcore.TrioBackend, _: str, port: int) -> object:
            return await connect(self, "127.0.0.1", port)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(httpcore.TrioBackend, "connect_tcp", anywhere)
            fault = await fault_of(hub, Origin("", port, tls=True), trusting(authority))
        assert fault.kind is FaultKind.TLS
