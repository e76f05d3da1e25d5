"""Every limit and timer of one connection, at the limit and one past it, with both engines.

Times are exact: seconds of the virtual clock since the connection was accepted.
"""

from collections.abc import Callable

import pytest

from kproxy.downstream.exchange import BodyLimits, ExchangeState
from kproxy.wire.h1 import ENGINES
from kproxy.wire.limits import H1Limits
from tests.fakes.talk import Ears, Scripted, Talk, answer, get, post, talk

CHUNKED = "Transfer-Encoding: chunked"
HALF = b"GET / HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


def refused(told: Talk, status: int, code: str, kind: str = "invalid_request_error") -> None:
    """One error answer in OpenAI's shape, and the connection is over."""
    assert told.statuses == [status]
    error = told.error
    assert (error["code"], error["type"], error["param"]) == (code, kind, None)
    assert b"connection: close\r\n" in told.raw
    assert told.ended is not None
    assert not told.reset


def line_of(size: int) -> bytes:
    return get("/" + "x" * (size - len("GET / HTTP/1.1")))


def field_of(size: int) -> bytes:
    return get("/", "X: " + "x" * (size - len("X: ")))


def fields_of(size: int) -> bytes:
    rest = size - len("Host: a\r\n") - 16_384 - 2
    return get("/", "X: " + "x" * 16_381, "Y: " + "y" * (rest - len("Y: \r\n")))


def count_of(number: int) -> bytes:
    return get("/", *(f"X{index}: 1" for index in range(number - 1)))


HEAD_LIMITS = {
    "request line": (line_of, 8 * 1024, 414, "uri_too_long"),
    "one field": (field_of, 16 * 1024, 431, "headers_too_large"),
    "all fields": (fields_of, 32 * 1024, 431, "headers_too_large"),
    "count": (count_of, 100, 431, "headers_too_large"),
}


@pytest.mark.parametrize("name", HEAD_LIMITS)
def test_a_head_at_its_limit_and_one_past_it(engine: str, name: str) -> None:
    make, limit, status, code = HEAD_LIMITS[name]
    handler = Scripted()
    told = talk(handler, make(limit) + get("/2", "Connection: close"), engine=engine)
    assert told.statuses == [200, 200]
    told = talk(handler, make(limit + 1) + get("/2"), engine=engine)
    refused(told, status, code)
    assert len(handler.seen) == 2


@pytest.mark.parametrize("name", ["request line", "all fields"])
def test_a_head_without_an_end_is_refused_at_its_limit(engine: str, name: str) -> None:
    _, _, status, code = HEAD_LIMITS[name]
    endless = b"GET /" if status == 414 else b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 1_000
    told = talk(Scripted(), endless, *[b"x" * 1_000] * 60, engine=engine)
    refused(told, status, code)


MALFORMED = {
    400: [
        b"GET /\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS",
    ],
    417: [b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n"],
    501: [
        b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ],
    505: [b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
}


@pytest.mark.parametrize(
    ("status", "bad"), [(status, bad) for status, heads in MALFORMED.items() for bad in heads]
)
def test_what_is_no_request_is_refused_and_nothing_after_it_is_read(
    engine: str, status: int, bad: bytes
) -> None:
    handler = Scripted()
    told = talk(handler, bad + get("/smuggled"), engine=engine)
    refused(told, status, "invalid_request_error")
    assert handler.seen == []
    assert told.ended == 0


def chunk_line_of(size: int) -> bytes:
    return b"2;" + b"x" * (size - 2) + b"\r\nhi\r\n0\r\n\r\n"


def extensions_of(size: int) -> bytes:
    return b"1;" + b"x" * 99 + b"\r\nh\r\n1;" + b"x" * (size - 101) + b"\r\ni\r\n0\r\n\r\n"


def trailers_of(size: int) -> bytes:
    return b"2\r\nhi\r\n0\r\nX: " + b"x" * (size - 5) + b"\r\n\r\n"


CHUNK_LIMITS = {
    "chunk line": (chunk_line_of, 256),
    "extensions": (extensions_of, 200),
    "trailers": (trailers_of, 8 * 1024),
}


@pytest.mark.parametrize("name", CHUNK_LIMITS)
def test_chunk_framing_at_its_limit_and_one_past_it(engine: str, name: str) -> None:
    make, limit = CHUNK_LIMITS[name]
    h1 = H1Limits(chunk_extensions=200) if name == "extensions" else H1Limits()
    head = get("/", CHUNKED, method="POST")
    told = talk(Scripted(), head + make(limit), get("/2"), engine=engine, h1=h1)
    assert told.out == answer(b"/hi") + answer(b"/2")
    told = talk(Scripted(), head + make(limit + 1) + get("/2"), engine=engine, h1=h1)
    refused(told, 400, "invalid_request_error")


@pytest.mark.parametrize(
    "bad", [b"x\r\n", b"-1\r\n", b"2\nhi\n", b"2\r\nhi!\r\n", b"0\r\nX\r\n\r\n"]
)
def test_broken_chunks_are_the_callers_fault(engine: str, bad: bytes) -> None:
    handler = Scripted()
    told = talk(handler, get("/", CHUNKED, method="POST"), 1, bad + get("/2"), engine=engine)
    refused(told, 400, "invalid_request_error")
    assert handler.seen == [("/", ExchangeState.DONE, 400)]


def announced(size: int) -> list[bytes]:
    return [post(b"x" * size)]


def in_one_chunk(size: int) -> list[bytes]:
    return [get("/", CHUNKED, method="POST") + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n"]


def in_many_pieces(size: int) -> list[bytes]:
    return [get("/", CHUNKED, method="POST"), *[b"1\r\nx\r\n"] * size, b"0\r\n\r\n"]


@pytest.mark.parametrize("make", [announced, in_one_chunk, in_many_pieces])
def test_a_body_at_its_limit_and_one_past_it(
    engine: str, make: Callable[[int], list[bytes]]
) -> None:
    limits, handler = BodyLimits(size=40), Scripted()
    told = talk(handler, *make(40), get("/2"), engine=engine, body=limits)
    assert told.out == answer(b"/" + b"x" * 40) + answer(b"/2")
    told = talk(handler, *make(41), get("/2"), engine=engine, body=limits)
    refused(told, 413, "request_too_large", "request_too_large")
    assert len(handler.bodies) == 2


def test_an_announced_body_is_refused_before_it_comes() -> None:
    head = post(b"").replace(b"Length: 0", b"Length: 33554433")
    told = talk(Scripted(), head)
    refused(told, 413, "request_too_large", "request_too_large")
    assert told.ended == 0


class TestHeadTimer:
    def test_nobody_speaks(self, engine: str) -> None:
        told = talk(Scripted(), engine=engine)
        assert (told.raw, told.ended) == (b"", 10)

    def test_in_time(self, engine: str) -> None:
        told = talk(Scripted(), 9, HALF, 0.75, b"\r\n", engine=engine)
        assert told.out == answer(b"/")

    def test_too_late(self, engine: str) -> None:
        told = talk(Scripted(), 9, HALF, 1.25, b"\r\n", engine=engine)
        refused(told, 408, "request_timeout")
        assert told.ended == 10

    def test_a_drop_each_second_moves_nothing(self, engine: str) -> None:
        drops = [step for byte in get() for step in (bytes([byte]), 0.75)]
        told = talk(Scripted(), *drops, engine=engine)
        refused(told, 408, "request_timeout")
        assert told.ended == 10

    def test_of_a_later_request_it_runs_from_the_first_byte(self, engine: str) -> None:
        told = talk(Scripted(), get("/1"), 50, HALF, 9.75, b"\r\n", engine=engine)
        assert told.out == answer(b"/1") + answer(b"/")
        told = talk(Scripted(), get("/1"), 50, HALF, 10.25, b"\r\n", engine=engine)
        assert told.statuses == [200, 408]
        assert told.ended == 60

    def test_of_a_pipelined_request_it_runs_from_its_turn(self, engine: str) -> None:
        told = talk(Scripted(), get("/1") + HALF, engine=engine)
        assert told.statuses == [200, 408]
        assert told.ended == 10

    def test_the_timer_of_a_head_does_not_time_the_answer(self, engine: str) -> None:
        """A caller that takes its 408 late still gets all of it."""
        told = talk(Scripted(), HALF, ears=Ears(deaf=40), engine=engine)
        refused(told, 408, "request_timeout")
        assert told.ended == 40


class TestIdleTimer:
    def test_an_idle_connection_ends_in_silence(self, engine: str) -> None:
        told = talk(Scripted(), 3, get(), engine=engine)
        assert told.out == answer(b"/")
        assert told.ended == 63

    def test_the_empty_line_that_may_stand_before_a_request_is_no_request(self) -> None:
        told = talk(Scripted(), get(), 1, b"\r\n")
        assert told.out == answer(b"/")
        assert told.ended == 1 + 10


class TestBodyTimers:
    HEAD = post(b"").replace(b"Length: 0", b"Length: 9")

    def test_a_gap_in_time(self, engine: str) -> None:
        told = talk(Scripted(), self.HEAD, 14.75, b"body", 14.75, b" here", engine=engine)
        assert told.out == answer(b"/body here")

    def test_a_gap_too_long(self, engine: str) -> None:
        told = talk(Scripted(), self.HEAD, 5, b"body", 15.25, b" here", engine=engine)
        refused(told, 408, "request_timeout")
        assert told.ended == 20

    def test_a_drip_ends_at_the_total(self, engine: str) -> None:
        told = talk(Scripted(), 2, self.HEAD, *[14, b"x"] * 9, engine=engine)
        refused(told, 408, "request_timeout")
        assert told.ended == 62

    def test_the_total_counts_from_the_head(self, engine: str) -> None:
        in_time = [14, b"x"] * 4 + [3.75, b"12345"]
        assert talk(Scripted(), self.HEAD, *in_time, engine=engine).statuses == [200]
        late = [14, b"x"] * 4 + [4.25, b"12345"]
        assert talk(Scripted(), self.HEAD, *late, engine=engine).statuses == [408]

    def test_the_timers_of_a_body_do_not_time_the_answer(self, engine: str) -> None:
        told = talk(Scripted(), self.HEAD, ears=Ears(deaf=50), engine=engine)
        refused(told, 408, "request_timeout")
        assert told.ended == 50


class TestWriteStall:
    """`stall` is the link's: 60 seconds without a byte taken."""

    def test_in_time(self, engine: str) -> None:
        told = talk(Scripted(), get(), ears=Ears(deaf=59.75), engine=engine)
        assert told.out == answer(b"/")

    def test_too_late(self, engine: str) -> None:
        handler = Scripted()
        told = talk(handler, get(), ears=Ears(deaf=60.25), engine=engine)
        assert told.served == 60
        assert handler.seen == [("/", ExchangeState.DONE, 200)]

    def test_slow_is_not_stalled(self, engine: str) -> None:
        ears = Ears(rest=59.75, size=20)
        told = talk(Scripted(), post(b"x" * 100, "Connection: close"), ears=ears, engine=engine)
        assert told.out == answer(b"/" + b"x" * 100, "connection: close")
