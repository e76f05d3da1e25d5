"""What a handler leaves undone or raises, what a caller still sends, and how it ends."""

import logging

import pytest

from kproxy.downstream.exchange import HEARTBEAT, SKIP_BYTES, Exchange, ExchangeState
from kproxy.downstream.linger import USUAL
from kproxy.downstream.respond import Answer, error_event, to_answer
from kproxy.errors import BrokenStream, DeadlineExceeded, Exhausted, Fault, FaultKind, Rejected
from kproxy.transport.duplex import Broken, Expired
from kproxy.wire.h1 import ENGINES
from tests.fakes.duplex import MemoryDuplex
from tests.fakes.talk import Ears, Scripted, Talk, answer, get, pause, post, talk

CLOSE = "connection: close"
CHUNKED = "Transfer-Encoding: chunked"
SMUGGLED = get("/smuggled")
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
STUBBORN = Ears(stubborn=True)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "kproxy")
    return caplog


def raising(error: Exception, *, started: bool = False) -> Scripted:
    async def fail(exchange: Exchange) -> None:
        await exchange.read_body()
        if started:
            await exchange.link.send_all(exchange.start([]) + exchange.frame(b"1"))
        raise error

    return Scripted(fail=fail)


ERRORS = [
    Exhausted((("acme/m", Fault(FaultKind.CONNECT, "refused")),)),
    DeadlineExceeded(),
    Rejected(404, "model_not_found", "The model 'x' does not exist", param="model"),
    Fault(FaultKind.RESET, "the connection broke"),
    BrokenStream(Fault(FaultKind.GAP_TIMEOUT, "silence")),
]


class TestRaised:
    @pytest.mark.parametrize("error", ERRORS, ids=repr)
    def test_before_the_head_it_is_the_response(
        self, error: Exception, log: pytest.LogCaptureFixture
    ) -> None:
        expected = to_answer(error)
        told = talk(raising(error), get("/fail"))
        assert told.statuses == [expected.status]
        assert told.raw.endswith(b"\r\n\r\n" + expected.body)
        assert told.ended == 60, "the connection is sound"
        assert told.error["message"]
        assert log.records == []

    @pytest.mark.parametrize("error", [*ERRORS, KeyError("secret")], ids=repr)
    def test_after_the_head_it_is_one_event_and_no_good_end(self, error: Exception) -> None:
        handler = raising(error, started=True)
        told = talk(handler, get("/fail") + get("/2"))
        event = error_event(error)
        assert told.out == STREAM_HEAD + b"1\r\n1\r\n" + b"%x\r\n%b\r\n" % (len(event), event)
        assert told.ended == 0
        assert handler.seen == [("/fail", ExchangeState.ABORTED, 200)]

    def test_after_a_heartbeat_it_is_an_event_too(self) -> None:
        async def beat(exchange: Exchange) -> None:
            exchange.beat([])
            await pause(15)
            exchange.beat([])
            raise error

        error = Exhausted((("acme/m", Fault(FaultKind.CONNECT, "refused")),))
        told = talk(Scripted(beat=beat), get("/beat"))
        event, comment = error_event(error), b"%x\r\n%b\r\n" % (len(HEARTBEAT), HEARTBEAT)
        framed = b"%x\r\n%b\r\n" % (len(event), event)
        assert told.out == STREAM_HEAD + comment + comment + framed
        assert told.ended == 15

    def test_the_unknown_is_a_500_without_a_trace(self, log: pytest.LogCaptureFixture) -> None:
        handler = raising(ZeroDivisionError("secret"))
        told = talk(handler, get("/fail"), get("/2"))
        assert told.statuses == [500, 200]
        assert told.error if told.statuses[-1] == 500 else b"internal_error" in told.raw
        assert b"secret" not in told.raw
        assert b"Zero" not in told.raw
        (record,) = log.records
        assert record.levelno == logging.ERROR
        assert handler.exchanges[0].request_id in record.getMessage()
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError

    def test_no_answer_is_a_fault_of_ours(self, log: pytest.LogCaptureFixture) -> None:
        async def nothing(exchange: Exchange) -> None:
            await exchange.read_body()

        told = talk(Scripted(nothing=nothing), get("/nothing"))
        assert told.statuses == [500]
        assert told.error["code"] == "internal_error"
        assert "left unanswered" in str(log.records[0].exc_info)

    def test_half_a_stream_is_a_fault_of_ours(self, log: pytest.LogCaptureFixture) -> None:
        async def half(exchange: Exchange) -> None:
            await exchange.link.send_all(exchange.start([]))

        told = talk(Scripted(half=half), get("/half"))
        assert told.out.startswith(STREAM_HEAD)
        assert told.out.count(b"internal_error") == 1
        assert not told.out.endswith(b"0\r\n\r\n")
        assert len(log.records) == 1

    def test_a_field_that_cannot_be_sent_is_a_fault_of_ours(self) -> None:
        async def split(exchange: Exchange) -> None:
            await exchange.respond(Answer(200, [(b"x", b"1\r\nset-cookie: 1")], b""))

        async def split_stream(exchange: Exchange) -> None:
            await exchange.read_body()
            exchange.start([(b"x", b"1\n")])

        handler = Scripted(split=split, split_stream=split_stream)
        told = talk(handler, get("/split") + get("/split_stream"))
        assert told.statuses == [500, 500]
        assert b"set-cookie" not in told.raw

    @pytest.mark.parametrize("kind", [Broken, Expired])
    def test_somebody_elses_connection_is_not_the_callers(
        self, kind: type[Exception], log: pytest.LogCaptureFixture
    ) -> None:
        """A provider's end that nobody translated is our fault, and does not pass as a hang-up."""
        other = MemoryDuplex()
        error = Broken(other, "reset") if kind is Broken else Expired(other)
        told = talk(raising(error), get("/fail"))
        assert told.statuses == [500]
        assert len(log.records) == 1

    def test_after_the_response_it_is_only_logged(self, log: pytest.LogCaptureFixture) -> None:
        async def late(exchange: Exchange) -> None:
            await exchange.respond(Answer(200, [], b"done"))
            raise KeyError

        told = talk(Scripted(late=late), get("/late"), get("/2"))
        assert told.out == answer(b"done") + answer(b"/2")
        assert len(log.records) == 1


async def refuse(exchange: Exchange) -> None:
    """Answers without a look at the body."""
    await pause(0)
    raise Rejected(401, "invalid_api_key", "No API key provided.")


class TestUnreadBody:
    def test_that_is_here_is_skipped_and_the_connection_kept(self, engine: str) -> None:
        handler = Scripted(refuse=refuse)
        chunks = b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"
        one = post(SMUGGLED, target="/refuse")
        two = get("/refuse", CHUNKED, method="POST") + chunks
        told = talk(handler, one + two + get("/3"), engine=engine)
        assert told.statuses == [401, 401, 200]
        assert [target for target, _, _ in handler.seen] == ["/refuse", "/refuse", "/3"]
        assert told.ended == 60

    def test_that_is_in_the_socket_is_skipped_too(self, engine: str) -> None:
        """Most clients send the head and the body in two writes."""

        async def slowly(exchange: Exchange) -> None:
            await pause(1)
            await refuse(exchange)

        head, body = post(SMUGGLED, target="/slowly").split(b"\r\n\r\n", 1)
        behind = lambda told: told.caller.send_nowait(body)  # noqa: E731
        handler = Scripted(slowly=slowly)
        told = talk(handler, head + b"\r\n\r\n", behind, 2, get("/2"), engine=engine)
        assert told.statuses == [401, 200]
        assert len(handler.seen) == 2

    def test_that_comes_later_ends_the_connection(self, engine: str) -> None:
        handler = Scripted(refuse=refuse)
        head = post(b"", target="/refuse").replace(b"Length: 0", b"Length: %d" % len(SMUGGLED))
        told = talk(handler, head, 1, SMUGGLED, 1, SMUGGLED, ears=STUBBORN, engine=engine)
        assert told.statuses == [401]
        assert CLOSE.encode() in told.raw
        assert len(handler.seen) == 1
        assert (told.ended, told.served, told.reset) == (0, 2 + USUAL.gap, False)

    def test_is_skipped_up_to_a_size(self) -> None:
        handler = Scripted(refuse=refuse)
        for size, statuses in ((SKIP_BYTES, [401, 200]), (2 * SKIP_BYTES, [401])):
            told = talk(handler, post(b"x" * size, target="/refuse") + get("/2"))
            assert told.statuses == statuses
            assert not told.reset

    def test_that_is_broken_only_ends_the_connection(self, engine: str) -> None:
        handler = Scripted(refuse=refuse)
        told = talk(
            handler, get("/refuse", CHUNKED, method="POST") + b"x\r\n" + SMUGGLED, engine=engine
        )
        assert told.statuses == [401]
        assert told.ended == 0
        assert len(handler.seen) == 1

    def test_of_a_stream_is_treated_alike(self, engine: str) -> None:
        async def stream(exchange: Exchange) -> None:
            await exchange.link.send_all(exchange.start([]) + exchange.ending)
            exchange.complete()

        handler = Scripted(stream=stream)
        here = post(SMUGGLED, target="/stream")
        told = talk(handler, here + here[:-1], 1, here[-1:] + SMUGGLED, engine=engine)
        assert told.statuses == [200, 200]
        assert told.out.count(b"connection: close") == 1
        assert len(handler.seen) == 2

    def test_behind_an_error_is_never_read_as_a_request(self, engine: str) -> None:
        handler = Scripted()
        huge = post(b"").replace(b"Length: 0", b"Length: 99999999")
        told = talk(handler, huge + SMUGGLED, 1, SMUGGLED, engine=engine, ears=STUBBORN)
        assert told.statuses == [413]
        assert len(handler.seen) == 1


class TestLingering:
    """A refusal arrives although the caller goes on sending, and no caller can stay for ever."""

    REFUSED = post(b"").replace(b"Length: 0", b"Length: 99999999")

    def test_until_the_caller_closes(self) -> None:
        told = talk(Scripted(), self.REFUSED, 1, b"x", lambda told: told.caller.close())
        assert told.statuses == [413]
        assert told.served == 0, "it closed when it saw the end"

    def test_until_it_is_silent(self) -> None:
        told = talk(Scripted(), self.REFUSED, 1.75, b"x", 1.75, b"x", ears=STUBBORN)
        assert told.statuses == [413]
        assert (told.ended, told.served, told.reset) == (0, 3.5 + USUAL.gap, False)

    def test_until_the_time_is_up(self) -> None:
        told = talk(Scripted(), self.REFUSED, *[b"x", 1] * 40, ears=STUBBORN)
        assert told.served == USUAL.total

    def test_until_it_has_sent_too_much(self) -> None:
        quarter = b"x" * (USUAL.size // 4)
        told = talk(Scripted(), self.REFUSED, *[quarter, 1] * 8, ears=STUBBORN)
        assert told.served == 3

    def test_not_for_one_who_asked_for_the_end(self) -> None:
        told = talk(Scripted(), get("/", "Connection: close"), ears=STUBBORN)
        assert told.served == 0

    def test_for_one_who_asked_and_sent_more_all_the_same(self) -> None:
        more = lambda told: told.caller.send_nowait(b"\r\n")  # noqa: E731
        for steps in ([get("/", "Connection: close") + b"\r\n"], [more]):
            told = talk(Scripted(late=late), get("/late", CLOSE), *steps, ears=STUBBORN)
            assert (told.statuses, told.reset) == ([200], False)


async def late(exchange: Exchange) -> None:
    await pause(1)
    await exchange.respond(Answer(200, [], b"late"))


def drain(told: Talk) -> None:
    assert told.connection is not None
    told.connection.drain()


class TestDrain:
    def test_a_connection_that_never_spoke_closes(self) -> None:
        told = talk(Scripted(), 5, drain)
        assert (told.raw, told.ended) == (b"", 5)

    def test_an_idle_connection_closes(self) -> None:
        told = talk(Scripted(), get(), 5, drain)
        assert (told.out, told.ended) == (answer(b"/"), 5)

    def test_a_busy_one_ends_with_its_exchange_and_says_so(self) -> None:
        handler = Scripted(late=late)
        told = talk(handler, get("/late") + get("/2"), 0.5, drain, ears=STUBBORN)
        assert told.out == answer(b"late", CLOSE)
        assert (told.ended, told.served) == (1, 1 + USUAL.gap)
        assert len(handler.seen) == 1

    def test_a_request_that_has_begun_is_answered(self, engine: str) -> None:
        told = talk(Scripted(), get()[:-1], 5, drain, 1, get()[-1:], engine=engine)
        assert (told.out, told.ended) == (answer(b"/", CLOSE), 6)
        told = talk(Scripted(), post(b"body")[:-1], 5, drain, 1, b"y", engine=engine)
        assert (told.out, told.ended) == (answer(b"/body", CLOSE), 6)

    def test_a_request_that_comes_in_the_same_instant_is_answered(self) -> None:
        def both(told: Talk) -> None:
            told.caller.send_nowait(get())
            drain(told)

        assert talk(Scripted(), 1, both).out == answer(b"/", CLOSE)

    def test_a_stream_goes_on_to_its_end(self) -> None:
        async def stream(exchange: Exchange) -> None:
            await exchange.link.send_all(exchange.start([]))
            await pause(9)
            await exchange.link.send_all(exchange.frame(b"last") + exchange.ending)
            exchange.complete()

        told = talk(Scripted(stream=stream), get("/stream"), 1, drain)
        assert told.out == STREAM_HEAD + b"4\r\nlast\r\n0\r\n\r\n"
        assert told.ended == 9
