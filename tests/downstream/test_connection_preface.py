"""A caller of a plain connection begins with the preface of HTTP/2: it is given back, unread."""

import math
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from kproxy.downstream.connection import Connection, ConnectionParams
from kproxy.transport.duplex import Broken
from kproxy.wire.h1 import ENGINES
from kproxy.wire.h2_frames import PREFACE
from tests.fakes.duplex import duplex_pair
from tests.fakes.h2_frames import BEGUN
from tests.fakes.talk import Scripted, get


async def first(*pieces: bytes, known: bool = True, engine: str = "scan") -> tuple[bytes, bytes]:
    """What `serve` gave back, and what the caller was sent."""
    server, caller = duplex_pair()
    got = b""

    async def speak() -> None:
        with suppress(Broken):  # the end may come before all of it was taken
            for piece in pieces:
                await caller.send_all(piece)

    async def listen() -> None:
        nonlocal got
        while data := await caller.receive():
            got += data
        caller.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak)
        nursery.start_soon(listen)
        connection = Connection(
            server, Scripted(), ConnectionParams(engine=engine), prior_knowledge=known
        )
        received = await connection.serve()
        assert not received or server.deadline == math.inf
        server.close()
    return received, got


@pytest.mark.parametrize("engine", ENGINES)
async def test_whole_and_more(engine: str, autojump_clock: MockClock) -> None:
    assert await first(BEGUN, engine=engine) == (BEGUN, b"")


async def test_as_much_as_looks_like_a_head(autojump_clock: MockClock) -> None:
    received, got = await first(PREFACE[:5], PREFACE[5:18])
    assert (received, got) == (PREFACE[:18], b"")


@pytest.mark.parametrize(
    ("pieces", "known"),
    [
        ((BEGUN,), False),
        ((b"PRI * HTTP/2.0\r\nhost: a\r\n\r\n",), True),
        ((b"GET / HTTP/2.0\r\n\r\n",), True),
    ],
)
async def test_anything_else_is_another_version(
    pieces: tuple[bytes, ...], known: bool, autojump_clock: MockClock
) -> None:
    received, got = await first(*pieces, known=known)
    assert received == b""
    assert got.startswith(b"HTTP/1.1 505 ")


async def test_not_behind_a_request(autojump_clock: MockClock) -> None:
    received, got = await first(get("/echo"), BEGUN)
    assert received == b""
    assert b"HTTP/1.1 505 " in got
