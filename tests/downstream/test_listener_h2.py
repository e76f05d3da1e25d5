"""HTTP/2 on real sockets: by ALPN over TLS, with prior knowledge on plain ones, and in a drain."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx  # noqa: ASYNC127  # the official client stands on it
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
from kproxy.wire.h2_frames import PING, PREFACE, SETTINGS, frame_bytes
from tests.fakes.talk import Scripted
from tests.fakes.tls import client_context, write_files

pytestmark = pytest.mark.loopback

LARGE = b"".join(b"%07d\n" % number for number in range(300_000))


@asynccontextmanager
async def listening(
    handler: Scripted, credentials: Credentials | None = None
) -> AsyncIterator[tuple[Listener, str]]:
    """A listener, and where it is."""
    hub, (sock,) = Hub(), open_listeners("127.0.0.1", 0)
    params = ListenerParams(ConnectionParams(), AcceptLimits())
    listener = Listener(hub, [Bound(sock, "here", credentials)], handler, params)
    scheme = "https" if credentials else "http"
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        await nursery.start(listener.serve)
        yield listener, f"{scheme}://localhost:{sock.getsockname()[1]}"
        listener.cut()
        await listener.wait_over()
        nursery.cancel_scope.cancel()
    assert listener.statistics() == (0, 0)
    assert hub.statistics().sockets == 0
    hub.close()


def client(context: ssl.SSLContext | None = None, *, http1: bool = False) -> httpx.AsyncClient:
    verify = context or False
    return httpx.AsyncClient(http1=http1, http2=True, verify=verify, trust_env=False, timeout=60)


async def large(exchange: Exchange) -> None:
    body = await exchange.read_body()
    await exchange.respond(Answer(200, [], LARGE + body))


async def exercise(http: httpx.AsyncClient, url: str) -> None:
    """Small and large, one after the other and all at once."""
    answer = await http.post(f"{url}/echo", content=b"body")
    assert (answer.http_version, answer.content) == ("HTTP/2", b"/echobody")
    whole: list[int] = []

    async def ask() -> None:
        answer = await http.post(f"{url}/large", content=LARGE)
        assert answer.content == LARGE * 2
        whole.append(answer.status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask)
    assert whole == [200] * 4


async def test_prior_knowledge() -> None:
    async with listening(Scripted(large=large)) as (listener, url), client() as http:
        await exercise(http, url)
        assert listener.statistics() == (1, 0), "one connection for all"


async def test_by_alpn(tmp_path: Path) -> None:
    authority = trustme.CA()
    credentials = Credentials(write_files(tmp_path, authority))
    context = client_context(authority)
    async with (
        listening(Scripted(large=large), credentials) as (listener, url),
        client(context, http1=True) as http,
    ):
        await exercise(http, url)
        assert listener.statistics() == (1, 0)


async def test_a_drain_lets_streams_end() -> None:
    begun, let_go = trio.Event(), trio.Event()

    async def slow(exchange: Exchange) -> None:
        begun.set()
        await let_go.wait()
        await exchange.respond(Answer(200, [], b"slow"))

    async with listening(Scripted(slow=slow)) as (listener, url), client() as http:
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append((await http.get(f"{url}/slow")).content)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await begun.wait()
            listener.drain()
            let_go.set()
        assert answers == [b"slow"]
        await http.aclose()
        await listener.wait_over()


async def test_a_drain_ends_what_is_idle() -> None:
    async with listening(Scripted()) as (listener, url), client() as http:
        assert (await http.get(f"{url}/echo")).status_code == 200
        listener.drain()
        await listener.wait_over()


async def test_a_flood_leaves_a_line_with_its_address(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(Scripted()) as (_, url):
        stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
        async with stream:
            host, port = stream.socket.getsockname()
            pings = frame_bytes(PING, 0, 0, b"12345678") * 100
            await stream.send_all(PREFACE + frame_bytes(SETTINGS, 0, 0, b"") + pings)
            while await stream.receive_some():
                pass
    assert caplog.messages == [f"ended an HTTP/2 connection of {host}:{port}: too many PING frames"]
