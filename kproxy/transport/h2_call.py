"""One request on a stream of HTTP/2 to a provider, as a `Carrier`: it looks like a connection of
HTTP/1.1 that serves one request.

What is sent here is a request as over HTTP/1.1, and what is received are a head and chunks
(`wire/h2_turn.py`), the last of which stands for END_STREAM. So an attempt, a relay and the pool
treat both alike: what is cut lacks its last chunk, what is complete has ended and is not kept, and
what is closed before is taken back by RST_STREAM, which harms no other stream.

Nothing is kept but what the window allows: it opens again by what is taken from here.
What it does not know: frames, and other streams. Those are the connection's, its `Trunk`.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, cast

import trio

from kproxy.errors import FaultKind
from kproxy.transport.duplex import Broken, Channel, Stage
from kproxy.transport.pump import RECEIVE_SIZE, Clock, Pump, Sink
from kproxy.transport.timers import Timers
from kproxy.transport.waitable import Waitable
from kproxy.wire.events import Headers
from kproxy.wire.frame import LAST_CHUNK, chunk
from kproxy.wire.h2_frames import Code
from kproxy.wire.h2_turn import BODILESS, to_fields, to_head

__all__ = ["RESETS", "UNTOUCHED", "H2Call", "Loss", "Trunk", "loss_by"]

STALL = 60.0
"""Seconds that a provider may leave no room at all, as for a `Link`."""

JOINED = 4_096
"""Bytes up to which pieces that wait are one."""


class Loss(NamedTuple):
    """Why a stream is no more; `kind` is None where the connection has just ended. `untouched`: the
    provider has not looked at it."""

    reason: str
    kind: FaultKind | None = None
    untouched: bool = False


RESETS: Mapping[int, FaultKind] = MappingProxyType(
    {
        Code.NO_ERROR: FaultKind.CLOSED_EARLY,
        Code.PROTOCOL_ERROR: FaultKind.BAD_FRAMING,
        Code.INTERNAL_ERROR: FaultKind.RESET,
        Code.FLOW_CONTROL_ERROR: FaultKind.BAD_FRAMING,
        Code.SETTINGS_TIMEOUT: FaultKind.RESET,
        Code.STREAM_CLOSED: FaultKind.BAD_FRAMING,
        Code.FRAME_SIZE_ERROR: FaultKind.BAD_FRAMING,
        Code.REFUSED_STREAM: FaultKind.CONNECT,
        Code.CANCEL: FaultKind.RESET,
        Code.COMPRESSION_ERROR: FaultKind.BAD_FRAMING,
        Code.CONNECT_ERROR: FaultKind.RESET,
        Code.ENHANCE_YOUR_CALM: FaultKind.UNAVAILABLE,
        Code.INADEQUATE_SECURITY: FaultKind.TLS,
        Code.HTTP_1_1_REQUIRED: FaultKind.CONNECT,
    }
)
"""What a provider's code (RFC 9113 section 7) is for an attempt; of an unknown one: RESET."""

UNTOUCHED = frozenset({Code.REFUSED_STREAM, Code.HTTP_1_1_REQUIRED})
"""Codes that say that the request was not looked at (RFC 9113 section 8.7)."""


def loss_by(code: int) -> Loss:
    """A provider's RST_STREAM."""
    kind = RESETS.get(code, FaultKind.RESET)
    return Loss("the provider reset it", kind, code in UNTOUCHED)


class Trunk(Clock, Protocol):
    """What a call asks of its connection. None of it waits, or raises."""

    timers: Timers

    heard_times: int
    """How often something came."""

    def begin(self, call: "H2Call", fields: Headers, *, last: bool) -> None:
        """Send a request's head, `last`: it is all. Where it cannot be, `lose` is called."""

    def offer(self, call: "H2Call", data: memoryview) -> int:
        """Send as much of the rest of a body as there is room for; how many bytes that was. Where
        it was not all, `has_room` is called once when there may be more."""
        ...

    def used(self, call: "H2Call", size: int) -> None:
        """Bytes of a body were taken."""

    def closed(self, call: "H2Call") -> None:
        """The owner is done."""


class H2Call(Waitable):
    """See the module. `number` is the stream's, 0 before the request was begun; `reused`: the
    connection was idle, and has carried others before."""

    __slots__ = (
        "_before", "_bodiless", "_closed", "_inbox", "_loss", "_outflow", "_rest", "_told",
        "_trunk", "_watcher", "_whole", "_words", "began", "number", "reused", "stall",
    )  # fmt: skip

    readable = True
    """See `pump.Source`: one read takes a part of what there is."""

    def __init__(self, trunk: Trunk, *, reused: bool) -> None:
        super().__init__(trunk.timers)
        self.number = 0
        self.reused = reused
        self.began = math.inf
        self.stall = STALL
        self._trunk = trunk
        self._before = trunk.heard_times  # the request
        self._words = b""  # the head that was not taken yet
        self._inbox: deque[tuple[bytes | bytearray, int]] = deque()
        self._bodiless = False  # a head whose end is its own
        self._whole = False  # END_STREAM has come
        self._told = False  # its last chunk was taken
        self._loss: Loss | None = None
        self._closed = False
        self._rest = memoryview(b"")  # of the request's body
        self._outflow: Pump | None = None  # the relay that reads here
        self._watcher: Callable[[], None] | None = None

    def __repr__(self) -> str:
        state = "closed" if self._closed else "lost" if self._loss else "open"
        return f"<H2Call {self.number} {'whole' if self._whole else state}>"

    @property
    def hub(self) -> Clock:
        """See `pump.Source`."""
        return self._trunk

    @property
    def whole(self) -> bool:
        """Whether the answer has come to its end."""
        return self._whole

    @property
    def peer_ended(self) -> bool:
        """Whether nothing more comes: so no pool keeps it for another request."""
        return self._told or self._loss is not None

    @property
    def spoken(self) -> bool:
        """See `Carrier.spoken`: a reset, a head that is none, or what concerned another stream."""
        return self._trunk.heard_times != self._before

    # --- the connection's side

    def answer(self, status: int, headers: Headers, *, ended: bool) -> None:
        """The head has come."""
        self._words = to_head(status, headers)
        self._bodiless = status in BODILESS
        self._whole = ended
        self._news()

    def receive_piece(self, data: bytes, size: int, *, ended: bool) -> None:
        """A piece of the body; `size` of the window is taken up by it."""
        if data:
            self._put(data, size)
        elif size:
            self._trunk.used(self, size)
        self._whole = self._whole or ended
        self._news()

    def _put(self, data: bytes, size: int) -> None:
        """Small pieces are joined: many of them would cost a hundred times their bytes."""
        if self._inbox and len(self._inbox[-1][0]) + len(data) <= JOINED:
            last, before = self._inbox.pop()
            joined = last if isinstance(last, bytearray) else bytearray(last)
            joined += data
            self._inbox.append((joined, before + size))
        else:
            self._inbox.append((data, size))

    def lose(self, loss: Loss) -> None:
        """The stream is no more; idempotent. What has come before can still be taken."""
        if self._loss is not None:
            return
        self._loss = loss
        self._left = True
        self._news()
        if not self._whole:
            self._tell_gone()

    def has_room(self) -> None:
        """The provider takes more, maybe."""
        if self._rest and self._loss is None:
            sent = self._trunk.offer(self, self._rest)
            self._rest = self._rest[sent:]
            if sent:
                self._wake_writer()

    def _news(self) -> None:
        if self._outflow is not None:
            self._outflow.source_ready()
        elif self._watcher is not None:
            self._watcher()
        self._wake()

    def _expire(self) -> None:
        super()._expire()
        if self._outflow is not None:
            self._outflow.source_expired()

    # --- the owner's side

    async def send_all(self, data: bytes) -> None:
        """Send a request, which is `data`; only once. Raises Broken, also where it was answered
        before it was sent; and Expired after `stall` seconds without progress or at the deadline.
        """
        await trio.lowlevel.checkpoint()
        assert self.number == 0, "a call carries one request"
        fields, body = to_fields(data)
        self.began = trio.current_time()
        self._before = self._trunk.heard_times
        self._rest = memoryview(body)
        self._trunk.begin(self, fields, last=not body)
        self._check()
        until = self._when
        try:
            self.has_room()
            while left := len(self._rest):
                self.deadline = min(until, trio.current_time() + self.stall)
                while len(self._rest) == left:
                    self._check()
                    await self.wait_writable()
        finally:
            self._rest = memoryview(b"")
            self.deadline = until

    def _check(self) -> None:
        if self._closed:
            raise Broken(self, "closed")
        if self._loss is not None:
            raise self._broken(self._loss)
        if self._whole and self._rest:
            raise Broken(self, "answered already")

    def _broken(self, loss: Loss) -> Broken:
        return Broken(self, loss.reason, loss.kind or FaultKind.RESET, untouched=loss.untouched)

    def receive_nowait(self) -> bytes | None:
        """See `Channel.receive_nowait`. The window opens by what is taken."""
        if self._closed:
            raise Broken(self, "closed")
        return self._take() or self._silence()

    def _take(self) -> bytes:
        """What has come, as it would over HTTP/1.1; b"": nothing."""
        words, self._words = self._words, b""
        pieces: list[bytes | bytearray] = []
        size = total = 0
        while self._inbox and total < RECEIVE_SIZE:
            data, part = self._inbox.popleft()
            pieces.append(data)
            size, total = size + part, total + len(data)
        if pieces:
            words += chunk(b"".join(pieces))
            self._trunk.used(self, size)
        if self._whole and not self._inbox and not self._told:
            self._told = True
            words += b"" if self._bodiless else LAST_CHUNK
        return words

    def _silence(self) -> bytes | None:
        """What it means that nothing has come: b"" where nothing will, None: wait."""
        if self._told:
            return b""
        if self._loss is None:
            return None
        if self._loss.kind is None:
            return b""
        raise self._broken(self._loss)

    async def receive(self) -> bytes:
        """See `Channel.receive`."""
        await trio.lowlevel.checkpoint()
        while (data := self.receive_nowait()) is None:
            await self.wait_readable()
        return data

    async def pump(self, sink: Channel, stage: Stage, gap: float) -> None:
        """Relay to `sink`, a `pump.Sink`; see `Carrier.pump`."""
        await Pump(self, cast("Sink", sink), stage, gap).run()

    def flow_out(self, pump: Pump | None) -> None:
        """See `pump.Source`."""
        self._outflow = pump

    def watch(self, callback: Callable[[], None] | None) -> None:
        """See `Carrier.watch`."""
        self._watcher = callback

    def close(self) -> None:
        """The owner is done: what is not whole is taken back. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._timer.cancel()
        self._gone = self._watcher = None
        size = sum(part for _, part in self._inbox)
        self._inbox.clear()
        self._trunk.closed(self)
        self._trunk.used(self, size)
        self._wake()
