"""One caller's HTTP/2 connection: many streams, each a task, over one link.

Problem: every stream may send and be sent to at its own pace, over a link that takes bytes in one
order. A stream that nobody reads must hold up its provider and nobody else; a peer that reads
nothing must hold up everything, without a byte being kept for it; and a peer that takes its stream
back, or leaves, must end the provider's work at that instant.

The obvious way, a queue per stream and a task that empties them, needs a bound and a wait for each
queue, and a chunk has then been through two tasks more. Our way:

1. *The reader is the connection*: it receives, lets the codec judge, and starts a task for each
   request. It never waits for a stream. It stops reading while the peer does not take our answers,
   so that frames that want answers cannot pile up.
2. *Streams write by themselves*, without waiting, as much as the windows and `BACKLOG` leave; what
   the kernel does not take at once is kept in one buffer, and one task waits for the link with it.
   Who found no room is told when there is some, those who waited longest first.
3. *A relay from a provider's socket ends in a stream* like in a link, without a task switch.
4. *Timers are the connection's*: a peer may not be silent without a stream, nor within a frame, nor
   begin without its greeting. What times a stream is the stream's.

A drain would by the book say GOAWAY at once (RFC 9113 section 6.8). But clients by h2 take the
connection and all its streams for dead then. So it is said when no stream is open, and on a
connection that is never quiet when one is opened after `GRACE`. `half_close` is for HTTP/1.1: a
peer that cannot send cannot open a window either.
"""

import logging
import math
from contextlib import suppress

import trio

from kproxy.downstream.answering import CUT, FAREWELL, TAKEN, Handler, carry_out, refuse, tell_cut
from kproxy.downstream.connection import ConnectionParams
from kproxy.downstream.exchange import ExchangeState
from kproxy.downstream.h2_exchange import H2Exchange
from kproxy.downstream.h2_stream import H2Stream
from kproxy.downstream.linger import Patience, linger
from kproxy.transport.duplex import Broken, Duplex, Expired
from kproxy.transport.timers import Timers
from kproxy.wire.events import Headers, ProtocolError
from kproxy.wire.h2 import H2Server
from kproxy.wire.h2_events import Body, Event, Leaving, Opened, Refused, Reset
from kproxy.wire.h2_frames import Code, H2Error

__all__ = ["BACKLOG", "H2Connection"]

BACKLOG = 65_536
"""Bytes that wait for the link before streams have to wait: some frames of each of a few."""

PIECE = 16_384
"""Bytes sent at once while others wait: who takes so many in `stall` seconds is slow, not stuck."""

STEP = 4_096
"""Bytes judged before other sockets get their turn: some hundred frames of the smallest kind."""

GRACE = 30.0
"""Seconds of a drain in which further streams are welcome on a connection that has one open."""

PATIENCE = Patience(gap=0.5, total=1.0)
"""For a peer's last bytes: what it did not finish it may ask for again."""

log = logging.getLogger("kproxy.connection")


class H2Connection:
    """See the module. `serve` once; `stall`: seconds that a peer may take no byte of a stream."""

    def __init__(
        self,
        link: Duplex,
        handler: Handler,
        params: ConnectionParams,
        timers: Timers,
        stall: float = 60.0,
    ) -> None:
        self.timers = timers
        self.peer = link.peer
        self._link = link
        self._handler = handler
        self._params = params
        self._stall = stall
        self._quiet_since = self._owed_since = now = trio.current_time()
        self._codec = H2Server(params.h2, params.h1, now)
        self._streams: dict[int, H2Stream] = {}
        self._scopes: dict[int, trio.CancelScope] = {}  # of the handlers
        self._waiting: dict[int, H2Stream] = {}  # for room, who came first is first
        self._fed: dict[int, None] = {}  # who found room since the last look, in order
        self._backlog = bytearray()
        self._writing = False  # the writer has bytes of its own
        self._work = trio.Event()  # for the writer
        self._eased = trio.Event()  # for the reader: the backlog is small again
        self._reading = trio.CancelScope()
        self._clock = timers.timer(self._ring)
        self._owed: int | None = 0  # what the peer has not finished, see `H2Server.unfinished`
        self._served = 0
        self._grace_ends = math.inf  # a drain has begun
        self._last = self._cutting = False  # there will be no further stream
        self._broken = False  # the link takes nothing more
        self.fault: H2Error | None = None  # of the peer's, by which it has ended

    def __repr__(self) -> str:
        return f"<H2Connection {len(self._streams)} streams, {self._served} served>"

    async def serve(self, received: bytes = b"") -> None:
        """Answer requests until the connection ends; the caller of this closes the link.

        `received`: what has been read of the link already.
        """
        self._link.on_gone = self._leave
        over = False
        try:
            async with trio.open_nursery() as writers:
                writers.start_soon(self._write)
                async with trio.open_nursery() as streams:
                    await self._read(streams, received)
                    self._lose_all("the connection is over")
                await self._end()
                over = True
                writers.cancel_scope.cancel()
        finally:
            self._clock.cancel()
            self._link.on_gone = None
            if not over and not self._broken:  # cut: say so, as far as that needs no waiting
                self._codec.go_away()
                self._flush()

    def drain(self) -> None:
        """Serve the streams that are open, and for a while those that are opened beside them."""
        if self._grace_ends == math.inf:
            self._grace_ends = trio.current_time() + GRACE
            self._end_if_idle()

    def cut(self) -> None:
        """End now; whose answer is not whole is told so, within `FAREWELL` seconds."""
        self._cutting = self._last = True
        for scope in self._scopes.values():
            scope.cancel()
        self._set_clock()

    async def _read(self, streams: trio.Nursery, received: bytes) -> None:
        with self._reading:
            try:
                self._flush()
                self._set_clock()
                data = received
                while data or (data := await self._link.receive()):
                    for start in range(0, len(data), STEP):
                        self._take(data[start : start + STEP], streams)
                        await trio.lowlevel.checkpoint()
                    data = b""
                    await self._ease(2 * BACKLOG)  # bodies alone come to one
            except H2Error as error:
                self.fault = error
                self._flush()
                return
            except (Broken, Expired):
                pass
            self._leave()

    def _take(self, data: bytes, streams: trio.Nursery) -> None:
        now = trio.current_time()
        room = opened = False
        for event in self._codec.receive_data(data, now):
            match event:
                case Opened() | Refused():
                    stream = H2Stream(self, event.stream, self._stall)
                    self._streams[event.stream] = stream
                    opened = True
                    if isinstance(event, Refused):
                        streams.start_soon(self._refuse, stream, event.error)
                    else:
                        if event.ended:
                            stream.receive_piece(b"", 0, ended=True)
                        streams.start_soon(self._answer, stream, event)
                case _:
                    room = self._note(event) or room
        if opened and now >= self._grace_ends and not self._last:
            self._last = True
            self._codec.go_away()
        if room:
            self._offer_room()
        if self._codec.unfinished != self._owed:
            self._owed, self._owed_since = self._codec.unfinished, now
        self._flush()
        self._set_clock()

    def _note(self, event: Event) -> bool:
        """What happened to a stream, or to all; whether there may be room for more."""
        match event:
            case Body():
                stream = self._streams.get(event.stream)
                if stream is None:
                    self._codec.acknowledge(event.stream, event.size)
                else:
                    stream.receive_piece(event.data, event.size, ended=event.ended)
            case Reset():
                if (stream := self._streams.get(event.stream)) is not None:
                    stream.lose("reset by the peer")
            case Leaving():
                self._last = True
                self._end_if_idle()
            case _:
                return True
        return False

    def _flush(self) -> None:
        """Hand over what there is; what the link does not take waits."""
        if self._broken:
            return
        self._backlog += self._codec.take_output()
        if self._writing or not self._backlog:
            return
        try:
            sent = self._link.send_nowait(bytes(self._backlog))
        except Broken:
            self._leave()
            return
        del self._backlog[:sent]
        if self._backlog:
            self._work.set()

    async def _write(self) -> None:
        """Wait for the link with what it did not take."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            self._writing = True
            try:
                while self._backlog:
                    piece = bytes(self._backlog[:PIECE])
                    await self._link.send_all(piece)
                    del self._backlog[: len(piece)]  # more may have come behind it
                    self._eased.set()
                    self._offer_room()
            except (Broken, Expired):
                self._leave()
                return
            finally:
                self._writing = False

    async def _ease(self, size: int) -> None:
        """Until no more than `size` bytes wait for the link."""
        while len(self._backlog) > size:
            self._eased = trio.Event()
            await self._eased.wait()

    def _leave(self) -> None:
        """The peer is gone, or takes nothing."""
        self._broken = True
        self._backlog.clear()
        self._reading.cancel()
        self._eased.set()
        self._lose_all("the connection is gone")

    def _lose_all(self, reason: str) -> None:
        for stream in tuple(self._streams.values()):
            stream.lose(reason)

    async def _end(self) -> None:
        """The last bytes, and time for the peer to read them."""
        self._flush()
        await self._ease(0)
        if not self._broken:
            with suppress(Broken, Expired):
                await linger(self._link, patience=PATIENCE)

    def _set_clock(self) -> None:
        due = math.inf if self._owed is None else self._owed_since + self._params.head
        if not self._streams:
            due = min(due, self._quiet_until)
        self._clock.move(due)

    @property
    def _quiet_until(self) -> float:
        return self._quiet_since + (TAKEN if self._cutting else self._params.idle)

    def _ring(self) -> None:
        now = trio.current_time()
        if self._owed is not None and self._owed_since + self._params.head <= now:
            self._say_goodbye(Code.PROTOCOL_ERROR)
        elif not self._streams and self._quiet_until <= now:
            self._say_goodbye()

    def _say_goodbye(self, code: int = Code.NO_ERROR) -> None:
        self._codec.go_away(code)
        self._flush()
        self._reading.cancel()

    def _end_if_idle(self) -> None:
        is_last = self._last or self._grace_ends != math.inf
        if is_last and not (self._streams or self._cutting):
            self._say_goodbye()

    async def _answer(self, stream: H2Stream, opened: Opened) -> None:
        params = self._params
        exchange = H2Exchange(stream, self, opened.head, params.body, params.date)
        code = Code.INTERNAL_ERROR
        try:
            code = await self._carry_out(stream, exchange)
            if self._cutting:
                stream.deadline = trio.current_time() + FAREWELL
                with suppress(Broken, Expired):
                    await tell_cut(exchange)
        finally:
            self._close(stream, code)

    async def _carry_out(self, stream: H2Stream, exchange: H2Exchange) -> int:
        """The code for a stream that is not whole in the end."""
        try:
            with trio.CancelScope() as scope:
                self._scopes[stream.id] = scope
                stream.on_gone = scope.cancel
                if self._cutting:
                    scope.cancel()
                await trio.lowlevel.checkpoint_if_cancelled()  # a caller may be gone already
                await carry_out(self._handler, exchange)
        except Expired:
            return Code.CANCEL  # it took nothing for too long
        except Broken:
            pass
        except Exception:
            log.exception("request %s failed", exchange.request_id)
        finally:
            del self._scopes[stream.id]
            if self._cutting and exchange.state is not ExchangeState.DONE:
                exchange.refused = exchange.refused or CUT
            self._handler.ended(exchange)
        return Code.INTERNAL_ERROR

    async def _refuse(self, stream: H2Stream, error: ProtocolError) -> None:
        """Answer what is no request for a handler."""
        answer, fields = refuse(self._handler, error, self.peer, self._params.date)
        try:
            with suppress(Broken, Expired):
                self.send_head(stream, answer.status, fields, last=False)
                await stream.send_all(answer.body)
                self.send_end(stream)
        finally:
            self._close(stream, Code.CANCEL)

    def _close(self, stream: H2Stream, code: int) -> None:
        self._waiting.pop(stream.id, None)
        self._fed.pop(stream.id, None)
        stream.close()
        self._codec.close(stream.id, code)
        del self._streams[stream.id]
        self._served += 1
        if not self._streams:
            self._quiet_since = trio.current_time()
        self._flush()
        self._set_clock()
        self._end_if_idle()

    # --- what streams ask for: `h2_stream.Trunk`, `h2_exchange.Framing`

    def offer(self, stream: int, data: bytes | memoryview) -> int:
        """See `Trunk.offer`. Who keeps a rest hears of room from the window, or the writer."""
        sent = 0
        while sent < len(data):
            room = min(self._codec.window(stream), BACKLOG - len(self._backlog))
            if room <= 0:
                break
            self._fed[stream] = None
            self._codec.send_data(stream, data[sent : sent + room])
            sent = min(len(data), sent + room)
            self._flush()
        self._flush()
        return sent

    def await_room(self, stream: H2Stream) -> None:
        """See `Trunk.await_room`."""
        self._waiting.pop(stream.id, None)
        self._waiting[stream.id] = stream

    def _offer_room(self) -> None:
        """To each that waits, once; who got some and has to wait again goes to the end."""
        waiting, self._waiting = self._waiting, {}
        self._fed = {}
        for stream in waiting.values():
            stream.has_room()
        for number in self._fed:
            if (again := self._waiting.pop(number, None)) is not None:
                self._waiting[number] = again

    def used(self, stream: int, size: int) -> None:
        """See `Trunk.used`."""
        self._codec.acknowledge(stream, size)
        self._flush()

    def send_head(self, stream: H2Stream, status: int, headers: Headers, *, last: bool) -> None:
        """See `Framing.send_head`."""
        stream.check()
        self._codec.send_head(stream.id, status, headers, last=last)

    def send_end(self, stream: H2Stream) -> None:
        """See `Framing.send_end`."""
        stream.check()
        self._codec.send_end(stream.id)
        self._flush()
