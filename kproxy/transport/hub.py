"""One trio task that watches every relaying socket: readiness in, callbacks out.

Problem: a proxy's work per streamed chunk is one receive, one look, one send: some 15 us. Waiting
for it through `trio.lowlevel.wait_readable` adds 18 us for arming and disarming the descriptor and
20 us for parking and rescheduling the task; with a thousand streams the waiting costs more than the
work.

Our way: sockets are registered once, for their lifetime, in an epoll set of our own, edge
triggered; that set is itself a descriptor, and one task waits for it through trio. One wake-up
then serves every socket that became ready, by plain function calls. Tasks remain the owners of
their sockets: a task parks in `Link.receive`, or in `Link.pump` while callbacks carry the chunks,
and is cancelled like any other.

The price is the edge: readiness is reported once. Whoever registers must try the system call first
and wait only after it said "would block"; `transport/link.py` is the only place that does.

Two more traps. A callback may close a socket, and the kernel hands its number to a socket that is
opened in the same batch: numbers released during a batch are skipped until its end. And a callback
that raises is our own fault: it is logged and must not end everyone else's streams.
"""

import logging
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import trio

from kproxy.transport.timers import Timers

__all__ = ["EDGE", "GONE", "LISTENING", "READABLE", "WRITABLE", "Hub", "HubStatistics"]

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
"""The peer ended its side or the connection broke; seen even while bytes lie unread."""

EDGE = READABLE | WRITABLE | select.EPOLLRDHUP | select.EPOLLET

LISTENING = READABLE | select.EPOLLET

BATCH = 512
"""Sockets of one look."""

ROUNDS = 4
"""Batches in one wake-up. What became ready meanwhile is served without waiting through trio again,
which costs twenty times the empty look that ends the rounds."""

log = logging.getLogger("kproxy.hub")


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """What the hub holds. At rest: no sockets but listeners."""

    sockets: int
    timers: int


class Hub:
    """The nested epoll set and the timers beside it. One per process; `run` owns both."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.now = 0.0  # trio's clock when the present batch began: exact enough for a gap
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._released: set[int] = set()

    def register(self, fd: int, callback: Callable[[int], None], events: int = EDGE) -> None:
        """Call `callback(mask)` on every edge of `fd` until `unregister`."""
        self._epoll.register(fd, events)
        self._callbacks[fd] = callback

    def rearm(self, fd: int, events: int = EDGE) -> None:
        """Report the present readiness of `fd` once more, as if it were new."""
        self._epoll.modify(fd, events)

    def unregister(self, fd: int) -> None:
        """Forget `fd`. Must come before the descriptor is closed."""
        del self._callbacks[fd]
        self._epoll.unregister(fd)
        self._released.add(fd)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve sockets and timers until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.timers.run)
            nursery.start_soon(self._serve)
            task_status.started()

    async def _serve(self) -> NoReturn:
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            for _ in range(ROUNDS):
                if not self._serve_batch():
                    break

    def _serve_batch(self) -> bool:
        """Call back for everything that is ready now; False when nothing was."""
        ready = self._epoll.poll(0, BATCH)
        self._released.clear()
        if not ready:
            return False
        self.now = trio.current_time()
        for fd, mask in ready:
            if fd in self._released:
                continue
            try:
                self._callbacks[fd](mask)
            except Exception:
                log.exception("a socket's callback failed")
        return True

    def close(self) -> None:
        """Release the epoll descriptor. Sockets must have been unregistered."""
        self._epoll.close()

    def statistics(self) -> HubStatistics:
        """How many sockets and timer entries are held now."""
        return HubStatistics(sockets=len(self._callbacks), timers=self.timers.statistics())
