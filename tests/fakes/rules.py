"""Rules of an RFC as data: bytes that a caller sends, and what must come back.

A `Rule` is one requirement that binds a server, in our words, with what kproxy makes of it where
the RFC leaves a choice. `cases` cuts a table into (rule, bytes) for pytest; `hold` plays one of
them through a real `Connection` and checks what came back and what reached the handler.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pytest

from kproxy.downstream.date import DateField
from kproxy.downstream.exchange import Exchange
from kproxy.downstream.respond import Answer
from tests.fakes.talk import Scripted, pause, talk

__all__ = ["DATE", "Rule", "Taking", "bare", "cases", "hold", "refused", "req", "taken"]

Send = bytes | tuple[bytes | float, ...]
"""What the caller sends; several steps are bytes and seconds of silence."""

DATE = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
HEADS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]*((?:\r\n[^\r\n]+)*)\r\n\r\n")
IDLE = 60.0


@dataclass(frozen=True)
class Rule:
    """`section` of the RFC, what it `says`, what kproxy `does`. Of each of `sends`: the statuses
    that are `seen`, whether the connection `ends` with the last one, what reached the handler
    (`took`: method, target and body of each request), and bytes that the answers have and lack."""

    section: str
    says: str
    does: str
    sends: tuple[Send, ...]
    seen: tuple[int, ...] = (200,)
    ends: bool = False
    took: tuple[bytes, ...] | None = None
    has: tuple[bytes, ...] = ()
    lacks: tuple[bytes, ...] = ()


def refused(section: str, says: str, does: str, *sends: Send, status: int = 400) -> Rule:
    """Never shown to a handler, answered with an error, and the connection ended."""
    return Rule(section, says, does, sends, (status,), ends=True, took=())


def taken(
    section: str, says: str, does: str, *sends: Send, took: bytes | None = b"GET /", **more: object
) -> Rule:
    """One request that is carried out; `took` None: they differ in what they ask for."""
    whole = None if took is None else (took,)
    return Rule(section, says, does, sends, took=whole, **more)  # type: ignore[arg-type]


def req(line: bytes = b"GET / HTTP/1.1", *fields: bytes, body: bytes = b"") -> bytes:
    """A request with a Host."""
    return bare(line, b"Host: a", *fields, body=body)


def bare(line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    """A request with these fields and no other."""
    return b"\r\n".join([line, *fields, b"", body])


def cases(rules: Iterable[Rule]) -> list[object]:
    """Each of the bytes of each rule, for `parametrize`."""
    return [
        pytest.param(rule, send, id=f"{rule.section} {rule.says} {number}")
        for rule in rules
        for number, send in enumerate(rule.sends)
    ]


class Taking(Scripted):
    """Handlers by target: `/echo` and all others echo the body, `/unread` answers without it."""

    def __init__(self) -> None:
        super().__init__(unread=self._unread, stream=self._stream, nothing=self._nothing)
        self.took: list[bytes] = []

    async def answer(self, exchange: Exchange) -> None:
        head, number = exchange.head, len(self.took)
        self.took.append(head.method + b" " + head.target)
        await super().answer(exchange)
        if exchange.received:
            self.took[number] += b" " + self.bodies[-1]

    async def _unread(self, exchange: Exchange) -> None:
        await exchange.respond(Answer(401, [], b"no"))

    async def _nothing(self, exchange: Exchange) -> None:
        await exchange.respond(Answer(204, [], b""))

    async def _stream(self, exchange: Exchange) -> None:
        await exchange.read_body()
        head = exchange.start([(b"content-type", b"text/event-stream")])
        await exchange.link.send_all(head + exchange.frame(b"data: 1\n\n"))
        await pause(1)
        await exchange.link.send_all(exchange.frame(b"data: 2\n\n") + exchange.ending)
        exchange.complete()


def hold(rule: Rule, send: Send, engine: str) -> Taking:
    """Play the bytes, and check. What took them."""
    handler = Taking()
    steps = (send,) if isinstance(send, bytes) else send
    told = talk(handler, *steps, engine=engine, date=DateField(lambda: 784_111_777.0))
    heads = HEADS.findall(told.raw)
    assert tuple(told.statuses) == rule.seen, told.raw
    assert [int(status) for status, _ in heads] == told.statuses
    _check_heads([(int(status), fields + b"\r\n") for status, fields in heads])
    if rule.took is not None:
        assert tuple(handler.took) == rule.took
    assert (b"\r\nconnection: close\r\n" in heads[-1][1] + b"\r\n") == rule.ends
    assert told.ended is not None
    assert (told.ended < IDLE) == rule.ends
    for part in rule.has:
        assert part in told.raw
    for part in rule.lacks:
        assert part not in told.raw
    return handler


def _check_heads(heads: Sequence[tuple[int, bytes]]) -> None:
    """What holds for every answer: when it was made, and one framing."""
    for status, fields in heads:
        names = [line.partition(b":")[0].lower() for line in fields.split(b"\r\n") if line]
        length, chunked = names.count(b"content-length"), names.count(b"transfer-encoding")
        if status < 200:
            assert not length
            assert not chunked
            continue
        assert DATE in fields
        framed = length + chunked
        if status in (204, 304):
            assert not framed
        else:
            assert framed == 1 or (not framed and b"connection: close\r\n" in fields)
