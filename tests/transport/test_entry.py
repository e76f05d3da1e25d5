"""The way in: PROXY headers believed from whom, handshakes bounded, and who is turned away."""

import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.transport.accept import AcceptLimits, Acceptor, open_listeners
from kproxy.transport.certificates import Credentials
from kproxy.transport.entry import UNIX, Bound, Proxies
from kproxy.transport.hub import Hub
from kproxy.transport.link import Link
from kproxy.transport.sockets import open_unix
from kproxy.wire.proxy import Peer
from tests.fakes.hubbed import until
from tests.fakes.tls import Ended, client_context, write_files
from tests.fakes.tls import Peer as Client

pytestmark = pytest.mark.loopback

HERE = Proxies((ip_network("127.0.0.0/8"),))
HEADER = b"PROXY TCP4 203.0.113.%d 192.0.2.1 4711 443\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def hello(context: ssl.SSLContext) -> bytes:
    """The first record of a client."""
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost").do_handshake()
    return sent.read()


class Site:
    """An acceptor whose connections say who they are, and then echo."""

    def __init__(self, hub: Hub, bound: Bound, limits: AcceptLimits) -> None:
        self.acceptor = Acceptor(hub, [bound], limits)
        self.address = bound.socket.getsockname()
        self.family = bound.socket.family
        self.served: list[Link] = []

    async def echo(self, link: Link) -> None:
        self.served.append(link)
        await link.send_all(f"{link.peer}|{link.protocol}\n".encode())
        while data := await link.receive():
            await link.send_all(data)

    def call(self, source: str = "") -> socket.socket:
        sock = socket.socket(self.family)
        if source:
            sock.bind((source, 0))
        sock.connect(self.address)
        sock.setblocking(False)
        return sock

    def client(self, context: ssl.SSLContext, source: str = "") -> Client:
        return Client(self.call(source), context)

    async def rest(self, turned_away: int) -> None:
        """Until so many have been turned away, and nobody is open."""
        await until(lambda: self.acceptor.turned_away == turned_away)
        await until(lambda: self.acceptor.statistics()[0] == 0)


@asynccontextmanager
async def site(
    *, credentials: Credentials | None = None, proxies: Proxies | None = None,
    limits: AcceptLimits | None = None, listener: socket.socket | None = None,
) -> AsyncIterator[Site]:  # fmt: skip
    hub = Hub()
    sock = listener or open_listeners("127.0.0.1", 0)[0]
    bound = Bound(sock, "the door", credentials, proxies or Proxies())
    there = Site(hub, bound, limits or AcceptLimits())
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        await nursery.start(there.acceptor.serve, there.echo)
        yield there
        nursery.cancel_scope.cancel()
    assert hub.statistics().sockets == 0
    assert there.acceptor.statistics()[0] == 0
    assert not there.acceptor._open
    hub.close()


async def heard(sock: socket.socket) -> bytes:
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
    async with stream:
        got = b""
        while not got.endswith(b"\n"):
            data = await stream.receive_some()
            if not data:
                break
            got += data
        return got


class TestProxy:
    async def test_the_caller_is_who_the_header_says(self) -> None:
        async with site(proxies=HERE) as there:
            sock = there.call()
            sock.send(HEADER % 7)
            assert await heard(sock) == b"203.0.113.7:4711|\n"

    async def test_split_anywhere_and_not_a_byte_behind_it_is_lost(self) -> None:
        header = HEADER % 7
        async with site(proxies=HERE) as there:
            for cut in (1, 5, 6, len(header) - 1):
                sock = there.call()
                sock.send(header[:cut])
                await wait_all_tasks_blocked()
                sock.send(header[cut:] + b"and more\n")
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
                got = b""
                async with stream:
                    while not got.endswith(b"and more\n"):
                        got += await stream.receive_some()
                assert got == b"203.0.113.7:4711|\nand more\n"

    async def test_a_proxys_own_connection_is_its_own(self) -> None:
        local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
        async with site(proxies=HERE) as there:
            sock = there.call()
            sock.send(local)
            assert (await heard(sock)).startswith(b"127.0.0.1:")

    async def test_nobody_else_is_believed(self) -> None:
        """From others the header is what it looks like: the first bytes of a bad request."""
        async with site(proxies=Proxies((ip_network("127.0.0.2"),))) as there:
            sock = there.call()
            sock.send(HEADER % 7)
            assert (await heard(sock)).startswith(b"127.0.0.1:")

    async def test_a_malformed_one_is_closed_and_said(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "kproxy.accept")
        async with site(proxies=HERE) as there:
            sock = there.call()
            sock.send(b"GET / HTTP/1.1\r\n")
            with pytest.raises(trio.BrokenResourceError):
                await heard(sock)  # unread bytes: a reset
            await there.rest(1)
            assert there.served == []
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert record.getMessage().startswith("turned away 127.0.0.1:")
        assert record.getMessage().endswith(" at the door: malformed PROXY header")

    @pytest.mark.parametrize("begun", [b"", b"PROXY TCP4 "])
    async def test_who_leaves_before_its_end_is_forgotten(self, begun: bytes) -> None:
        async with site(proxies=HERE) as there:
            sock = there.call()
            sock.send(begun)
            await until(lambda: there.acceptor.statistics()[0] == 1)
            sock.close()
            await there.rest(1)

    async def test_who_is_slow_is_turned_away(self, mock_clock: MockClock) -> None:
        async with site(proxies=HERE, limits=AcceptLimits(entry=5)) as there:
            sock = there.call()
            sock.send(b"PROXY ")
            await until(lambda: there.acceptor.statistics()[0] == 1)
            await wait_all_tasks_blocked()
            mock_clock.jump(4.9)
            await wait_all_tasks_blocked()
            assert there.acceptor.turned_away == 0
            mock_clock.jump(0.1)
            await there.rest(1)
            sock.close()

    async def test_the_limit_of_an_address_is_that_of_the_real_caller(self) -> None:
        async with site(proxies=HERE, limits=AcceptLimits(per_address=2)) as there:
            open_ones = []
            for host in (7, 7, 8, 8, 9):
                sock = there.call()
                sock.send(HEADER % host)
                open_ones.append(sock)
            await until(lambda: len(there.served) == 5)
            sock = there.call()
            sock.send(HEADER % 7)
            assert await heard(sock) == b""
            assert there.acceptor.statistics() == (5, 1)
            open_ones.pop(0).close()
            await until(lambda: there.acceptor.statistics()[0] == 4)
            sock = there.call()
            sock.send(HEADER % 7)
            assert await heard(sock) == b"203.0.113.7:4711|\n"
            for sock in open_ones:
                sock.close()
            await until(lambda: there.acceptor.statistics()[0] == 0)

    async def test_on_a_unix_socket(self, tmp_path: Path) -> None:
        listener = open_unix(tmp_path / "s", 0o600).socket
        async with site(proxies=Proxies(unix=True), listener=listener) as there:
            sock = there.call()
            sock.send(HEADER % 7)
            assert await heard(sock) == b"203.0.113.7:4711|\n"

    def test_who_is_included(self) -> None:
        proxies = Proxies((ip_network("10.0.0.0/8"), ip_network("fd00::/8")))
        for host, wanted in (
            ("10.1.2.3", True), ("11.1.2.3", False), ("fd00::1", True), ("::1", False),
            (UNIX, False),
        ):  # fmt: skip
            assert proxies.include(host) is wanted
        assert Proxies(unix=True).include(UNIX)
        assert not Proxies(unix=True).include("127.0.0.1")


async def test_callers_on_a_unix_socket_share_no_limit_of_an_address(tmp_path: Path) -> None:
    listener = open_unix(tmp_path / "s", 0o600).socket
    async with site(listener=listener, limits=AcceptLimits(3, 1)) as there:
        callers = [there.call() for _ in range(3)]
        await until(lambda: len(there.served) == 3)
        assert {link.peer for link in there.served} == {Peer("unix", 0)}
        fourth = there.call()
        assert await heard(fourth) == b""
        for caller in callers:
            caller.close()
        await until(lambda: there.acceptor.statistics() == (0, 1))


class TestTls:
    async def test_through_a_proxy_header_and_a_handshake(
        self, tmp_path: Path, authority: trustme.CA
    ) -> None:
        context = client_context(authority)
        context.set_alpn_protocols(["http/1.1"])
        credentials = Credentials(write_files(tmp_path, authority))
        async with site(credentials=credentials, proxies=HERE) as there:
            client = there.client(context)
            await client.socket.send(HEADER % 7)
            await client.handshake()
            assert await client.receive() == b"203.0.113.7:4711|http/1.1\n"
            await client.send(b"echo")
            assert await client.receive() == b"echo"
            client.close()

    async def test_header_and_hello_in_one_packet(
        self, tmp_path: Path, authority: trustme.CA
    ) -> None:
        credentials = Credentials(write_files(tmp_path, authority))
        async with site(credentials=credentials, proxies=HERE) as there:
            client = there.client(client_context(authority))
            with pytest.raises(ssl.SSLWantReadError):
                client.tls.do_handshake()
            await client.socket.send(HEADER % 7 + client.outgoing.read())
            await client.handshake()
            assert await client.receive() == b"203.0.113.7:4711|\n"
            client.close()

    async def test_what_is_no_tls_is_turned_away(
        self, tmp_path: Path, authority: trustme.CA, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "kproxy.accept")
        async with site(credentials=Credentials(write_files(tmp_path, authority))) as there:
            sock = there.call()
            sock.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert b"HTTP" not in await heard(sock)
            await there.rest(1)
        (record,) = caplog.records
        assert record.levelno == logging.INFO
        assert record.getMessage().endswith("no TLS: HTTP_REQUEST")

    @pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01"])
    async def test_who_leaves_before_the_end_of_it_is_forgotten(
        self, tmp_path: Path, authority: trustme.CA, begun: bytes
    ) -> None:
        async with site(credentials=Credentials(write_files(tmp_path, authority))) as there:
            sock = there.call()
            sock.send(begun)
            await until(lambda: there.acceptor.statistics()[0] == 1)
            sock.close()
            await there.rest(1)

    @pytest.mark.parametrize("begun", [b"", b"\x16\x03\x01\x02\0\1"])
    async def test_who_is_slow_is_turned_away(
        self, tmp_path: Path, authority: trustme.CA, mock_clock: MockClock, begun: bytes
    ) -> None:
        credentials = Credentials(write_files(tmp_path, authority))
        async with site(credentials=credentials, limits=AcceptLimits(entry=5)) as there:
            sock = there.call()
            sock.send(begun)
            await until(lambda: there.acceptor.statistics()[0] == 1)
            await wait_all_tasks_blocked()
            mock_clock.jump(5)
            await there.rest(1)
            sock.close()

    async def test_an_address_waits_for_its_own_turns_and_no_other_for_them(
        self, tmp_path: Path, authority: trustme.CA
    ) -> None:
        """The silent, and who has sent half of a hello, take none."""
        credentials = Credentials(write_files(tmp_path, authority))
        context = client_context(authority)
        async with site(credentials=credentials, limits=AcceptLimits(handshakes=8)) as there:
            idle = [there.call() for _ in range(5)]
            for sock in idle[2:]:
                sock.send(hello(context)[:-1])
            begun = [there.call() for _ in range(2)]
            for sock in begun:
                sock.send(hello(context))
            await until(lambda: there.acceptor._entry._turns.value == 6)
            client, other = there.client(context), there.client(context, "127.0.0.2")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.handshake)
                await other.handshake()
                await until(lambda: len(there.served) == 1)
                assert there.served[0].peer.host == "127.0.0.2"
                begun.pop().close()
            await until(lambda: len(there.served) == 2)
            for sock in idle + begun:
                sock.close()
            client.close()
            other.close()

    async def test_a_client_certificate_accepted_and_refused(
        self, tmp_path: Path, authority: trustme.CA
    ) -> None:
        clients = trustme.CA()
        credentials = Credentials(write_files(tmp_path, authority, clients))
        async with site(credentials=credentials) as there:
            known = client_context(authority, clients.issue_cert("caller@example.test"))
            client = there.client(known)
            await client.handshake()
            assert await client.receive_exactly(1)
            client.close()
            cases: list[Callable[[], ssl.SSLContext]] = [
                lambda: client_context(authority),
                lambda: client_context(authority, trustme.CA().issue_cert("x@example.test")),
            ]
            for made in cases:
                client = there.client(made())
                await client.handshake()
                await client.send(b"a request that comes with the handshake's last words")
                with pytest.raises(ssl.SSLError, match=r"ALERT|UNKNOWN_CA"):
                    await client.receive()
                client.close()
            await there.rest(2)
            assert len(there.served) == 1

    async def test_a_renewed_certificate_is_for_the_next_and_leaves_who_is_there(
        self, tmp_path: Path, authority: trustme.CA
    ) -> None:
        credentials = Credentials(write_files(tmp_path, authority))
        async with site(credentials=credentials) as there:
            serials = []
            clients = []
            for _ in range(2):
                client = there.client(client_context(authority))
                await client.handshake()
                assert await client.receive_exactly(1)
                shown = client.tls.getpeercert()
                assert shown is not None
                serials.append(shown["serialNumber"])
                clients.append(client)
                write_files(tmp_path, authority)
                credentials.renew()
            assert serials[0] != serials[1]
            await clients[0].send(b"!")
            while not (await clients[0].receive()).endswith(b"!"):
                pass
            for client in clients:
                client.close()

    async def test_cancelled_connections_end_without_a_close_notify(
        self, tmp_path: Path, authority: trustme.CA
    ) -> None:
        async with site(credentials=Credentials(write_files(tmp_path, authority))) as there:
            client = there.client(client_context(authority))
            await client.handshake()
            await until(lambda: there.served)
        with pytest.raises(Ended):
            await client.everything()
        client.close()
