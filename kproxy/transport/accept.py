"""Accept connections: listening sockets in, one task per connected `Link` out.

A listener is one more descriptor in the hub: its edge accepts everything that waits, so that a
burst of callers costs one wake-up. Connections over the limit are closed at once, which tells a
load balancer more than a queue would; errors of a single accept never end the listener.
"""

import errno
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from kproxy.transport.hub import LISTENING, Hub
from kproxy.transport.link import Link

__all__ = ["AcceptLimits", "Acceptor", "open_listeners"]

BACKLOG = 4096
"""Connections the kernel may hold ready; it caps the number by net.core.somaxconn itself."""

LEFT = frozenset({
    errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.ENETUNREACH,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENONET, errno.ENOPROTOOPT, errno.EOPNOTSUPP,
})  # fmt: skip
"""This one caller was gone before we came to it (accept(2)): on to the next."""

BURST = 64
"""Connections taken in one edge; open streams get their turn before the next ones."""

PAUSE = 0.1
"""Seconds without accepting after any other error, instead of spinning: the process or the machine
has run out of descriptors or memory."""

log = logging.getLogger("kproxy.accept")


def open_listeners(host: str, port: int) -> list[socket.socket]:
    """Listening TCP sockets on every address of `host`; port 0 takes one free port for all.

    Raises OSError where an address cannot be had; nothing stays open then.
    """
    listeners: list[socket.socket] = []
    try:
        infos = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, proto, _, address in dict.fromkeys(infos):
            listener = socket.socket(family, kind, proto)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if port == 0 and len(listeners) > 1:
                address = (address[0], listeners[0].getsockname()[1], *address[2:])
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


@dataclass(frozen=True, slots=True)
class AcceptLimits:
    """Connections open at one time, in all and from one address; bytes of one's send buffer.

    The send buffer is the kernel's; with it, what a caller who does not read can hold is bounded.
    """

    connections: int = 10_000
    per_address: int = 256
    send_buffer: int = 262_144


class Acceptor:
    """Listening sockets in the hub. Whoever runs `serve` owns every task; `stop` ends accepting."""

    def __init__(self, hub: Hub, listeners: Sequence[socket.socket], limits: AcceptLimits) -> None:
        self._hub = hub
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._limits = limits
        self._open: Counter[str] = Counter()  # by address
        self._total = 0
        self._refused = 0
        for listener in listeners:  # inherited by what it accepts
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.send_buffer)

    async def serve(
        self,
        handler: Callable[[Link], Awaitable[None]],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run `handler` once for each connection until cancelled; the link is closed after it."""
        async with trio.open_nursery() as handlers:

            def accept(listener: socket.socket, _: int) -> None:
                for _ in range(BURST):
                    sock = self._accept(listener)
                    if sock is None:
                        return
                    if (address := self._admit(sock)) is not None:
                        link = Link(self._hub, sock)
                        self._open[address] += 1
                        self._total += 1
                        handlers.start_soon(self._handle, handler, link, address)
                self._hub.rearm(listener.fileno(), LISTENING)

            for fd, listener in self._listeners.items():
                self._hub.register(fd, partial(accept, listener), LISTENING)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self.stop()

    def stop(self) -> None:
        """Accept nothing more and close the listening sockets; open connections go on."""
        while self._listeners:
            fd, listener = self._listeners.popitem()
            self._hub.unregister(fd)
            listener.close()

    def _accept(self, listener: socket.socket) -> socket.socket | None:
        """The next waiting connection; None when there is none, or none can be had now."""
        while True:
            try:
                return listener.accept()[0]
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in LEFT:
                    continue
                log.warning("cannot accept: %s", error.strerror)
                self._again_later(listener)
                return None

    def _admit(self, sock: socket.socket) -> str | None:
        """The caller's address, or None: over a limit, or gone already, and closed."""
        limits = self._limits
        try:
            address = str(sock.getpeername()[0])
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            sock.close()
            return None
        if self._total < limits.connections and self._open[address] < limits.per_address:
            return address
        self._refused += 1
        sock.close()
        return None

    def _again_later(self, listener: socket.socket) -> None:
        fd = listener.fileno()

        def rearm() -> None:
            if fd in self._listeners:
                self._hub.rearm(fd, LISTENING)

        self._hub.timers.call_at(trio.current_time() + PAUSE, rearm)

    async def _handle(
        self, handler: Callable[[Link], Awaitable[None]], link: Link, address: str
    ) -> None:
        try:
            await handler(link)
        except Exception:
            # The last resort: one connection's fault of ours must not end the others.
            log.exception("a connection failed")
        finally:
            link.close()
            self._total -= 1
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    def statistics(self) -> tuple[int, int]:
        """(connections open now, connections refused over the limit so far)."""
        return self._total, self._refused
