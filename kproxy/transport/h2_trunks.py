"""The HTTP/2 connections to one provider: a wish in, a call on one of them out.

Problem: requests that come together must share a connection that is not there yet; a connection
carries as many streams as its provider allows; and whether it is one of HTTP/2 at all is known only
when TLS has agreed on it.

Our way: who finds no room on a connection opens another one, one at a time, and the others wait for
that: for its room, or for its fault, which is theirs as well. Connecting is nobody's: who has less
time than it takes, or leaves, does not take it from the others. There are never more connections
than requests under way, which the pool's gate bounds: a new one is opened only beside those that
carry one. Where the provider allows no stream at all, or has not said yet how many, one waits in
order, within one's deadline. A provider that has chosen HTTP/1.1 is dialled by each for itself,
until it chooses otherwise.

The tasks of the connections belong to a `keeper.Keeper`, which outlives every attempt.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from kproxy.errors import Fault, FaultKind
from kproxy.transport.dial import Dial, Origin
from kproxy.transport.duplex import Carrier, Duplex
from kproxy.transport.h2_trunk import H2Trunk, TrunkParams
from kproxy.transport.keeper import Kept
from kproxy.transport.timers import Timers

__all__ = ["H2", "Trunks"]

log = logging.getLogger("kproxy.provider")

H2 = "h2"
"""HTTP/2 as ALPN names it (RFC 9113 section 3.2)."""

DEAD = 1.0
"""Seconds without an answer to a PING, after which calls go elsewhere; it may be slow after all."""

PROVEN = 1.0
"""Seconds since something was heard on a connection that is surely not a stale one."""

Keep = Callable[[Kept], Awaitable[None]]
"""Take a connection over and run it."""


class _Dialling:
    """A connection on its way, and its task. `fault`: why there is none; `link`: one of HTTP/1.1,
    for one of those who wait for it, `sharers`."""

    def __init__(self, work: "Callable[[_Dialling], Awaitable[None]]") -> None:
        self._work = work
        self.over = trio.Event()
        self.sharers = 0
        self.fault: Fault | None = None
        self.link: Duplex | None = None

    async def run(self) -> None:
        """See `Kept`."""
        await self._work(self)

    def drop(self) -> None:
        """Close what nobody is left for."""
        if self.link is not None and not self.sharers:
            self.link.close()
            self.link = None


class _Place:
    """In the queue. `called`: to look for room, but has not run since."""

    __slots__ = ("called", "fresh", "since")

    def __init__(self, since: float, *, fresh: bool) -> None:
        self.since = since
        self.fresh = fresh
        self.called = trio.Event()


class Trunks:
    """See the module. `dial` offers HTTP/2."""

    def __init__(
        self, dial: Dial, keep: Keep, timers: Timers, params: TrunkParams, connect: float = 5.0
    ) -> None:
        self._dial = dial
        self._keep = keep
        self._timers = timers
        self._params = params
        self._connect = connect
        self._trunks: list[H2Trunk] = []
        self._dialling: _Dialling | None = None
        self._alone = False  # the last connection chose HTTP/1.1
        self._waiting: dict[_Place, None] = {}  # the first one first
        self._closed = False
        self.refused = False  # the provider has asked for HTTP/1.1

    def __len__(self) -> int:
        """Connections that are open."""
        return len(self._trunks)

    def __repr__(self) -> str:
        return f"<Trunks {self._trunks}>"

    @property
    def queued(self) -> bool:
        """Whether somebody waits for a stream."""
        return bool(self._waiting)

    def wait(self, now: float) -> float:
        """How long the first who waits for room has waited, in seconds; 0: nobody does."""
        return now - next(iter(self._waiting)).since if self._waiting else 0.0

    async def take(
        self, origin: Origin, deadline: float, *, fresh: bool = False
    ) -> tuple[Carrier, bool] | None:
        """A call, or a connection of HTTP/1.1; and whether it may be stale. Its caller closes it.

        `fresh`: on nothing that may be stale. None: the provider wants HTTP/1.1. Raises Fault.
        """
        queued = False
        while not self.refused:
            trunk = None if self._waiting and not queued else self._roomy(fresh=fresh)
            if trunk is not None:
                call = trunk.call()
                if self._closed:
                    trunk.retire()
                return call, call.reused
            link = None
            if self._alone:
                link = await self._open(origin, deadline)
            elif self._dialling is not None:
                link = await self._share(self._dialling, deadline)
            elif self._wants_another(fresh=fresh):
                link = await self._open_for_all(origin, deadline)
            else:
                queued = True
                await self._queue(deadline, fresh=fresh)
            if link is not None:
                return link, False
        return None

    def _roomy(self, *, fresh: bool) -> H2Trunk | None:
        since = trio.current_time() - PROVEN if fresh else -math.inf
        fit = (one for one in self._trunks if one.room and one.heard >= since and not _dead(one))
        return min(fit, key=lambda one: one.doubt, default=None)

    def _wants_another(self, *, fresh: bool) -> bool:
        """Whether another connection helps: each that is open carries something, or may be dead.
        One that carries nothing and has no room belongs to a provider that is not ready."""
        return all(
            one.greeted and (one.calls or (fresh and one.room) or _dead(one))
            for one in self._trunks
            if one.is_open
        )

    async def _open_for_all(self, origin: Origin, deadline: float) -> Duplex | None:
        """Begin with a connection that is for all, and wait for it, see `_share`."""
        mine = self._dialling = _Dialling(partial(self._connect_for_all, origin))
        mine.sharers += 1
        kept = False
        try:
            with trio.move_on_at(min(deadline, trio.current_time() + self._connect)):
                await self._keep(mine)
                kept = True
            if not kept:
                raise Fault(FaultKind.CONNECT_TIMEOUT, "no connection in time")
            return await self._share(mine, deadline)
        finally:
            mine.sharers -= 1
            if kept:
                mine.drop()
            else:  # who shares it tries for himself
                self._finish(mine)

    async def _connect_for_all(self, origin: Origin, mine: _Dialling) -> None:
        """The life of a connection, in a task of its own."""
        trunk = None
        mine.fault = Fault(FaultKind.CONNECT, "nobody connects any more")
        try:
            link = await self._dial(origin, trio.current_time() + self._connect)
            mine.fault = None
            self._alone = link.protocol != H2
            if self._alone:
                mine.link = link
            else:
                trunk = H2Trunk(link, self._params, self._timers, self.changed)
                self._trunks.append(trunk)
        except Fault as fault:
            mine.fault = Fault(fault.kind, fault.detail)  # without this frame, which holds it
        except Exception:
            # The last resort: the tasks of other connections are beside this one.
            log.exception("connecting to a provider failed")
        finally:
            self._finish(mine)
        if trunk is not None:
            if self._closed and not (mine.sharers or self._waiting):
                trunk.retire()
            await trunk.run()

    def _finish(self, dialling: _Dialling) -> None:
        self._dialling = None
        dialling.over.set()
        dialling.drop()
        self.changed()

    async def _share(self, dialling: _Dialling, deadline: float) -> Duplex | None:
        """Until the connection is there for all; or of HTTP/1.1, for the first. Raises its Fault,
        and one of its own at the deadline."""
        dialling.sharers += 1
        try:
            with trio.move_on_at(deadline) as scope:
                await dialling.over.wait()
            if scope.cancelled_caught:
                raise Fault(FaultKind.CONNECT_TIMEOUT, "no connection in time")
            if dialling.fault is not None:
                raise Fault(dialling.fault.kind, dialling.fault.detail)
            link, dialling.link = dialling.link, None
            return link
        finally:
            dialling.sharers -= 1
            dialling.drop()

    async def _open(self, origin: Origin, deadline: float) -> Duplex | None:
        """A new connection of HTTP/1.1; None: it was one of HTTP/2, and is there for all."""
        limit = min(deadline, trio.current_time() + self._connect)
        link = await self._dial(origin, limit)
        self._alone = link.protocol != H2
        if self._alone:
            return link
        trunk = H2Trunk(link, self._params, self._timers, self.changed)
        try:
            with trio.move_on_at(limit) as scope:
                await self._keep(trunk)
        except BaseException:
            link.close()
            raise
        if scope.cancelled_caught:
            link.close()
            raise Fault(FaultKind.CONNECT_TIMEOUT, "no connection in time")
        self._trunks.append(trunk)
        return None

    async def _queue(self, deadline: float, *, fresh: bool) -> None:
        """Until there may be room. Raises Fault at the deadline."""
        place = _Place(trio.current_time(), fresh=fresh)
        self._waiting[place] = None
        woken = False
        try:
            with trio.move_on_at(deadline):
                await place.called.wait()
                woken = True
        finally:
            del self._waiting[place]
            if not woken:
                self.changed()  # it may have been meant for this one
        if not woken:
            raise Fault(FaultKind.POOL_TIMEOUT, "no free stream in time")

    def changed(self) -> None:
        """There may be room, or a connection is no more."""
        self.refused = self.refused or any(one.outdated for one in self._trunks)
        self._trunks = [one for one in self._trunks if not one.has_ended]
        if self._waiting:
            # As many as find room, and no more: who wakes for nothing has lost its place.
            room = sum(one.room for one in self._trunks if not _dead(one))
            if self.refused or self._alone:  # each dials for himself
                room = len(self._waiting)
            elif not room and self._may_open(fresh=False):
                room = 1
            self._call(room - sum(place.called.is_set() for place in self._waiting))

    def _call(self, number: int) -> None:
        """Those who waited longest. Who needs a fresh one is called where it finds one."""
        alone = self.refused or self._alone
        fresh = alone or self._may_open(fresh=True) or self._roomy(fresh=True) is not None
        for place in self._waiting:
            if number <= 0:
                return
            if not place.called.is_set() and (fresh or not place.fresh):
                place.called.set()
                number -= 1

    def _may_open(self, *, fresh: bool) -> bool:
        return self._dialling is None and self._wants_another(fresh=fresh)

    def close(self) -> None:
        """No further calls; each connection ends with its last one."""
        self._closed = True
        for one in tuple(self._trunks):
            one.retire()


def _dead(one: H2Trunk) -> bool:
    """Whether it may well be."""
    return one.doubt >= DEAD
