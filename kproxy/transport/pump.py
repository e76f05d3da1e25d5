"""One running relay from a source link to a sink link, driven by edges while its owner is parked.

States: *reading* (the source's edges run `source_ready`), *blocked* (the sink was full: `_rest`
waits, the source is not read), *over* (finished or failed: the owner is on its way back). The
essay is in link.py.
"""

import math
from typing import Protocol

import trio

from kproxy.transport.duplex import Carrier, Expired, Stage

__all__ = ["RECEIVE_SIZE", "Clock", "Pump", "Sink", "Source"]

RECEIVE_SIZE = 65_536
"""Bytes asked for at once: a whole JSON answer, or many chunks after a pause. A read of fewer has
emptied the socket."""

ROUNDS = 8
"""Reads in one edge before the owner's relay yields to other sockets."""


class Clock(Protocol):
    """Who calls a source's edges."""

    now: float
    """trio's clock when it last looked."""


class Source(Carrier, Protocol):
    """Where a relay may begin: what receives without waiting, and says when there may be more."""

    @property
    def hub(self) -> Clock:
        """Who calls its edges."""
        ...

    @property
    def readable(self) -> bool:
        """Whether there may be more at once, after a read that gave something."""
        ...

    def flow_out(self, pump: "Pump | None") -> None:
        """From now on call `source_ready` of this relay whenever there may be bytes or an end, and
        `source_expired` when the deadline passes (None: stop)."""


class Sink(Protocol):
    """Where a relay may end: what sends without waiting, and says when there is room again."""

    stall: float
    """Seconds without progress after which `deadline` is to pass."""

    deadline: float
    """When it passes, `Pump.fail` is called with Expired."""

    def flow_in(self, pump: "Pump | None", *, torn: bool = False) -> None:
        """From now on call `sink_ready` of this relay whenever there may be room (None: stop, and
        whether it has left something over)."""

    def send_nowait(self, data: bytes | memoryview) -> int:
        """See `Channel.send_nowait`."""
        ...


class Pump:
    """See `Link.pump`. Lives as long as one call of `run`."""

    __slots__ = (
        "_error",
        "_gap",
        "_heard",
        "_owner",
        "_rest",
        "_sink",
        "_source",
        "_stage",
        "_until",
        "_yielded",
    )

    def __init__(self, source: Source, sink: Sink, stage: Stage, gap: float) -> None:
        self._source = source
        self._sink = sink
        self._stage = stage
        self._gap = gap
        self._until = source.deadline
        self._heard = 0.0  # when the source last gave something
        self._owner: trio.lowlevel.Task | None = None
        self._rest: memoryview | None = None
        self._error: Exception | None = None
        self._yielded = False

    async def run(self) -> None:
        """Relay until the stage is finished. Raises what stopped it otherwise."""
        source, sink = self._source, self._sink
        self._listen()
        source.flow_out(self)
        sink.flow_in(self)
        try:
            self.source_ready()
            while not self._over and self._error is None:
                if self._yielded:  # a source with more to give than one turn may take
                    self._yielded = False
                    await trio.lowlevel.checkpoint()
                    self.source_ready()
                    continue
                self._owner = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort)
        finally:
            source.flow_out(None)
            sink.flow_in(None, torn=self._rest is not None)
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame, and all that a stream is made of

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._owner = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake(self) -> None:
        if self._owner is not None:
            task, self._owner = self._owner, None
            trio.lowlevel.reschedule(task)

    def _listen(self) -> None:
        """From now on the source may be silent for the gap, within the whole's deadline.

        The source's clock stands while nothing is heard, as for a stream of HTTP/2.
        """
        self._source.hub.now = self._heard = trio.current_time()
        self._source.deadline = min(self._until, self._heard + self._gap)

    @property
    def _over(self) -> bool:
        """Whether everything has been carried over; the owner may not have woken yet."""
        return self._stage.finished and self._rest is None

    def source_expired(self) -> None:
        """The source's timer is due. A chunk only notes its time, so it may be early: go on.

        A loop that was held up may find the timer before the bytes that came in time.
        """
        self._source.hub.now = trio.current_time()
        self.source_ready()
        if self._error is not None or self._rest is not None or self._over:
            return
        due = min(self._until, self._heard + self._gap)
        if due > trio.current_time():
            self._source.deadline = due
        else:
            self.fail(Expired(self._source))

    def fail(self, error: Exception) -> None:
        """Stop with `error`, unless the relay is over already."""
        if self._error is None and not self._over:
            self._error = error
            self._wake()

    def source_ready(self) -> None:
        """The source may have bytes: carry them over until it is empty or the sink is full."""
        if self._rest is not None or self._error is not None or self._stage.finished:
            return
        source, stage, sink = self._source, self._stage, self._sink
        try:
            for _ in range(ROUNDS):
                data = source.receive_nowait()
                if data is None:
                    return
                out = stage.take(data)
                if out and (sent := sink.send_nowait(out)) < len(out):
                    self._block(out, sent)
                    return
                if stage.finished:
                    self._wake()
                    return
                self._heard = source.hub.now
                if not source.readable:
                    return
        except Exception as error:
            # Whatever the stage says of itself by now: what it made has not been carried over.
            self._error = error
            self._wake()
            return
        self._yielded = True
        self._wake()

    def _block(self, out: bytes, sent: int) -> None:
        """The sink has taken only so much: the rest waits for it."""
        self._rest = memoryview(out)[sent:]
        self._source.deadline = math.inf  # the silence is ours now
        self._sink.deadline = self._sink_deadline()

    def _sink_deadline(self) -> float:
        """How long the sink may take nothing: its stall, within the whole's deadline."""
        return min(self._until, trio.current_time() + self._sink.stall)

    def sink_ready(self) -> None:
        """The sink may have room: hand over the rest, then read on."""
        if self._rest is None or self._error is not None:
            return
        try:
            sent = self._sink.send_nowait(self._rest)
        except Exception as error:
            self.fail(error)
            return
        if sent:
            self._sink.deadline = self._sink_deadline()
        if sent < len(self._rest):
            self._rest = self._rest[sent:]
            return
        self._rest = None
        self._sink.deadline = math.inf
        if self._stage.finished:
            self._wake()
            return
        self._listen()
        self.source_ready()
