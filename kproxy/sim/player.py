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
from contextlib import suppress

import trio

from kproxy.sim.show import Beat
from kproxy.transport.duplex import Broken, Duplex
from kproxy.transport.timers import Timers

__all__ = ["Player"]

_AT_ONCE = 1 << 16
"""Bytes after which the task takes over from the callback, so that other streams get their turn."""


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
                self._step()
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
                    self._state = _State.PLAYING
                    self._step()
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

    def _due(self) -> None:
        """The timer: play on, and wake the task when that is its turn."""
        if self._is(_State.PLAYING):
            self._step()
            if not self._is(_State.PLAYING):
                self._rouse()

    def _rouse(self) -> None:
        if self._wake is not None:
            self._wake.set()

    def _step(self) -> None:
        """Send what is due; then set the timer, or leave the state that the task acts on."""
        now = trio.current_time()
        parts: list[bytes] = []
        size = 0
        over = False
        if self._held is not None and self._held_until <= now:
            parts.append(self._held)
            size = len(self._held)
            self._held = None
        while self._held is None and size < _AT_ONCE:
            beat = next(self._beats, None)
            if beat is None:
                over = True
                break
            at, data = beat
            when = self._arrival + at
            if when <= now:
                parts.append(data)
                size += len(data)
            else:
                self._held, self._held_until = data, when
        sent = 0
        if parts:
            with suppress(Broken):  # the task meets it again in send_all, which raises it
                sent = self._link.send_nowait(b"".join(parts))
        if sent < size or (size >= _AT_ONCE and not over):
            self._rest = b"".join(parts)[sent:]
            self._state = _State.FULL
        elif over:
            self._state = _State.OVER
        else:
            self._timer.move(self._held_until)
