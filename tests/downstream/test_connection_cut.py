"""The process ends before the answer does: who waits for one is told so, once, and nobody else."""

import pytest
import trio

from kproxy.downstream.answering import FAREWELL
from kproxy.downstream.exchange import Exchange
from kproxy.wire.h1 import ENGINES
from tests.fakes.talk import Ears, Scripted, Talk, get, post, talk


def cut(told: Talk) -> None:
    assert told.connection is not None
    told.connection.cut()


async def forever(exchange: Exchange) -> None:
    await trio.sleep_forever()


async def stream(exchange: Exchange) -> None:
    await exchange.link.send_all(exchange.start([]) + exchange.frame(b"data: 1\n\n"))
    await trio.sleep_forever()


async def overfull(exchange: Exchange) -> None:
    """Part of an event has left, and the rest of it never will."""
    exchange.link.send_nowait(exchange.start([]) + b"9\r\ndata:")
    await exchange.link.send_all(b" 1\n\n\r\n")


@pytest.mark.parametrize("engine", ENGINES)
def test_before_the_answer(engine: str) -> None:
    handler = Scripted(wait=forever)
    told = talk(handler, get("/wait"), 2, cut, engine=engine)
    assert handler.exchanges[0].refused == "shutting_down"
    assert told.statuses == [503]
    assert told.error["code"] == "shutting_down"
    assert b"\r\nretry-after: 1\r\n" in told.out
    assert b"\r\nconnection: close\r\n" in told.out
    assert (told.ended, told.served) == (2, 2)


def test_while_the_body_is_read() -> None:
    told = talk(Scripted(), post(b"body")[:-1], 2, cut)
    assert (told.statuses, told.error["code"]) == ([503], "shutting_down")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_in_a_stream(version: str) -> None:
    handler = Scripted(stream=stream)
    told = talk(handler, get("/stream", version=version), 2, cut)
    assert told.statuses == [200]
    assert told.out.count(b'data: {"error":{') == 1
    assert b'"code":"shutting_down"' in told.out
    assert not told.out.endswith(b"0\r\n\r\n"), "it does not look whole"
    assert told.served == 2


def test_between_requests_nothing_is_said() -> None:
    told = talk(Scripted(), get("/1"), 2, cut)
    assert (told.statuses, told.ended) == ([200], 2)


def test_half_an_event_is_followed_by_nothing() -> None:
    told = talk(Scripted(overfull=overfull), get("/overfull"), 2, cut, ears=Ears(deaf=5))
    assert b"error" not in told.raw
    assert told.served == 2


def test_who_does_not_listen_is_not_waited_for() -> None:
    told = talk(Scripted(stream=stream), get("/stream"), 2, cut, ears=Ears(deaf=50))
    assert told.served == 2 + FAREWELL


def test_who_does_not_leave_is_not_waited_for() -> None:
    told = talk(Scripted(wait=forever), get("/wait"), 2, cut, ears=Ears(stubborn=True))
    assert told.statuses == [503]
    assert told.served == 2 + FAREWELL


def test_a_caller_who_is_gone_already() -> None:
    told = talk(Scripted(wait=forever), get("/wait"), 2, lambda told: told.caller.close(), cut)
    assert (told.raw, told.served) == (b"", 2)
