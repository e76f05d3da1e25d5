"""The caller leaves: whatever is being done for it ends at that instant, and nobody is alarmed."""

import logging
from collections.abc import Callable, Iterator

import pytest
import trio

from kproxy.downstream.exchange import Exchange, ExchangeState
from kproxy.downstream.respond import Answer
from kproxy.wire.h1 import ENGINES
from tests.fakes.talk import Ears, Scripted, Talk, answer, get, pause, post, talk

LEAVES: dict[str, Callable[[Talk], None]] = {
    "ends": lambda told: told.caller.end(),
    "closes": lambda told: told.caller.close(),
    "resets": lambda told: told.caller.reset(),
}


@pytest.fixture(params=LEAVES)
def leave(request: pytest.FixtureRequest) -> Callable[[Talk], None]:
    return LEAVES[request.param]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing here is worth a line in a log."""
    with caplog.at_level(logging.DEBUG, "kproxy"):
        yield
    assert caplog.records == []


class Working(Scripted):
    """Waits, or streams an event each second, until it is cancelled; notes when that was."""

    def __init__(self) -> None:
        super().__init__(wait=self.wait, stream=self.stream)
        self.stopped: list[float] = []

    async def wait(self, exchange: Exchange) -> None:
        await exchange.read_body()
        try:
            await trio.sleep_forever()
        finally:
            self.stopped.append(trio.current_time())

    async def stream(self, exchange: Exchange) -> None:
        head = exchange.start([])
        try:
            while True:
                await exchange.link.send_all(head + exchange.frame(b"tick"))
                head = b""
                await pause(1)
        finally:
            self.stopped.append(trio.current_time())


def test_before_the_response(leave: Callable[[Talk], None]) -> None:
    handler = Working()
    told = talk(handler, get("/wait"), 3, leave)
    assert handler.stopped == [3]
    assert handler.seen == [("/wait", ExchangeState.WAITING, 0)]
    assert told.raw == b""
    assert told.served == 3


def test_during_a_stream(leave: Callable[[Talk], None]) -> None:
    handler = Working()
    told = talk(handler, get("/stream"), 2.5, leave)
    assert handler.stopped == [2.5]
    assert handler.seen == [("/stream", ExchangeState.STARTED, 200)]
    assert told.served == 2.5


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("target", ["/wait", "/stream"])
def test_with_a_pipelined_request_unread(
    leave: Callable[[Talk], None], engine: str, target: str
) -> None:
    handler = Working()
    unread = lambda told: told.caller.send_nowait(get("/in the socket"))  # noqa: E731
    told = talk(handler, get(target) + get("/buffered"), 1, unread, 1.5, leave, engine=engine)
    assert handler.stopped == [2.5]
    assert len(handler.seen) == 1
    assert told.served == 2.5


def test_while_the_body_is_read(leave: Callable[[Talk], None]) -> None:
    """The read sees the end too, but that is no error of framing then."""
    handler = Scripted()
    told = talk(handler, post(b"body")[:-1], 3, leave)
    assert handler.seen == [("/", ExchangeState.WAITING, 0)]
    assert told.raw == b""
    assert told.served == 3


def test_while_the_response_is_not_taken(leave: Callable[[Talk], None]) -> None:
    handler = Scripted()
    told = talk(handler, get(), 3, leave, ears=Ears(deaf=50))
    assert told.served == 3
    assert handler.seen == [("/", ExchangeState.DONE, 200)]


def test_while_the_connection_is_idle(leave: Callable[[Talk], None]) -> None:
    told = talk(Scripted(), get(), 3, leave)
    assert told.out == answer(b"/")
    assert told.served == 3


def test_inside_of_a_head() -> None:
    """A caller that can still read is told; one that cannot does no harm."""
    told = talk(Scripted(), get()[:-1], LEAVES["ends"])
    assert told.statuses == [400]
    assert told.error["message"] == "The connection ended inside of a request's head."
    for leave in ("closes", "resets"):
        told = talk(Scripted(), get()[:-1], LEAVES[leave])
        assert told.served == 0


def test_after_the_refusal_of_a_body_that_still_comes(leave: Callable[[Talk], None]) -> None:
    told = talk(Scripted(), b"nonsense\r\n\r\n", 1, b"x", leave, ears=Ears(stubborn=True))
    assert told.statuses == [400]
    assert told.served == 1


@pytest.mark.parametrize("leave", [LEAVES["ends"], LEAVES["closes"]])
def test_before_anything_was_begun_for_it(leave: Callable[[Talk], None]) -> None:
    """The request and the end come together: no provider must be asked."""
    handler = Scripted()

    def both(told: Talk) -> None:
        told.caller.send_nowait(get("/wait"))
        leave(told)

    talk(handler, both)
    assert handler.exchanges == []
    assert handler.seen == [("/wait", ExchangeState.WAITING, 0)]


class TestHalfClose:
    """`half_close`: a caller that has ended its side is still answered."""

    def test_before_the_response(self) -> None:
        async def slow(exchange: Exchange) -> None:
            await pause(5)
            await exchange.respond(Answer(200, [], await exchange.read_body()))

        handler = Scripted(slow=slow)
        requests = post(b"1", target="/slow") + get("/2")
        told = talk(handler, requests, 1, LEAVES["ends"], half_close=True)
        assert told.out == answer(b"1") + answer(b"/2")
        assert told.ended == told.served == 5

    def test_the_default_calls_that_gone(self) -> None:
        handler = Working()
        told = talk(handler, get("/wait"), 1, LEAVES["ends"])
        assert (handler.stopped, told.out) == ([1], b"")

    def test_inside_of_a_body_it_is_an_error(self) -> None:
        told = talk(Scripted(), post(b"body")[:-1], 1, LEAVES["ends"], half_close=True)
        assert told.statuses == [400]
        assert told.error["message"] == "The body ended 1 bytes early."
