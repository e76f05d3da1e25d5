"""One HTTP/2 connection to a provider, that many attempts share: calls in, frames out, and back.

Problem: attempts come and go on a connection that is none's. One that is cancelled must leave the
others alone; one whose caller reads nothing must hold up its own stream; and when the connection
dies, silently at that, no attempt may be sent into it for ever.

The obvious way is to let whoever reads first read for all, under a lock, as httpcore does: a reader
that is cancelled then has to leave everything as it was. Our way:

1. *The connection has an owner*, the task in `run`: it receives, lets the codec judge, and tells
   the calls, without waiting for any. It stops reading while the provider does not take our frames,
   so that frames that want answers cannot pile up.
2. *Calls write by themselves*, without waiting, as much as the windows and `BACKLOG` leave; what
   the kernel does not take at once is kept (`h2_outlet.py`). Who found no room is told when there
   is some, those who waited longest first.
3. *Windows are opened as bytes are used.* The connection's is larger than those of all streams
   together, so that a slow stream never holds up another.
4. *A silent provider is asked by PING*: with a call that begins after a silence, and when one is
   given up in it. It is asked seldom, and no answer within `proof` seconds is the end
   (`h2_proof.py`). Meanwhile others go on; calls to come are better off elsewhere.
5. *GOAWAY closes it for new calls.* Those that the provider did not look at are told so.

It keeps no call waiting for a stream: who may open one is decided before (`h2_trunks.py`).
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from kproxy.errors import FaultKind
from kproxy.transport.duplex import Broken, Duplex, Expired
from kproxy.transport.h2_call import H2Call, Loss, loss_by
from kproxy.transport.h2_outlet import Outlet
from kproxy.transport.h2_proof import Proof
from kproxy.transport.timers import Timers
from kproxy.wire.events import Headers
from kproxy.wire.h2_client import LAST_STREAM, H2Client
from kproxy.wire.h2_events import (
    Answered,
    Body,
    ClientEvent,
    Cut,
    Faulty,
    H2Limits,
    LeftAt,
    Pong,
    Room,
)
from kproxy.wire.h2_frames import Code
from kproxy.wire.limits import H1Limits

__all__ = ["H2Trunk", "TrunkParams"]

BACKLOG = 65_536
"""Bytes that wait for the link before calls have to wait: some frames of each of a few."""

log = logging.getLogger("kproxy.provider")


@dataclass(frozen=True, slots=True)
class TrunkParams:
    """`idle`: seconds without a call until it is closed. `proof`: seconds that a provider may take
    to say its SETTINGS, and to answer a PING.

    A window is what may lie here unread for one slow caller. That of the connection is never used
    up: 250 times a window are 64 MiB.
    """

    h1: H1Limits
    idle: float = 60.0
    proof: float = 5.0
    limits: H2Limits = field(
        default_factory=lambda: H2Limits(streams=250, window=262_144, connection_window=2**30)
    )


class H2Trunk:
    """See the module. `run` once, in a task of its own; `changed` is called when there may be room
    for another call, or never will be again."""

    def __init__(
        self, link: Duplex, params: TrunkParams, timers: Timers, changed: Callable[[], None]
    ) -> None:
        self.timers = timers
        self.now = self.heard = self._quiet_since = trio.current_time()
        self.heard_times = 0
        self.outdated = False  # the provider wants HTTP/1.1
        self._link = link
        self._params = params
        self._changed = changed
        self._codec = H2Client(params.limits, params.h1, self.now)
        self._calls: dict[H2Call, None] = {}  # that were not closed
        self._streams: dict[int, H2Call] = {}  # those of them that were begun
        self._waiting: dict[H2Call, None] = {}  # for room, who came first is first
        self._open = True  # for new calls
        self._left = False  # the provider takes no new stream
        self._ended = False
        self._served = 0
        self._outlet = Outlet(link, self._eased)
        self._full = False  # too much waits for the link to let new calls say anything
        self._reading = trio.CancelScope()
        self._loss = Loss("the connection was closed", FaultKind.RESET)
        self._clock = timers.timer(self._ring)
        self._proof = Proof(params.proof, self.now)

    def __repr__(self) -> str:
        state = "ended" if self._ended else "open" if self._open else "leaving"
        return f"<H2Trunk {state}, {len(self._calls)} calls, {self._served} served>"

    @property
    def is_open(self) -> bool:
        """Whether it is for new calls, now or when there is room."""
        return self._open

    @property
    def has_ended(self) -> bool:
        """Whether the connection is closed."""
        return self._ended

    @property
    def greeted(self) -> bool:
        """Whether the provider has said how many calls it takes; one until then."""
        return self._codec.greeted

    @property
    def doubt(self) -> float:
        """For how many seconds a PING has had no answer."""
        return self._proof.doubt(trio.current_time())

    @property
    def calls(self) -> int:
        """Calls that were not closed."""
        return len(self._calls)

    @property
    def room(self) -> int:
        """Further calls that may be made now."""
        if self._full or not self._open:
            return 0
        return max(0, self._codec.limit - len(self._calls))

    def call(self) -> H2Call:
        """A call; there must be room. Its owner closes it."""
        call = H2Call(self, reused=self._served > 0 and not self._calls)
        self._calls[call] = None
        self._served += 1
        self._set_clock()
        return call

    def retire(self) -> None:
        """No new calls; end with the last one."""
        self._open = False
        self._end_if_idle()

    async def run(self) -> None:
        """Own the connection until it ends, and close it."""
        try:
            async with trio.open_nursery() as both:
                both.start_soon(self._write)
                await self._read()
                both.cancel_scope.cancel()
        except Exception:
            # The last resort: one connection's fault of ours must not end the others.
            log.exception("a connection to a provider failed")
        finally:
            self._end()

    async def _read(self) -> None:
        with self._reading:
            try:
                self._flush()
                self._set_clock()
                while data := await self._link.receive():
                    self._take(data)
                    await self._outlet.ease(2 * BACKLOG)
            except (Broken, Expired) as error:
                self._fail(Loss(f"the connection broke: {error}", FaultKind.RESET))
            else:
                self._fail(Loss("the provider closed the connection"))

    def _fail(self, loss: Loss) -> None:
        """The connection is over; only the first reason counts."""
        if self._reading.cancel_called:
            return
        self._loss = loss
        self._open = False
        self._reading.cancel()

    def _end(self) -> None:
        self._ended, self._open = True, False
        self._clock.cancel()
        if not self._link.torn:
            self._codec.go_away()
            self._flush()
        self._link.end(cut=bool(self._calls or self._outlet))
        self._link.close()
        self._lose_all()
        self._changed()

    def _lose_all(self) -> None:
        for call in tuple(self._calls):
            try:
                self._lose(call)
            except Exception:
                # As in `run`: one call's fault of ours must not be in the way of the others' end.
                log.exception("a call could not be told of its end")

    def _lose(self, call: H2Call) -> None:
        """Where it was never begun, nobody has looked at it."""
        begun = call.number > 0
        untouched = Loss(self._loss.reason, FaultKind.CONNECT, untouched=True)
        call.lose(self._loss if begun else untouched)

    # --- received

    def _take(self, data: bytes) -> None:
        self.now = self.heard = trio.current_time()
        self.heard_times += 1
        greeted = self._codec.greeted
        events, error = self._codec.receive_data(data, self.now)
        if greeted is not self._codec.greeted:
            self._proven()
        room = False
        for event in events:
            room = self._note(event) or room
        if error is not None:
            log.info("ended an HTTP/2 connection to a provider: %s", error)
            self._fail(Loss(f"no HTTP/2: {error}", FaultKind.BAD_FRAMING))
        elif room:
            self._offer_room()
            self._changed()
        self._flush()

    def _note(self, event: ClientEvent) -> bool:
        """What happened to a call, or to all; whether there may be room for more."""
        match event:
            case Pong():
                self._proven()
            case LeftAt():
                self._leave(event)
            case Room():
                return True
            case _:
                self._tell(event)
        return False

    def _tell(self, event: Answered | Body | Cut | Faulty) -> None:
        call = self._streams.get(event.stream)
        if call is None:
            if isinstance(event, Body):  # its owner has closed it by an event before this one
                self._codec.acknowledge(event.stream, event.size)
            return
        match event:
            case Answered():
                call.answer(event.status, event.headers, ended=event.ended)
            case Body():
                call.receive_piece(event.data, event.size, ended=event.ended)
            case Faulty():
                call.lose(Loss(f"no HTTP/2: {event.reason}", FaultKind.BAD_FRAMING))
            case Cut():
                self._note_code(event.code)
                call.lose(loss_by(event.code))

    def _note_code(self, code: int) -> None:
        if code == Code.HTTP_1_1_REQUIRED:
            self.outdated = True
            self.retire()

    def _leave(self, event: LeftAt) -> None:
        self._left, self._open = True, False
        self._note_code(event.code)
        for number, call in tuple(self._streams.items()):
            if number > event.last:
                call.lose(Loss("the provider was leaving", FaultKind.CONNECT, untouched=True))
        self._end_if_idle()
        self._changed()

    # --- sent

    def begin(self, call: H2Call, fields: Headers, *, last: bool) -> None:
        """See `Trunk.begin`."""
        if self._ended or self._reading.cancel_called:
            self._lose(call)
        elif self._left or self._codec.streams >= self._codec.limit:
            call.lose(Loss("there is no stream any more", FaultKind.CONNECT, untouched=True))
        else:
            if trio.current_time() - self.heard > self._proof.seconds:
                self._ask()
            call.number = self._codec.open(fields, last=last)
            self._streams[call.number] = call
            if call.number >= LAST_STREAM - 2:
                self.retire()
            self._flush()

    def offer(self, call: H2Call, data: memoryview) -> int:
        """See `Trunk.offer`."""
        sent = 0
        while sent < len(data) and not self._reading.cancel_called:
            room = min(self._codec.window(call.number), BACKLOG - len(self._outlet))
            if room <= 0:
                self._waiting[call] = None
                break
            piece = data[sent : sent + room]
            sent += len(piece)
            self._codec.send_data(call.number, piece, last=sent == len(data))
            self._flush()
        return sent

    def _offer_room(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            call.has_room()

    def used(self, call: H2Call, size: int) -> None:
        """See `Trunk.used`."""
        if size and not self._ended:
            self._codec.acknowledge(call.number, size)
            self._flush()

    def closed(self, call: H2Call) -> None:
        """See `Trunk.closed`."""
        self._calls.pop(call)
        self._waiting.pop(call, None)
        if self._streams.pop(call.number, None) is not None and not self._ended:
            self._codec.close(call.number)
            silent = trio.current_time() - self.heard >= self._proof.seconds
            if not call.whole and (silent or call.began > self.heard):
                self._ask()
            self._flush()
        if not self._calls:
            self._quiet_since = trio.current_time()
        self._set_clock()
        self._end_if_idle()
        self._changed()

    def _flush(self) -> None:
        """Hand over what there is; what the link does not take waits."""
        try:
            self._outlet.send(self._codec.take_output())
        except Broken as error:
            self._fail(Loss(f"the connection broke: {error}", FaultKind.RESET))
        self._measure()

    async def _write(self) -> None:
        try:
            await self._outlet.run()
        except (Broken, Expired) as error:
            self._fail(Loss(f"the connection broke: {error}", FaultKind.RESET))

    def _eased(self) -> None:
        """Some of what waited was taken."""
        self._offer_room()
        self._measure()

    def _measure(self) -> None:
        full, self._full = self._full, len(self._outlet) > BACKLOG
        if full and not self._full:
            self._changed()

    # --- time

    def _ask(self) -> None:
        if self._proof.ask(trio.current_time()):
            self._codec.ping()
            self._set_clock()

    def _proven(self) -> None:
        self._proof.given()
        self._set_clock()
        self._changed()

    def _set_clock(self) -> None:
        if self._ended:
            return
        idle = math.inf if self._calls else self._quiet_since + self._params.idle
        self._clock.move(min(idle, self._proof.due))

    def _ring(self) -> None:
        now = trio.current_time()
        if self._proof.due <= now:
            self._fail(Loss("the provider does not answer", FaultKind.RESET))
        elif not self._calls and self._quiet_since + self._params.idle <= now:
            self._fail(Loss("closed while idle"))

    def _end_if_idle(self) -> None:
        if not (self._calls or self._open):
            self._fail(Loss("closed while idle"))
