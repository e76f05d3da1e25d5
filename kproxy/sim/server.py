"""One connection of a simulated provider: bytes of requests in, the provider's answers played.

A task per connection reads requests with the wire's codec and answers them one after the other, so
pipelined requests are answered in order. The connection ends when the caller ends it, when a
request says so, when its framing is broken, or when a fault wants it.
"""

import logging
import math
import time
from collections.abc import Iterator
from itertools import chain

import trio

from kproxy.errors import Rejected
from kproxy.sim import openai
from kproxy.sim.play import refuse
from kproxy.sim.player import Player
from kproxy.sim.provider import Provider
from kproxy.sim.show import Beat, Ending, Play
from kproxy.transport.duplex import Broken, Expired
from kproxy.transport.hub import Hub
from kproxy.transport.link import Link
from kproxy.wire.events import Data, EndOfMessage, NeedData, ProtocolError, RequestHead
from kproxy.wire.h1 import RequestReader
from kproxy.wire.limits import H1Limits

__all__ = ["Connection"]

log = logging.getLogger("kproxy.sim")

_LARGEST_BODY = 64 * 1024 * 1024  # twice what kproxy itself lets through
_FOREVER: Beat = (math.inf, b"")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection:
    """Serves one link until it ends. The caller of `serve` closes the link."""

    def __init__(self, link: Link, hub: Hub, provider: Provider) -> None:
        self._link = link
        self._provider = provider
        self._reader = RequestReader(H1Limits())
        self._player = Player(link, hub.timers)

    async def serve(self) -> None:
        """Answer requests until the connection is over; broken connections are not an error."""
        self._provider.connections += 1
        try:
            while (request := await self._request()) is not None:
                head, body = request
                if not await self._answer(head, body):
                    return
        except (Broken, Expired):
            return
        except ProtocolError as error:
            await self._complain(Rejected(error.status, "", error.message, close=True))
        except Rejected as error:
            await self._complain(error)
        except Exception:
            # Our own fault: it ends this connection, and not the streams of everyone else.
            log.exception("a simulated answer failed")
        finally:
            self._provider.connections -= 1

    async def _complain(self, error: Rejected) -> None:
        """The last answer on a connection whose framing cannot be trusted any more."""
        try:
            await self._link.send_all(refuse(openai, error, "0" * 24))
        except (Broken, Expired):
            return

    async def _request(self) -> tuple[RequestHead, bytes] | None:
        """The next whole request; None when the caller has no more. Raises ProtocolError."""
        reader = self._reader
        head: RequestHead | None = None
        body: list[bytes] = []
        size = 0
        while True:
            event = reader.next_event()
            if event is NeedData.NEED_DATA:
                reader.receive_data(await self._link.receive())
            elif isinstance(event, RequestHead):
                head = event
                if head.expect_continue:
                    await self._link.send_all(_CONTINUE)
            elif isinstance(event, Data):
                body.append(event.data)
                size += len(event.data)
                if size > _LARGEST_BODY:
                    raise Rejected(413, "", "", close=True)
            elif event is EndOfMessage.END and head is not None:
                return head, body[0] if len(body) == 1 else b"".join(body)
            else:
                return None

    async def _answer(self, head: RequestHead, body: bytes) -> bool:
        """Answer one request. False when the connection is over."""
        arrival = trio.current_time()
        answer = self._provider.answer(head, body, arrival)
        if isinstance(answer, bytes):
            await self._link.send_all(answer if head.keep_alive else _closing(answer))
            return head.keep_alive
        return await self._play(answer, arrival, head.keep_alive)

    async def _play(self, play: Play, arrival: float, keep_alive: bool) -> bool:
        beats = play.beats
        if play.ending is Ending.HANG:
            beats = chain(beats, (_FOREVER,))
        elif not keep_alive:
            beats = _first_closing(beats)
        self._provider.streams += 1
        try:
            stayed = await self._player.play(beats, arrival, self._left)
        finally:
            self._provider.streams -= 1
        if play.ending is Ending.RESET:
            self._link.reset()
        return stayed and keep_alive and play.ending is Ending.KEEP

    def _left(self) -> None:
        self._provider.note_hangup(time.monotonic_ns())


def _closing(answer: bytes) -> bytes:
    """The answer, saying that the connection ends with it (RFC 9112 section 9.6)."""
    if b"\r\nconnection: close\r\n" in answer[:512]:
        return answer
    return answer.replace(b"\r\n", b"\r\nconnection: close\r\n", 1)


def _first_closing(beats: Iterator[Beat]) -> Iterator[Beat]:
    for at, data in beats:
        yield at, _closing(data) if data.startswith(b"HTTP/1.1 200") else data
        break
    yield from beats
