"""A link, timers and the beats of a `Play` in; the bytes on the socket in time, and who left, out.

Problem: a load-test target plays thousands of streams. The obvious way, `trio.sleep` before each
token in a task per stream, costs a cancel scope, a park and a reschedule: some 50 us a token, more
than the proxy in front of it may take.

Our way: one timer per connection. Its callback sends everything that is due with one system call
and moves the timer to the next beat. The connection's task is parked all the while and wakes up
only for the end, for a caller that takes no more (the kernel's buffer is full: it waits in
`send_all` and then goes on), and for a caller that has left.

What is late is sent together with what is due: a machine that cannot keep up sends fewer, larger
pieces and never falls behind for good.
"""

import enum
import math
from collections.abc import Callable, Iterator

import trio

from kproxy.sim.show import Beat
from kproxy.transport.duplex import Broken, Duplex
from kproxy.transport.timers import Timers

__all__ = ["Player"]

_AT_ONCE = 1 << 16
"""Bytes after which the task takes over from the callback, so that other streams get their turn."""


_TICKS = 1024
"""Wake-ups a second at most: streams that are due within a millisecond share one. The wake-up costs
more than all else but the send; with 1,000 streams sharing halves the cost of a token."""


class _State(enum.Enum):
    PLAYING = enum.auto()  # the timer is set
    FULL = enum.auto()  # bytes are left that the task has to send
    OVER = enum.auto()
    LEFT = enum.auto()


class Player:
    """Plays one answer after the other on one connection. The connection's task owns it."""

    def __init__(self, link: Duplex, timers: Timers) -> None:
        self._link = link
        self._timer = timers.timer(self._due)
        self._beats: Iterator[Beat] = iter(())
        self._arrival = 0.0
        self._held: bytes | None = None  # the beat that the timer waits for
        self._held_until = math.inf
        self._rest = b""
        self._state = _State.OVER
        self._wake: trio.Event | None = None

    def __repr__(self) -> str:
        return f"<Player {self._state.name}>"

    async def play(
        self, beats: Iterator[Beat], arrival: float, on_left: Callable[[], None]
    ) -> bool:
        """Send every beat at `arrival` plus its offset. False when the caller has left before.

        `on_left` is called at the instant the caller leaves, at most once. Raises Broken, Expired.
        """
        self._beats = beats
        self._arrival = arrival
        self._held = None
        self._rest = b""
        self._state = _State.PLAYING

        def left() -> None:
            if self._state not in (_State.OVER, _State.LEFT):
                self._state = _State.LEFT
                on_left()
                self._rouse()

        self._link.on_gone = left
        try:
            if self._is(_State.PLAYING):  # it may have left before
                self._go_on()
            while not self._is(_State.OVER):
                if self._is(_State.LEFT):
                    return False
                if self._is(_State.PLAYING):
                    self._wake = trio.Event()
                    await self._wake.wait()
                    continue
                rest, self._rest = self._rest, b""
                await self._link.send_all(rest)
                if self._is(_State.FULL):
                    self._go_on()
            return True
        except Broken:
            left()
            raise
        finally:
            self._link.on_gone = None
            self._timer.cancel()
            self._wake = None

    def _is(self, state: _State) -> bool:
        """Whether that is the state now; callbacks change it while the task waits."""
        return self._state is state

    def _go_on(self) -> None:
        """The task: take the next beat, and play it when it is due."""
        self._state = _State.PLAYING
        if self._held is None:
            beat = next(self._beats, None)
            if beat is None:
                self._state = _State.OVER
                return
            self._held, self._held_until = beat[1], self._arrival + beat[0]
        if self._held_until <= trio.current_time():
            self._step(self._held, next(self._beats, None))
        if self._is(_State.PLAYING):
            self._doze()

    def _due(self) -> None:
        """The timer: play on, and wake the task when that is its turn.

        Nearly always one beat is due and the next is not: that case is written out.
        """
        data = self._held
        if self._state is not _State.PLAYING or data is None:
            return
        beat = next(self._beats, None)
        if beat is None or (when := self._arrival + beat[0]) <= trio.current_time():
            self._step(data, beat)
        else:
            self._held, self._held_until = beat[1], when
            self._send(data)
        if self._is(_State.PLAYING):
            self._doze()
        else:
            self._rouse()

    def _doze(self) -> None:
        """Set the timer for the held beat; a beat that never comes needs none."""
        if self._held_until != math.inf:
            self._timer.move(math.ceil(self._held_until * _TICKS) / _TICKS)

    def _rouse(self) -> None:
        if self._wake is not None:
            self._wake.set()

    def _step(self, first: bytes, beat: Beat | None) -> None:
        """Send `first` and what else is due, beginning with `beat`; None is the end."""
        now = trio.current_time()
        parts = [first]
        size = len(first)
        self._held = None
        while beat is not None:
            at, data = beat
            when = self._arrival + at
            if when > now or size >= _AT_ONCE:
                self._held, self._held_until = data, when
                break
            parts.append(data)
            size += len(data)
            beat = next(self._beats, None)
        self._send(b"".join(parts))
        if self._is(_State.PLAYING):
            if self._held is None:
                self._state = _State.OVER
            elif self._held_until <= now:
                self._state = _State.FULL  # with nothing left: the task yields and comes back

    def _send(self, data: bytes) -> None:
        """Send now what the kernel takes; the task has to send the rest."""
        try:
            sent = self._link.send_nowait(data)
        except Broken:
            sent = 0  # the task meets it again in send_all, which raises it
        if sent < len(data):
            self._rest = data[sent:]
            self._state = _State.FULL
