"""Every caller's connection of one process: accept, serve, drain.

Draining has an order: no new connections, idle ones close, busy ones end with their exchange, and
what is left at the deadline is cut. Cancelling `serve` cuts at once.

HTTP/2 is spoken where TLS agreed on it (ALPN), and on plain sockets with callers that begin with
its preface. Its first connection finds it imported or waits 12 ms for that, and so does the loop.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import trio

from kproxy.downstream.answering import FAREWELL, Handler
from kproxy.downstream.connection import Connection, ConnectionParams
from kproxy.downstream.floodlog import FloodLog
from kproxy.transport.accept import AcceptLimits, Acceptor
from kproxy.transport.entry import Bound
from kproxy.transport.hub import Hub
from kproxy.transport.link import Link
from kproxy.transport.secure import SecureLink

__all__ = ["Listener", "ListenerParams"]


class _Drains(Protocol):
    def drain(self) -> None: ...

    def cut(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ListenerParams:
    """`stall`: seconds that a caller may take no byte of a response."""

    connection: ConnectionParams
    accept: AcceptLimits
    stall: float = 60.0


class Listener:
    """The downstream side. Owns every connection's task while `serve` runs."""

    def __init__(
        self, hub: Hub, sockets: Sequence[Bound], handler: Handler, params: ListenerParams
    ) -> None:
        self._hub = hub
        self._acceptor = Acceptor(hub, sockets, params.accept)
        self._acceptor.on_empty = self._settle
        self._handler = handler
        self._params = params
        self._floods = FloodLog()
        self._open: set[_Drains] = set()
        self._quiet = trio.Event()
        self._over = trio.Event()
        self._draining = False

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until drained or cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._acceptor.serve, self._serve_link)
                task_status.started()
                await self._quiet.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._over.set()

    def change(self, params: ListenerParams) -> None:
        """Connections from now on are served by these; those that are open keep their own."""
        self._params = params
        self._acceptor.change(params.accept)

    async def _serve_link(self, link: Link) -> None:
        link.stall = self._params.stall
        received = b""
        if link.protocol != "h2":
            plain = not isinstance(link, SecureLink)
            params = self._params.connection
            first = Connection(link, self._handler, params, prior_knowledge=plain)
            with self._drainable(first):
                received = await first.serve()
            if not received:
                return
        await self._serve_h2(link, received)

    async def _serve_h2(self, link: Link, received: bytes) -> None:
        from kproxy.downstream.h2_connection import H2Connection  # with h2 it holds 2 MB

        params = self._params
        connection = H2Connection(
            link, self._handler, params.connection, self._hub.timers, params.stall
        )
        with self._drainable(connection):
            await connection.serve(received)
        if connection.fault is not None:
            self._floods.note(str(link.peer), connection.fault, trio.current_time())

    @contextmanager
    def _drainable(self, connection: _Drains) -> Iterator[None]:
        self._open.add(connection)
        if self._draining:
            connection.drain()  # accepted before the drain, begun after it
        try:
            yield
        finally:
            self._open.discard(connection)

    def drain(self) -> None:
        """Accept nothing more; `serve` returns when the last exchange has ended."""
        self._draining = True
        self._acceptor.stop()
        for connection in tuple(self._open):
            connection.drain()
        self._settle()

    def cut(self) -> None:
        """End what is still open, now. Whose answer is not whole is told so: `serve` returns when
        they have taken it, at the latest after `FAREWELL` seconds."""
        self._draining = True
        self._acceptor.stop()
        for connection in tuple(self._open):
            connection.cut()
        self._hub.timers.call_at(trio.current_time() + FAREWELL, self._quiet.set)
        self._settle()

    async def wait_over(self) -> None:
        """Until `serve` has ended after a drain or a cut."""
        await self._over.wait()

    def _settle(self) -> None:
        # The acceptor counts those too whose task has not begun, or is not through its handshake.
        if self._draining and not self._acceptor.statistics()[0]:
            self._quiet.set()

    def statistics(self) -> tuple[int, int]:
        """(connections open, connections refused over the limit so far)."""
        return self._acceptor.statistics()

    @property
    def turned_away(self) -> int:
        """Connections so far that never came to a request: PROXY header or TLS handshake."""
        return self._acceptor.turned_away
