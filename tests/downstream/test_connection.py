"""Whole conversations of one connection, bytes for bytes, with both protocol engines."""

import pytest
import trio

from kproxy.downstream.date import DateField
from kproxy.downstream.exchange import BodyLimits, Exchange, ExchangeState
from kproxy.downstream.respond import JSON_TYPE, Answer
from kproxy.wire.frame import CONTINUE
from kproxy.wire.h1 import ENGINES
from tests.fakes.cuts import every_cut
from tests.fakes.talk import Scripted, answer, get, pause, post, talk

NO_BODY = BodyLimits(size=0)
CLOSE = "connection: close"
CHUNKED = "Transfer-Encoding: chunked"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


async def stream(exchange: Exchange) -> None:
    """Two events and a good end."""
    await exchange.read_body()
    head = exchange.start([(b"content-type", b"text/event-stream")])
    await exchange.link.send_all(head + exchange.frame(b"data: 1\n\n"))
    await pause(1)
    await exchange.link.send_all(exchange.frame(b"data: [DONE]\n\n") + exchange.ending)
    exchange.complete()


def test_a_connection_is_kept_until_it_has_been_idle(engine: str) -> None:
    handler = Scripted()
    told = talk(handler, get("/1"), 59.5, get("/2"), 59.5, get("/3"), engine=engine)
    assert told.out == answer(b"/1") + answer(b"/2") + answer(b"/3")
    assert told.ended == 59.5 + 59.5 + 60
    assert handler.seen == [(f"/{n}", ExchangeState.DONE, 200) for n in (1, 2, 3)]


def test_each_response_has_its_own_request_id() -> None:
    handler = Scripted()
    told = talk(handler, get() + get())
    first, second = (exchange.request_id.encode() for exchange in handler.exchanges)
    assert first != second
    assert told.raw.index(b"x-request-id: " + first) < told.raw.index(b"x-request-id: " + second)


def test_the_date_of_each_response_is_of_the_given_clock() -> None:
    handler = Scripted()
    date = DateField(lambda: 784_111_777 + trio.current_time())
    told = talk(handler, get("/1"), 2, get("/2"), b"nonsense\r\n\r\n", date=date)
    assert told.out.startswith(
        answer(b"/1", "date: Sun, 06 Nov 1994 08:49:37 GMT")
        + answer(b"/2", "date: Sun, 06 Nov 1994 08:49:39 GMT")
        + b"HTTP/1.1 400 Bad Request\r\n"
    )
    assert told.out.count(b"\r\ndate: ") == 3


def test_pipelined_requests_are_answered_in_order(engine: str) -> None:
    async def slowly(exchange: Exchange) -> None:
        await pause(5)
        await exchange.respond(Answer(200, [], b"slow"))

    handler = Scripted(slow=slowly)
    told = talk(handler, get("/slow") + post(b"two") + get("/3"), engine=engine)
    assert told.out == answer(b"slow") + answer(b"/two") + answer(b"/3")
    assert {at for at, _ in told.pieces} == {5.0}


def test_close_ends_the_connection_and_leaves_the_rest_unread(engine: str) -> None:
    handler = Scripted()
    told = talk(handler, get("/1", "Connection: close") + get("/2"), engine=engine)
    assert told.out == answer(b"/1", CLOSE)
    assert not told.reset
    assert told.ended == told.served == 0
    assert len(handler.seen) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_head_has_the_fields_of_get_and_no_body(engine: str, method: str) -> None:
    async def fixed(exchange: Exchange) -> None:
        await exchange.respond(Answer(200, [JSON_TYPE], b'{"a":1}'))

    handler = Scripted(fixed=fixed, stream=stream)
    whole, streamed = get("/fixed", method=method), get("/stream", method=method)
    told = talk(handler, whole + streamed + get("/after"), engine=engine)
    fixed_head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n"
    stream_head = STREAM + b"transfer-encoding: chunked\r\n\r\n"
    bodies = b"9\r\ndata: 1\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    if method == "HEAD":
        assert told.out == fixed_head + stream_head + answer(b"/after")
    else:
        assert told.out == fixed_head + b'{"a":1}' + stream_head + bodies + answer(b"/after")


def test_a_head_request_that_fails_gets_the_fields_alone() -> None:
    told = talk(Scripted(), post(b"x").replace(b"POST", b"HEAD"), get("/2"), body=NO_BODY)
    assert told.statuses == [413]
    assert told.raw.endswith(b"\r\n\r\n")


def test_a_204_has_no_length() -> None:
    async def nothing(exchange: Exchange) -> None:
        await exchange.respond(Answer(204, [], b""))

    told = talk(Scripted(nothing=nothing), get("/nothing") + get("/2"))
    assert told.out == b"HTTP/1.1 204 No Content\r\n\r\n" + answer(b"/2")


def test_chunked_bodies_with_extensions_and_trailers(engine: str) -> None:
    handler = Scripted()
    body = b"5;a=b\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nX-Trailer: 1\r\n\r\n"
    told = talk(handler, get("/", CHUNKED, method="POST") + body + get("/after"), engine=engine)
    assert told.out == answer(b"/hello world") + answer(b"/after")
    assert handler.bodies[0] == b"hello world"


class TestHttp10:
    def test_closes_by_default(self, engine: str) -> None:
        told = talk(Scripted(), get("/1", version="1.0"), engine=engine)
        assert told.out == answer(b"/1", CLOSE)
        assert told.ended == 0

    def test_is_kept_where_it_asks_for_it(self, engine: str) -> None:
        one = get("/1", "Connection: keep-alive", version="1.0")
        told = talk(Scripted(), one, 1, get("/2", version="1.0"), engine=engine)
        assert told.out == answer(b"/1", "connection: keep-alive") + answer(b"/2", CLOSE)

    def test_a_stream_ends_with_the_connection(self, engine: str) -> None:
        one = get("/stream", "Connection: keep-alive", version="1.0")
        told = talk(Scripted(stream=stream), one, engine=engine)
        assert told.out == STREAM + b"connection: close\r\n\r\ndata: 1\n\ndata: [DONE]\n\n"
        assert told.ended == 1


class TestExpect:
    EXPECT = "Expect: 100-continue"

    def test_the_body_is_called_for_when_it_is_read(self, engine: str) -> None:
        async def later(exchange: Exchange) -> None:
            await pause(3)
            body = await exchange.read_body()
            await exchange.respond(Answer(200, [], body))

        head = post(b"", self.EXPECT, target="/later").replace(b"Length: 0", b"Length: 4")
        told = talk(Scripted(later=later), head, 4, b"body", get("/2"), engine=engine)
        assert told.pieces[0] == (3.0, CONTINUE)
        assert told.out == CONTINUE + answer(b"body") + answer(b"/2")
        assert [at for at, _ in told.pieces] == [3.0, 4.0, 4.0]

    def test_a_chunked_body_is_called_for_too(self, engine: str) -> None:
        head = get("/", CHUNKED, self.EXPECT, method="POST")
        told = talk(Scripted(), head, 1, b"2\r\nhi\r\n0\r\n\r\n", engine=engine)
        assert told.out == CONTINUE + answer(b"/hi")

    def test_a_body_that_is_here_already_is_not_called_for(self, engine: str) -> None:
        told = talk(Scripted(), post(b"body", self.EXPECT), engine=engine)
        assert told.out == answer(b"/body")

    def test_a_body_that_is_too_large_is_not_called_for(self, engine: str) -> None:
        head = post(b"", self.EXPECT).replace(b"Length: 0", b"Length: 33554433")
        told = talk(Scripted(), head, engine=engine)
        assert told.statuses == [413]

    def test_a_refused_request_is_not_called_for(self, engine: str) -> None:
        async def refuse(exchange: Exchange) -> None:
            await exchange.respond(Answer(401, [], b""))

        head = post(b"", self.EXPECT, target="/refuse").replace(b"Length: 0", b"Length: 9")
        told = talk(Scripted(refuse=refuse), head, engine=engine)
        assert told.out == answer(b"", CLOSE, status="401 Unauthorized")

    def test_http_10_cannot_expect(self, engine: str) -> None:
        head = post(b"", self.EXPECT, version="1.0").replace(b"Length: 0", b"Length: 2")
        told = talk(Scripted(), head, 1, b"hi", engine=engine)
        assert told.out == answer(b"/hi", CLOSE)

    def test_anything_else_cannot_be_expected(self, engine: str) -> None:
        told = talk(Scripted(), get("/", "Expect: tea"), engine=engine)
        assert told.statuses == [417]
        assert told.error["type"] == "invalid_request_error"


def test_any_cut_of_the_requests_gives_the_same_bytes(engine: str) -> None:
    requests = (
        get("/1", method="HEAD")
        + post(b"POST / HTTP/1.1\r\n\r\n", target="/2")
        + b"\r\n"
        + get("/3", CHUNKED, method="POST")
        + b"3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\nT: 1\r\n\r\n"
        + get("/stream", "Connection: close")
    )
    expected = (
        answer(b"/1")[:-2]
        + answer(b"/2POST / HTTP/1.1\r\n\r\n")
        + answer(b"/3abc0123456789")
        + STREAM
        + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        + b"9\r\ndata: 1\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    )
    handler = Scripted(stream=stream)
    for pieces in every_cut(requests):
        told = talk(handler, *pieces, engine=engine)
        assert told.out == expected, pieces


def test_a_connection_shows_its_state() -> None:
    shown: list[str] = []

    async def look(exchange: Exchange) -> None:
        await exchange.respond(Answer(200, [], b""))
        shown.append(repr(told[0]))

    told: list[object] = []
    talk(
        Scripted(look=look),
        lambda talk: told.append(talk.connection),
        get("/look"),
        1,
        lambda talk: shown.append(repr(talk.connection)),
    )
    assert shown[0].startswith("<Connection <Exchange req_")
    assert shown[0].endswith(" done 200>, 0 served>")
    assert shown[1] == "<Connection idle, 1 served>"
