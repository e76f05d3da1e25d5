"""Connections over real sockets: requests in order, callers that leave, and each fault as bytes."""

import json
import socket
import time

import pytest
import trio
import trio.testing

from kproxy.sim.params import SimParams
from kproxy.sim.serve import serve
from kproxy.transport.accept import open_listeners
from tests.fakes.simulated import anthropic_body, events, openai_body, token_count, unchunked

pytestmark = pytest.mark.loopback

QUICK = SimParams(first_token_ms=0, token_ms=0, jitter=0, tokens="6")
CLOSE = "connection: close\r\n"


class Server:
    """A server of simulated providers in this program, and its address."""

    def __init__(self, nursery):
        self.nursery = nursery
        self.port = 0
        self.provider = None

    async def start(self, params=QUICK):
        listeners = open_listeners("127.0.0.1", 0)
        self.port = listeners[0].getsockname()[1]
        self.provider = await self.nursery.start(serve, params, listeners)

    async def connect(self):
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def get(self, path):
        data = await self.exchange(f"GET {path} HTTP/1.1\r\nhost: x\r\n{CLOSE}\r\n".encode())
        return json.loads(data.partition(b"\r\n\r\n")[2])

    async def figure(self, name, value):
        """Ask until the figure is that; connections end a moment after their callers."""
        stats = await self.get("/sim/stats")
        while stats[name] != value:
            stats = await self.get("/sim/stats")

    async def exchange(self, data):
        """Everything that comes back until the connection ends."""
        async with await self.connect() as stream:
            await stream.send_all(data)
            return await until_end(stream)


async def until_end(stream):
    received = []
    while data := await stream.receive_some():
        received.append(data)
    return b"".join(received)


async def until(stream, text):
    received = b""
    while text not in received:
        data = await stream.receive_some()
        assert data, received
        received += data
    return received


def post(body, path="/v1/chat/completions", extra=CLOSE):
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{extra}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def ask(**fields):
    return post(openai_body(**fields))


@pytest.fixture
async def server(nursery):
    server = Server(nursery)
    await server.start()
    yield server
    nursery.cancel_scope.cancel()


async def test_pipelined_requests_are_answered_in_order(server):
    requests = [post(openai_body(model=f"m{number}"), extra="") for number in range(5)]
    requests[2] = post(openai_body(model="m2!pace=30,1"), extra="")
    data = await server.exchange(b"".join(requests) + ask(model="last", stream=True))
    order = [data.index(f'"model":"{name}'.encode()) for name in ("m0", "m1", "m2", "m3", "last")]
    assert order == sorted(order)
    assert data.count(b"HTTP/1.1 200 OK") == 6
    assert data.endswith(b"0\r\n\r\n")


async def test_a_connection_is_kept_and_closed_on_request(server):
    async with await server.connect() as stream:
        for _ in range(3):
            await stream.send_all(post(openai_body(stream=True), extra=""))
            data = await until(stream, b"0\r\n\r\n")
            assert b"connection: close" not in data
        await stream.send_all(ask())
        data = await until_end(stream)
        assert data.count(b"\r\nconnection: close\r\n") == 1
    stats = await server.get("/sim/stats")
    assert (stats["requests"], stats["hangups"]) == (4, 0)


async def test_a_stream_says_that_it_closes(server):
    data = await server.exchange(ask(stream=True))
    assert b"\r\nconnection: close\r\n" in data
    assert token_count(unchunked(data.partition(b"\r\n\r\n")[2])) == 6


async def test_expect_continue_and_a_chunked_body(server):
    body = openai_body()
    async with await server.connect() as stream:
        await stream.send_all(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
            b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        assert await until(stream, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for part in (body[:10], body[10:]):
            await stream.send_all(b"%x\r\n%b\r\n" % (len(part), part))
        await stream.send_all(b"0\r\n\r\n")
        assert (await until_end(stream)).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST /v1/chat/completions HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 60_000, b"431"),
        (post(b"x", extra="content-length: 2\r\n"), b"400"),
    ],
)
async def test_broken_framing_is_answered_and_closed(server, data, status):
    answer = await server.exchange(data)
    assert answer.split(b" ", 2)[1] == status
    assert b"\r\nconnection: close\r\n" in answer


async def test_a_body_beyond_the_limit(server):
    async with await server.connect() as stream:
        await stream.send_all(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 67108866\r\n\r\n"
        )
        part = bytes(1 << 20)
        for _ in range(64):
            await stream.send_all(part)
        await stream.send_all(b"x")
        assert (await until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("fault", "streamed", "first"),
    [
        ("pace=0,60000", True, b'"content":"'),  # between two tokens
        ("pace=60000", True, b'"role"'),  # before the first
        ("pace=60000", False, None),  # before the head
        ("silence", True, None),
        ("head-silence", True, b"HTTP/1.1"),
        ("cut=0,fin!silence", True, None),
    ],
)
@pytest.mark.parametrize("reset", [False, True])
async def test_a_caller_that_leaves_is_noticed_at_once(server, fault, streamed, first, reset):
    stream = await server.connect()
    await stream.send_all(ask(model=f"m!{fault}", stream=streamed))
    if first is not None:
        await until(stream, first)
    await server.figure("streams", 1)
    if reset:
        linger = b"\1\0\0\0\0\0\0\0"
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    left_at = time.monotonic_ns()
    await stream.aclose()
    await server.figure("connections", 1)  # the one that asks
    [noticed] = await server.get("/sim/hangups")
    assert left_at <= noticed
    await server.figure("streams", 0)


async def test_a_caller_that_reads_late_gets_everything(server):
    async with await server.connect() as stream:
        await stream.send_all(ask(model="m!tokens=40000!pace", stream=True))
        data = await until(stream, b"HTTP/1.1 200")
        await trio.testing.wait_all_tasks_blocked()
        assert server.provider.streams == 1  # it waits: the kernel's buffers are full
        data += await until_end(stream)
    assert token_count(data) == 40_000
    assert data.endswith(b"0\r\n\r\n")


async def test_a_caller_that_ends_its_side_is_gone(server):
    async with await server.connect() as stream:
        await stream.send_all(ask(model="m!pace=60000", stream=True))
        await stream.send_eof()
        await until_end(stream)
    assert len(await server.get("/sim/hangups")) == 1


async def body_of(server, fault, **fields):
    """(the whole answer, its body without chunks) of one streamed request with a fault."""
    data = await server.exchange(ask(model=f"m!{fault}", stream=True, **fields))
    head, _, rest = data.partition(b"\r\n\r\n")
    return data, unchunked(rest) if b"chunked" in head else rest


@pytest.mark.parametrize("fault", ["refuse", "reset", "reset=2", "cut=2,rst"])
async def test_resets_are_resets(server, fault):
    async with await server.connect() as stream:
        await stream.send_all(ask(model=f"m!{fault}!pace=0,1", stream=True))
        with pytest.raises(trio.BrokenResourceError):
            await until_end(stream)


@pytest.mark.parametrize("fault", ["cut=2", "cut=2,fin"])
async def test_cuts_end_without_a_terminator(server, fault):
    data, body = await body_of(server, fault)
    assert not data.endswith(b"0\r\n\r\n")
    assert token_count(body) == 2


async def test_bad_framing_closes(server):
    data, _ = await body_of(server, "bad-framing=2")
    assert data.endswith(b"zz\r\n")


@pytest.mark.parametrize(
    ("fault", "start"),
    [
        ("garbage", b"\x16\x03\x01"),
        ("early-hints", b"HTTP/1.1 103 "),
        ("html", b"HTTP/1.1 200 OK"),
        ("429=7", b"HTTP/1.1 429 "),
        ("529", b"HTTP/1.1 529 "),
        ("slow-loris=0.001", b"HTTP/1.1 200 OK"),
        ("huge-head=200000", b"HTTP/1.1 200 OK"),
        ("till-close", b"HTTP/1.1 200 OK"),
        ("long-length", b"HTTP/1.1 200 OK"),
    ],
)
async def test_answers_that_end_the_connection_or_keep_it(server, fault, start):
    data, _ = await body_of(server, fault)
    assert data.startswith(start)


@pytest.mark.parametrize("fault", ["no-done", "malformed", "empty", "error-event=2", "no-finish"])
async def test_broken_streams_in_whole_messages(server, fault):
    data, body = await body_of(server, fault)
    assert data.endswith(b"0\r\n\r\n")
    good = events((await body_of(server, "ok"))[1])
    assert events(body) != good


async def test_a_stall_and_a_slow_first_token_take_their_time(server):
    for fault in ("stall=2,0.2", "slow-first-token=0.2", "silence=0.2", "head-silence=0.2"):
        start = trio.current_time()
        _, body = await body_of(server, fault)
        assert trio.current_time() - start >= 0.2
        assert token_count(body) == 6


async def test_a_fault_of_our_own_ends_one_connection(server, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(server.provider, "answer", lambda *_: 1 / 0)
        assert await server.exchange(ask()) == b""
    assert "a simulated answer failed" in caplog.text
    assert (await server.exchange(ask())).startswith(b"HTTP/1.1 200")


async def test_http_10(server):
    request = ask(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0")
    data = await server.exchange(request)
    assert b"transfer-encoding" not in data
    assert events(data)[-1] == "[DONE]"


async def test_messages_over_the_wire(server):
    body = anthropic_body(stream=True)
    data = await server.exchange(
        post(body, "/v1/messages", extra=CLOSE + "anthropic-version: 2023-06-01\r\n")
    )
    assert events(unchunked(data.partition(b"\r\n\r\n")[2]))[-1] == {"type": "message_stop"}


async def test_many_streams_at_once(server):
    async def one(number):
        data, body = await body_of(server, f"tokens={number}!pace=5,2")
        assert len(events(body)) == number + 3
        assert data.endswith(b"0\r\n\r\n")

    async with trio.open_nursery() as inner:
        for number in range(1, 101):
            inner.start_soon(one, number)
    await server.figure("connections", 1)
    stats = await server.get("/sim/stats")
    assert (stats["streams"], stats["hangups"]) == (0, 0)
