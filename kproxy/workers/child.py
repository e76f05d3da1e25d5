"""A forked process becomes a worker: open listeners and a line to the parent in, then it serves.

The line is a socket. Up it goes one message, whether this worker is ready or why it cannot start;
down come orders, one byte each. Its end is the parent's: then nobody would replace workers, and
nobody could tell them anything, so they drain.

Signals mean nothing to a worker. A terminal's Ctrl-C and a service manager's SIGTERM go to every
process of the group, and the parent passes on what its own say.
"""

import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Self

import msgspec
import trio

from kproxy.app import Seat, Started, serve_on
from kproxy.config import Config
from kproxy.errors import refusal_in
from kproxy.opening import Opened
from kproxy.orders import Order
from kproxy.store.board import Place

__all__ = ["SIGNALS", "Message", "Unable", "Up", "be_worker", "by_line", "code"]

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What the parent is told by."""

log = logging.getLogger("kproxy.workers")


class Up(msgspec.Struct, frozen=True, tag="up"):
    """The worker answers requests."""

    started: Started


class Unable(msgspec.Struct, frozen=True, tag="unable"):
    """The worker cannot start."""

    why: str


Message = Up | Unable


def code(order: Order) -> bytes:
    """An order on the line."""
    return order.value[:1].encode()


_ORDERS = {code(order): order for order in Order}


class _Line:
    """Orders from the parent; its death is one, too."""

    def __init__(self, line: trio.socket.SocketType) -> None:
        self._line = line
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Order:
        if self._over:
            await trio.sleep_forever()
        try:
            data = await self._line.recv(1)
        except ConnectionError:
            data = b""
        if data:
            return _ORDERS[data]
        self._over = True
        log.error("the parent is gone: draining")
        return Order.DRAIN


@contextmanager
def by_line(line: socket.socket) -> Iterator[AsyncIterator[Order]]:
    """The orders that come by this line, which stays open: there may be more to say."""
    yield _Line(trio.socket.from_stdlib_socket(line))


def be_worker(
    config: Config,
    opened: Opened,
    place: Place,
    line: socket.socket,
    reread: Callable[[], Config] | None = None,
) -> int:
    """Serve as one of several, and return the status to exit with. `SIGNALS` are blocked so far.
    RENEW has the configuration read anew by `reread`."""
    signal.set_wakeup_fd(-1)  # the parent's
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in SIGNALS:  # not SIG_IGN, which the programs that a worker starts would inherit
        signal.signal(number, _ignore)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def say(message: Message) -> None:
        line.setblocking(True)  # the parent reads, and what it is told may be long
        line.sendall(msgspec.json.encode(message) + b"\n")
        line.setblocking(False)

    try:
        seat = Seat(partial(by_line, line), place, reread)
        trio.run(serve_on, config, opened, seat, lambda started: say(Up(started)))
    except Exception as error:
        refused = refusal_in(error)
        if refused is None:
            log.exception("worker %d (process %d) has failed", place.number + 1, os.getpid())
            return 1
        say(Unable(" ".join(str(refused).split())))
        return 2
    return 0


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
