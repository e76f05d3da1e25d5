"""Accept connections: bound sockets in, one task per connected `Link` out.

A listener is one more descriptor in the hub: its edge accepts everything that waits, so that a
burst of callers costs one wake-up. Connections over the limit are closed at once, which tells a
load balancer more than a queue would; errors of a single accept never end the listener. What a
connection must pass before it is served is in `transport/entry.py`.

Where several processes accept from one socket each of them sees the edge, and whoever is quickest
would have them all. So who has more connections than another one leaves the next for a moment, and
takes what is still there then: the other may be stuck.
"""

import errno
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from kproxy.transport.entry import UNIX, Bound, Entry, TurnedAway, peer_of
from kproxy.transport.hub import LISTENING, Hub
from kproxy.transport.link import Link
from kproxy.wire.proxy import Peer

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

TURN = 0.002
"""Seconds that a connection is left for another process, which needs 0.1 ms to take it."""

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
    `entry`: seconds for a PROXY header and a TLS handshake; `handshakes`: under way at one time.
    """

    connections: int = 10_000
    per_address: int = 256
    send_buffer: int = 262_144
    entry: float = 5.0
    handshakes: int = 256


class Acceptor:
    """Listening sockets in the hub. Whoever runs `serve` owns every task; `stop` ends accepting.

    `on_empty` is called whenever the last open connection has ended.
    """

    def __init__(self, hub: Hub, listeners: Sequence[Bound], limits: AcceptLimits) -> None:
        self._hub = hub
        self._listeners = {one.socket.fileno(): one for one in listeners}
        self._open: Counter[str] = Counter()  # by address
        self._total = 0
        self._refused = 0
        self._turned_away = 0
        self._leaving: set[int] = set()  # listeners whose next connection is left to others
        self.on_empty: Callable[[], None] | None = None
        self.change(limits)

    def change(self, limits: AcceptLimits) -> None:
        """Other limits, for what is accepted from now on."""
        self._limits = limits
        self._entry = Entry(limits.entry, limits.handshakes)
        for one in self._listeners.values():  # inherited by what it accepts
            one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.send_buffer)

    async def serve(
        self,
        handler: Callable[[Link], Awaitable[None]],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run `handler` once for each connection until cancelled; the link is closed after it."""
        async with trio.open_nursery() as handlers:

            def accept(bound: Bound, _: int, left: bool = False) -> None:
                for _ in range(BURST):
                    if not left and not self._my_turn(bound, accept):
                        return
                    left = False
                    sock = self._accept(bound.socket)
                    if sock is None:
                        return
                    if (peer := self._admit(sock, bound)) is not None:
                        link = Link(self._hub, sock)
                        link.peer = peer
                        handlers.start_soon(self._handle, handler, link, sock, bound)
                self._hub.rearm(bound.socket.fileno(), LISTENING)

            for fd, bound in self._listeners.items():
                self._hub.register(fd, partial(accept, bound), LISTENING)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self.stop()

    def stop(self) -> None:
        """Accept nothing more and close the listening sockets; open connections go on."""
        while self._listeners:
            fd, bound = self._listeners.popitem()
            self._hub.unregister(fd)
            bound.socket.close()

    def _my_turn(self, bound: Bound, accept: Callable[[Bound, int, bool], None]) -> bool:
        """Whether to take the next one now; else `accept` is called for it in a moment."""
        if bound.turns is None or bound.turns.mine(self._total):
            return True
        fd = bound.socket.fileno()

        def again() -> None:
            self._leaving.discard(fd)
            if fd in self._listeners:
                accept(bound, 0, True)

        if fd not in self._leaving:
            self._leaving.add(fd)
            self._hub.timers.call_at(trio.current_time() + TURN, again)
        return False

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

    def _admit(self, sock: socket.socket, bound: Bound) -> Peer | None:
        """Whose connection it is, counted; None: over a limit, or gone already, and closed."""
        try:
            peer = peer_of(sock)
            if peer.host != UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            sock.close()
            return None
        # A proxy's connections are its callers', each counted when the header has said whose.
        host = "" if bound.proxies.include(peer.host) else peer.host
        if self._total < self._limits.connections and self._count(host):
            self._total += 1
            if bound.turns is not None:
                bound.turns.have(self._total)
            return peer
        self._refused += 1
        sock.close()
        return None

    def _count(self, host: str) -> bool:
        """One more of this address, if it may have it. A unix socket's peers have none."""
        if host in ("", UNIX):
            return True
        if self._open[host] >= self._limits.per_address:
            return False
        self._open[host] += 1
        return True

    def _again_later(self, listener: socket.socket) -> None:
        fd = listener.fileno()

        def rearm() -> None:
            if fd in self._listeners:
                self._hub.rearm(fd, LISTENING)

        self._hub.timers.call_at(trio.current_time() + PAUSE, rearm)

    async def _handle(
        self,
        handler: Callable[[Link], Awaitable[None]],
        link: Link,
        sock: socket.socket,
        bound: Bound,
    ) -> None:
        proxied = bound.proxies.include(link.peer.host)
        counted = "" if proxied else link.peer.host
        try:
            if proxied or bound.credentials is not None:
                link = await self._entry.enter(link, sock, bound)
            if proxied:
                if not self._count(link.peer.host):
                    self._refused += 1
                    return
                counted = link.peer.host
            await handler(link)
        except TurnedAway as reason:
            self._turned_away += 1
            level = logging.WARNING if reason.fault else logging.INFO
            log.log(level, "turned away %s at %s: %s", link.peer, bound.name, reason)
        except Exception:
            # The last resort: one connection's fault of ours must not end the others.
            log.exception("a connection failed")
        finally:
            link.close()
            self._leave(counted, bound)

    def _leave(self, host: str, bound: Bound) -> None:
        self._total -= 1
        if bound.turns is not None:
            bound.turns.have(self._total)
        if host in self._open:
            self._open[host] -= 1
            if not self._open[host]:
                del self._open[host]
        if not self._total and self.on_empty is not None:
            self.on_empty()

    def statistics(self) -> tuple[int, int]:
        """(connections open now, connections refused over the limit so far)."""
        return self._total, self._refused

    @property
    def turned_away(self) -> int:
        """Connections so far that ended in their PROXY header or TLS handshake."""
        return self._turned_away
