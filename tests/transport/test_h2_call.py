"""One stream to a provider: it looks like a connection of HTTP/1.1, and waits like one."""

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.errors import FaultKind
from kproxy.transport.duplex import Broken, Expired
from kproxy.transport.h2_call import H2Call
from kproxy.transport.pump import Pump
from kproxy.wire.frame import LAST_CHUNK, chunk
from kproxy.wire.h2_frames import Code
from tests.fakes.h2_frames import data
from tests.fakes.h2_provider import Site, Turn, answering, site

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def post(body: bytes = b"{}") -> bytes:
    return b"POST /v1 HTTP/1.1\r\nhost: there\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


async def calling(made: Site, body: bytes = b"{}") -> H2Call:
    """A call that has sent its request."""
    call = await fresh(made)
    await call.send_all(post(body))
    return call


async def fresh(made: Site) -> H2Call:
    found = await made.trunks.take(made.pool.origin, math.inf)
    assert found is not None
    assert isinstance(found[0], H2Call)
    return found[0]


async def everything(call: H2Call) -> bytes:
    got = b""
    while data := await call.receive():
        got += data
    return got


async def test_it_looks_like_http_1(autojump_clock: MockClock) -> None:
    async with site(answering(b"hello")) as made:
        call = await calling(made, b"question")
        assert await everything(call) == HEAD + chunk(b"hello") + LAST_CHUNK
        assert call.peer_ended
        call.close()
        (turn,) = made.provider.turns
        assert (turn.body, turn.fields[":path"], turn.reset) == (b"question", "/v1", None)


async def test_pieces_come_as_they_are_received(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.head()
        for piece in (b"one", b"two"):
            await trio.sleep(1)
            await turn.data(piece)
        await trio.sleep(1)
        await turn.data(b"", end=True)

    async with site(play) as made:
        call = await calling(made)
        start, got = trio.current_time(), []
        while data := await call.receive():
            got.append((trio.current_time() - start, data))
        assert got == [(0, HEAD), (1, chunk(b"one")), (2, chunk(b"two")), (3, LAST_CHUNK)]
        call.close()


async def test_an_answer_without_a_body_ends_with_its_head(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.head(204)
        await trio.sleep(1)
        await turn.data(b"", end=True)

    async with site(play) as made:
        call = await calling(made)
        start = trio.current_time()
        head = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
        assert (await call.receive(), trio.current_time()) == (head, start)
        assert not await call.receive()
        assert trio.current_time() == start + 1, "that of the stream"
        call.close()
        assert made.provider.turns[0].reset is None


# --- sending


async def test_a_request_larger_than_the_window_waits_for_the_provider(
    autojump_clock: MockClock,
) -> None:
    async def play(turn: Turn) -> None:
        await trio.sleep(10)
        assert len(turn.body) == 65_535
        turn.frozen = False
        turn.server.engine.acknowledge_received_data(65_535, turn.stream)
        await turn.server.send()
        await turn.asked()
        await turn.head(end=True)

    async with site(play) as made:
        made.provider.frozen = True
        start = trio.current_time()
        call = await calling(made, bytes(200_000))
        assert trio.current_time() == start + 10
        assert await everything(call) == HEAD + LAST_CHUNK
        assert made.provider.turns[0].body == bytes(200_000)
        call.close()


@pytest.mark.parametrize(("deadline", "seconds"), [(math.inf, 60), (7, 7)])
async def test_a_provider_that_takes_nothing(
    autojump_clock: MockClock, deadline: float, seconds: float
) -> None:
    async def play(turn: Turn) -> None:
        await turn.asked()

    async with site(play) as made:
        made.provider.frozen = True
        call = await fresh(made)
        start = trio.current_time()
        call.deadline = start + deadline
        with pytest.raises(Expired):
            await call.send_all(post(bytes(200_000)))
        assert trio.current_time() - start == seconds
        call.close()
        await wait_all_tasks_blocked()
        assert made.provider.turns[0].reset == Code.CANCEL


async def test_an_answer_before_the_request_is_sent(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.head(413, end=True)

    async with site(play) as made:
        made.provider.frozen = True
        call = await fresh(made)
        with pytest.raises(Broken, match="answered already"):
            await call.send_all(post(bytes(200_000)))
        assert (await call.receive()).startswith(b"HTTP/1.1 413 ")
        call.close()
        await wait_all_tasks_blocked()
        assert made.provider.turns[0].reset == Code.CANCEL


async def test_one_that_says_so_by_a_reset(autojump_clock: MockClock) -> None:
    """RFC 9113 section 8.1: the answer is whole all the same."""

    async def play(turn: Turn) -> None:
        await turn.head(413)
        await turn.data(b"too large", end=True)
        await turn.cut(Code.NO_ERROR)

    async with site(play) as made:
        made.provider.frozen = True
        call = await fresh(made)
        with pytest.raises(Broken):
            await call.send_all(post(bytes(200_000)))
        assert (await everything(call)).endswith(chunk(b"too large") + LAST_CHUNK)
        call.close()


# --- receiving


async def test_silence_is_bounded(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.head()

    async with site(play) as made:
        call = await calling(made)
        await call.receive()
        start = trio.current_time()
        call.deadline = start + 3
        with pytest.raises(Expired) as late:
            await call.receive()
        assert (late.value.link, trio.current_time()) == (call, start + 3)
        call.close()


async def test_what_came_before_a_cut_can_be_taken(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.head()
        await turn.data(b"some")
        await turn.cut(Code.INTERNAL_ERROR)

    async with site(play) as made:
        call = await calling(made)
        await wait_all_tasks_blocked()
        assert call.peer_ended
        assert await call.receive() == HEAD + chunk(b"some")
        for _ in range(2):
            with pytest.raises(Broken) as cut:
                await call.receive()
        assert (cut.value.link, cut.value.kind) == (call, FaultKind.RESET)
        call.close()


async def test_many_small_pieces_are_few(autojump_clock: MockClock) -> None:
    """Else a window of single bytes would take a hundred times its size."""
    body = bytes(range(256)) * 80

    async def play(turn: Turn) -> None:
        await turn.head()
        await turn.server.send(b"".join(data(turn.stream, body[n : n + 1]) for n in range(20_000)))
        await turn.server.send(data(turn.stream, body[20_000:], end=True))
        turn.server.engine.reset_stream(turn.stream)  # it has not seen them
        turn.server.engine.data_to_send()

    async with site(play) as made:
        call = await calling(made)
        await wait_all_tasks_blocked()
        assert [len(piece) for piece, _ in call._inbox] == [4096] * 5
        assert sum(size for _, size in call._inbox) == len(body)
        assert await everything(call) == HEAD + chunk(body) + LAST_CHUNK
        call.close()


async def test_the_end_of_its_connection_is_an_end_without_the_last_chunk(
    autojump_clock: MockClock,
) -> None:
    async def play(turn: Turn) -> None:
        await turn.head()
        await turn.data(b"some")
        await trio.sleep(1)
        turn.server.link.close()

    async with site(play) as made:
        call = await calling(made)
        gone: list[float] = []
        call.on_gone = lambda: gone.append(trio.current_time())
        start = trio.current_time()
        assert await everything(call) == HEAD + chunk(b"some")
        assert gone == [start + 1]
        call.on_gone = lambda: gone.append(0)
        assert gone[1:] == [0], "at once, where it has happened"
        call.close()


async def test_closing_is_idempotent_and_takes_the_request_back(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.head()
        await turn.data(bytes(20_000))

    async with site(play) as made:
        call = await calling(made)
        await wait_all_tasks_blocked()
        call.close()
        call.close()
        with pytest.raises(Broken, match="closed"):
            await call.receive()
        assert repr(call) == "<H2Call 1 closed>"
        await wait_all_tasks_blocked()
        assert made.provider.turns[0].reset == Code.CANCEL


async def test_a_call_that_has_asked_nothing_leaves_no_trace(autojump_clock: MockClock) -> None:
    async with site(answering(b"")) as made:
        (await fresh(made)).close()
        await wait_all_tasks_blocked()
        assert made.provider.turns == []


# --- relays


class Copy:
    """A stage that passes everything, until the last chunk."""

    def __init__(self) -> None:
        self.finished = False

    def take(self, data: bytes) -> bytes:
        self.finished = not data or data.endswith(LAST_CHUNK)
        return data


class Narrow:
    """A caller that takes so many bytes and no more, until it is told to."""

    def __init__(self, room: int) -> None:
        self.stall = 60.0
        self.deadline = math.inf
        self.room = room
        self.got = b""
        self.pump: Pump | None = None

    def flow_in(self, pump: Pump | None, *, torn: bool = False) -> None:
        self.pump = pump

    def send_nowait(self, data: bytes | memoryview) -> int:
        taken = bytes(data[: self.room])
        self.got += taken
        self.room -= len(taken)
        return len(taken)

    def widen(self) -> None:
        self.room = 2**30
        assert self.pump is not None
        self.pump.sink_ready()


async def test_a_slow_caller_holds_up_its_stream_alone(autojump_clock: MockClock) -> None:
    """The provider's DATA stops at the window, another stream goes on, and nothing is lost."""
    body = bytes(range(256)) * 4_000

    async def play(turn: Turn) -> None:
        await turn.head()
        await turn.data(body, end=True)

    async with site(play) as made:
        slow, quick = await calling(made), await calling(made)
        sink = Narrow(room=100)
        async with trio.open_nursery() as relay:
            relay.start_soon(slow.pump, sink, Copy(), 60)
            assert len(await everything(quick)) > len(body)
            quick.close()
            await wait_all_tasks_blocked()
            server = made.provider.servers[0]
            assert server.engine.local_flow_control_window(slow.number) == 0, "all of its window"
            assert len(sink.got) == 100
            assert sum(len(data) for data, _ in slow._inbox) <= 65_535
            sink.widen()
        assert sink.got.startswith(HEAD)
        assert sink.got.endswith(LAST_CHUNK)
        assert sink.got.count(bytes(range(256))) > 3_900
        assert made.provider.dialled == 1
        slow.close()


async def test_a_relay_from_a_silent_provider(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.head()
        await trio.sleep(2)
        await turn.data(b"x")

    async with site(play) as made:
        call = await calling(made)
        start = trio.current_time()
        with pytest.raises(Expired) as late:
            await call.pump(Narrow(1_000), Copy(), 5)  # type: ignore[arg-type]
        assert (late.value.link, trio.current_time() - start) == (call, 7)
        call.close()


async def test_a_relay_that_is_cut(autojump_clock: MockClock) -> None:
    async def play(turn: Turn) -> None:
        await turn.head()
        await trio.sleep(2)
        await turn.cut(Code.CANCEL)

    async with site(play) as made:
        call = await calling(made)
        with pytest.raises(Broken) as cut:
            await call.pump(Narrow(1_000), Copy(), 5)  # type: ignore[arg-type]
        assert cut.value.link is call
        call.close()
