"""Connections to one provider: a gate in front, a stack of idle ones behind.

Problem: a provider allows so many connections, handshakes are dear (1.4 ms of CPU), and racing
means cancelling. httpcore's pool loses slots for ever when a waiting request is cancelled, and its
cost per request grows with the number of connections.

Our way:

1. The gate is a semaphore that is held from `acquire` until the *body* has ended, not until the
   head has come. Nothing else queues; a wait at the gate has the caller's deadline. Idle
   connections count: a new one that would be one too many takes the place of the coldest.
2. Idle connections are a stack (the warmest first). Each is watched while idle: when the provider
   closes it, or sends bytes that nobody asked for (a poisoned answer to the next request), it is
   closed at that instant and is never handed out.
3. A body whose last bytes are still on the way when its answer is already complete (the chunk
   terminator behind `[DONE]`) is read to its end by callbacks, at most `LINGER` seconds and
   `LINGER_BYTES`; so the caller does not wait for it and the connection is not lost.

4. Where HTTP/2 is offered (`h2_trunks.py`), a lease is a stream of a connection that others share:
   the gate counts streams then, and what is kept is the connection, not here.

A lease is returned exactly once, by `finish` or `close`, both synchronous: a cancelled task
returns its slot in its own `finally`, without another await.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import trio

from kproxy.errors import Fault, FaultKind
from kproxy.transport.dial import Dial, Origin
from kproxy.transport.duplex import Broken, Carrier
from kproxy.transport.timers import Timers
from kproxy.wire.events import ProtocolError

__all__ = ["LINGER", "LINGER_BYTES", "Lease", "Pool", "PoolParams", "PoolStatistics", "Shared"]

LINGER = 1.0
"""Seconds to wait for the rest of a body after the answer in it was complete."""

CROWDED = 0.2
"""The share of free slots under which a pool is crowded."""

LINGER_BYTES = 65_536
"""Bytes to read of that rest; a terminator has 5, with trailers some hundred."""


@dataclass(frozen=True, slots=True)
class PoolParams:
    """Limits of one endpoint. `connect` and `idle` are seconds; `http2`: whether it is offered."""

    limit: int = 256
    connect: float = 5.0
    idle: float = 60.0
    http2: bool = False


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """Leases out, links idle, links lingering; and connections of HTTP/2, whose streams are leases.
    At rest, `leased` and `lingering` are 0."""

    leased: int
    idle: int
    lingering: int
    shared: int = 0


class Remainder(Protocol):
    """The part of a body reader that the pool needs to finish it (wire/chunked.py)."""

    @property
    def complete(self) -> bool: ...

    @property
    def excess(self) -> bytes: ...

    def feed(self, data: bytes, /) -> bytes: ...


class Shared(Protocol):
    """Connections of which many requests have a part each (`h2_trunks.py`)."""

    @property
    def queued(self) -> bool:
        """Whether somebody waits for a part."""
        ...

    def __len__(self) -> int: ...

    def wait(self, now: float) -> float:
        """How long the first who waits has waited, in seconds."""
        ...

    async def take(
        self, origin: Origin, deadline: float, *, fresh: bool = False
    ) -> tuple[Carrier, bool] | None:
        """A part, or a connection of one's own; and whether it may be stale. None: the provider
        shares none. Raises Fault."""
        ...

    def close(self) -> None:
        """Share nothing more; what is shared ends with those who have a part."""


class Lease:
    """One connection, held by one attempt. `reused` says that it carried a request before, `queued`
    how many seconds the attempt has waited at the gate."""

    __slots__ = ("_pool", "link", "queued", "reused")

    def __init__(self, pool: "Pool", link: Carrier, reused: bool, queued: float) -> None:
        self._pool: Pool | None = pool
        self.link = link
        self.reused = reused
        self.queued = queued

    def finish(self, body: Remainder, keep_alive: bool) -> None:
        """The answer is complete: keep the connection where its framing allows. Idempotent."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if not keep_alive or body.excess:
            pool.discard(self.link)
        elif body.complete:
            pool.keep(self.link)
        else:
            pool.linger(self.link, body)

    def close(self) -> None:
        """The answer is not complete, or not wanted: close the connection. Idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.discard(self.link)


class Pool:
    """Every connection to one origin. `close` ends the idle ones; leases end with their owners."""

    def __init__(
        self,
        origin: Origin,
        dial: Dial,
        timers: Timers,
        params: PoolParams,
        shared: Shared | None = None,
    ) -> None:
        self.origin = origin
        self._dial = dial
        self._shared = shared
        self._params = params
        self._gate = trio.Semaphore(params.limit)
        self._waiting: dict[object, float] = {}  # since when, the first one first
        self._idle: dict[Carrier, float] = {}  # until when it is kept, the coldest first
        self._lingering: dict[Carrier, float] = {}
        self._reaper = timers.timer(self._reap)
        self._closed = False

    @property
    def params(self) -> PoolParams:
        """Its limits."""
        return self._params

    @property
    def crowded(self) -> bool:
        """Whether the gate is nearly shut: no time for attempts that are not needed."""
        return self._gate.value <= CROWDED * self._params.limit

    @property
    def queued(self) -> bool:
        """Whether somebody waits at the gate, or for a stream."""
        return bool(self._waiting) or (self._shared is not None and self._shared.queued)

    def wait(self, now: float) -> float:
        """How long the first in the queue has waited, in seconds; 0: there is none."""
        waited = now - next(iter(self._waiting.values())) if self._waiting else 0.0
        return waited if self._shared is None else max(waited, self._shared.wait(now))

    async def acquire(self, deadline: float, *, fresh: bool = False) -> Lease:
        """A connection within the gate, idle or new (`fresh`: surely new).

        Raises Fault (pool, connect, TLS) at the latest at `deadline`, absolute. The caller returns
        the lease by `finish` or `close`.
        """
        queued = 0.0
        if self._gate.value:
            self._gate.acquire_nowait()
        else:
            queued = await self._queue(deadline)
        try:
            if not fresh and (link := self._reuse()) is not None:
                return Lease(self, link, reused=True, queued=queued)
            if len(self._idle) > self._gate.value:
                self._drop(next(iter(self._idle)))
            if self._shared is not None and (
                taken := await self._shared.take(self.origin, deadline, fresh=fresh)
            ):
                return Lease(self, *taken, queued=queued)
            limit = min(deadline, trio.current_time() + self._params.connect)
            link = await self._dial(self.origin, limit)
            return Lease(self, link, reused=False, queued=queued)
        except BaseException:
            self._gate.release()
            raise

    async def _queue(self, deadline: float) -> float:
        place = object()
        since = self._waiting[place] = trio.current_time()
        try:
            with trio.move_on_at(deadline) as scope:
                await self._gate.acquire()
        finally:
            del self._waiting[place]
        if scope.cancelled_caught:
            raise Fault(FaultKind.POOL_TIMEOUT, "no free connection in time")
        return trio.current_time() - since

    def _reuse(self) -> Carrier | None:
        while self._idle:
            link, until = self._idle.popitem()
            link.on_gone = None
            link.watch(None)
            if until > trio.current_time() and _silent(link):
                return link
            link.close()
        return None

    def keep(self, link: Carrier) -> None:
        """For Lease: back onto the stack, and the slot is free."""
        self._gate.release()
        self._park(link)

    def _park(self, link: Carrier) -> None:
        if self._closed or link.peer_ended:
            link.close()
            return
        until = self._idle[link] = trio.current_time() + self._params.idle
        link.deadline = math.inf
        link.watch(partial(self._listen, link))
        link.on_gone = partial(self._drop, link)
        self._reap_at(until)

    def _listen(self, link: Carrier) -> None:
        if not _silent(link):  # TLS speaks for itself at times: a ticket, a new key
            self._drop(link)

    def _drop(self, link: Carrier) -> None:
        self._idle.pop(link, None)
        link.close()

    def _reap_at(self, when: float) -> None:
        if when < self._reaper.when:
            self._reaper.move(when)

    def discard(self, link: Carrier) -> None:
        """For Lease: close it, and the slot is free."""
        self._gate.release()
        link.close()

    def linger(self, link: Carrier, body: Remainder) -> None:
        """For Lease: read the rest of `body` by callbacks; the slot is free when that is over."""
        size = 0

        def over(good: bool) -> None:
            if self._lingering.pop(link, None) is None:
                return
            link.on_gone = None
            link.watch(None)
            self._gate.release()
            if good:
                self._park(link)
            else:
                link.close()

        def more() -> None:
            nonlocal size
            try:
                while not body.complete and (data := link.receive_nowait()) is not None:
                    size += len(data)
                    if not data or size > LINGER_BYTES:
                        return over(False)
                    body.feed(data)
            except (Broken, ProtocolError):
                return over(False)
            if body.complete:
                over(not body.excess)
            return None

        until = trio.current_time() + LINGER
        self._lingering[link] = until
        link.watch(more)
        link.on_gone = lambda: over(False)
        self._reap_at(until)
        more()

    def _reap(self) -> None:
        now = trio.current_time()
        for link in [link for link, until in self._lingering.items() if until <= now]:
            _give_up(link)
        for link in [link for link, until in self._idle.items() if until <= now]:
            self._drop(link)
        due = [*self._lingering.values(), *self._idle.values()]
        if due:
            self._reap_at(min(due))

    def close(self) -> None:
        """Close what nobody holds; leases that are out end with their owners, and are not kept."""
        self._closed = True
        for link in tuple(self._lingering):
            _give_up(link)
        for link in tuple(self._idle):
            self._drop(link)
        if self._shared is not None:
            self._shared.close()

    def statistics(self) -> PoolStatistics:
        """Slots and links now."""
        return PoolStatistics(
            leased=self._params.limit - self._gate.value,
            idle=len(self._idle),
            lingering=len(self._lingering),
            shared=0 if self._shared is None else len(self._shared),
        )


def _silent(link: Carrier) -> bool:
    """Whether an idle connection is open and has nothing to say, as it must."""
    try:
        return link.receive_nowait() is None
    except Broken:
        return False


def _give_up(link: Carrier) -> None:
    """End a link that lingers, as if its provider had."""
    if link.on_gone is not None:
        link.on_gone()
