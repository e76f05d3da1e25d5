"""One exchange by itself: heartbeats, framing, and what its states allow."""

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.downstream.exchange import HEARTBEAT, BodyLimits, Exchange, ExchangeState, new_id
from kproxy.downstream.respond import Answer
from kproxy.errors import Rejected
from kproxy.transport.duplex import Broken
from kproxy.wire.events import RequestHead
from kproxy.wire.h1 import RequestReader
from kproxy.wire.limits import H1Limits
from tests.fakes.duplex import MemoryDuplex, duplex_pair
from tests.fakes.talk import REQUEST_ID, get, post

EVENTS = [(b"content-type", b"text/event-stream")]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BEAT = b"%x\r\n%b\r\n" % (len(HEARTBEAT), HEARTBEAT)


def exchanged(request: bytes, limits: BodyLimits | None = None) -> tuple[Exchange, MemoryDuplex]:
    """An exchange whose request has been received as far as it is given, and the caller's end."""
    server, caller = duplex_pair()
    reader = RequestReader(H1Limits())
    reader.receive_data(request)
    head = reader.next_event()
    assert isinstance(head, RequestHead)
    return Exchange(server, reader, head, limits or BodyLimits()), caller


def heard(caller: MemoryDuplex) -> bytes:
    """What has come by now, without the request's id."""
    return REQUEST_ID.sub(b"", caller.receive_nowait() or b"")


class TestHeartbeat:
    async def test_the_head_alone_and_then_comments(self) -> None:
        exchange, caller = exchanged(get())
        exchange.beat(EVENTS)
        assert exchange.state is ExchangeState.STARTED
        assert heard(caller) == HEAD + BEAT
        exchange.beat(EVENTS)
        assert heard(caller) == BEAT
        assert exchange.due() == b""

    async def test_a_beat_is_a_comment_that_no_client_sees(self) -> None:
        assert HEARTBEAT.startswith(b":")
        assert HEARTBEAT.endswith(b"\n\n")

    async def test_what_was_not_taken_comes_first_and_once(self) -> None:
        exchange, caller = exchanged(get())
        assert exchange.link.send_nowait(b"full") == 4
        exchange.beat(EVENTS)
        exchange.beat(EVENTS)  # nothing is added while something waits
        assert caller.receive_nowait() == b"full"
        assert caller.receive_nowait() is None
        assert REQUEST_ID.sub(b"", exchange.due()) == HEAD + BEAT
        assert exchange.due() == b""

    async def test_a_beat_that_is_taken_in_part_is_continued(self) -> None:
        exchange, caller = exchanged(get())
        whole = exchange.link.send_nowait
        exchange.link.send_nowait = lambda data: whole(data[:30])  # type: ignore[method-assign]
        exchange.beat(EVENTS)
        assert REQUEST_ID.sub(b"", (caller.receive_nowait() or b"") + exchange.due()) == HEAD + BEAT

    async def test_to_a_caller_who_left_it_is_broken(self) -> None:
        exchange, caller = exchanged(get())
        caller.close()
        with pytest.raises(Broken):
            exchange.beat(EVENTS)

    async def test_http_10_hears_bare_comments(self) -> None:
        exchange, caller = exchanged(get(version="1.0"))
        exchange.beat(EVENTS)
        assert heard(caller).endswith(b"connection: close\r\n\r\n" + HEARTBEAT)


class TestFraming:
    async def test_of_a_stream(self) -> None:
        exchange, _ = exchanged(get())
        assert REQUEST_ID.sub(b"", exchange.start(EVENTS)) == HEAD
        assert exchange.frame(b"x" * 17) == b"11\r\n" + b"x" * 17 + b"\r\n"
        assert exchange.frame(b"") == b"", "an empty chunk would be the last one"
        assert exchange.ending == b"0\r\n\r\n"

    async def test_of_http_10(self) -> None:
        exchange, _ = exchanged(get(version="1.0"))
        assert b"transfer-encoding" not in exchange.start(EVENTS)
        assert (exchange.frame(b"x"), exchange.frame(b""), exchange.ending) == (b"x", b"", b"")

    async def test_of_a_head_request(self) -> None:
        exchange, _ = exchanged(get(method="HEAD"))
        assert REQUEST_ID.sub(b"", exchange.start(EVENTS)) == HEAD
        assert (exchange.frame(b"x"), exchange.ending) == (b"", b"")

    async def test_fields_that_cannot_be_sent_begin_nothing(self) -> None:
        exchange, _ = exchanged(get())
        with pytest.raises(ValueError, match="control byte"):
            exchange.start([(b"x", b"\n")])
        with pytest.raises(ValueError, match="control byte"):
            await exchange.respond(Answer(200, [(b"x", b"\n")], b""))
        assert exchange.state is ExchangeState.WAITING

    async def test_an_answer_is_given_once(self) -> None:
        exchange, caller = exchanged(get())
        caller.watch(caller.receive_nowait)
        await exchange.respond(Answer(200, [], b""))
        with pytest.raises(AssertionError):
            await exchange.respond(Answer(200, [], b""))
        with pytest.raises(AssertionError):
            exchange.start([])


class TestBody:
    @pytest.mark.parametrize("size", [0, 1, 2])
    async def test_is_bytes_however_it_came(self, size: int, nursery: trio.Nursery) -> None:
        request = post(b"x" * size)
        exchange, caller = exchanged(request[: len(request) - size])
        for _ in range(size):
            nursery.start_soon(caller.send_all, b"x")
            await wait_all_tasks_blocked()
        body = await exchange.read_body()
        assert type(body) is bytes
        assert body == b"x" * size
        assert exchange.request_read

    async def test_whole_and_here_it_is_not_copied(self) -> None:
        exchange, _ = exchanged(post(b"body"))
        assert await exchange.read_body() == b"body"
        assert exchange.link.deadline == math.inf

    async def test_its_timers_are_gone_when_it_was_too_large(self, nursery: trio.Nursery) -> None:
        chunked = get("/", "Transfer-Encoding: chunked", method="POST")
        exchange, caller = exchanged(chunked, BodyLimits(size=1))
        nursery.start_soon(caller.send_all, b"2\r\nxx\r\n")
        with pytest.raises(Rejected) as caught:
            await exchange.read_body()
        assert (caught.value.status, caught.value.close) == (413, True)
        assert "limit of 1 bytes" in caught.value.message
        assert exchange.link.deadline == math.inf
        assert not exchange.request_read

    async def test_the_whole_counts_from_the_arrival(self, autojump_clock: MockClock) -> None:
        exchange, _ = exchanged(post(b"body")[:-1], BodyLimits(gap=60, total=10))
        await trio.sleep(7)
        with pytest.raises(Rejected) as caught:
            await exchange.read_body()
        assert caught.value.status == 408
        assert trio.current_time() == exchange.arrived + 10


async def test_an_abort_never_keeps_the_connection() -> None:
    exchange, caller = exchanged(get())
    caller.watch(caller.receive_nowait)
    await exchange.link.send_all(exchange.start([]))
    exchange.abort()
    assert exchange.state is ExchangeState.ABORTED
    assert not exchange.keep_alive


async def test_the_id_is_in_the_head_and_in_the_repr() -> None:
    exchange, caller = exchanged(get())
    caller.watch(caller.receive_nowait)
    assert repr(exchange) == f"<Exchange {exchange.request_id} waiting 0>"
    await exchange.respond(Answer(404, [], b""))
    assert repr(exchange) == f"<Exchange {exchange.request_id} done 404>"


def test_ids_do_not_repeat() -> None:
    assert len({new_id() for _ in range(1_000)}) == 1_000
