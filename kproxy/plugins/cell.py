"""One child of the sandbox, from its start to its end: a command line and an order in, an `Ended`
out. The parent's half of the pipe; it believes nothing that comes through it.

1. `open_cell` starts the child in a session of its own, without environment, and waits until it
   says which layers hold. `run` gives it one piece of code. Nothing is run twice in one child.
2. A child is ended by SIGKILL to its whole process group. Monty's worker goes first, by a pidfd,
   and the child gets a moment to reap it: where the proxy itself is process 1 of a container,
   nobody else would.
3. What a child sends is bounded: each frame, and the output as a sum. More is a broken child.

Raises `CellFailed` when the child does not come up. Whoever opened a cell closes it.
"""

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import trio

from kproxy.errors import KproxyError
from kproxy.plugins.frames import FrameError, FrameReader, pack
from kproxy.plugins.guest import Ended, RunError
from kproxy.plugins.layers import Layer

__all__ = ["Cell", "CellFailed", "Launch", "open_cell"]

_READ = 1 << 16
_CLOSE = 2.0  # seconds for `close`, which bounds itself below that
_REAP = 0.25  # seconds for a child to reap its worker, and for a killed one to be gone


class CellFailed(KproxyError):
    """A child did not come up; the message says why, in words of ours or of the child's."""


class _Ready(msgspec.Struct, tag="ready", tag_field="kind"):
    layers: list[tuple[str, bool, str]]
    worker: int | None = None


class _Done(msgspec.Struct, tag="done", tag_field="kind"):
    pass


class _Refuse(msgspec.Struct, tag="refuse", tag_field="kind"):
    why: str


class _Out(msgspec.Struct, tag="out", tag_field="kind"):
    text: str


class _End(msgspec.Struct, tag="end", tag_field="kind"):
    error: RunError | None
    text: str
    result: str | None


_Said = _Ready | _Done | _Refuse | _Out | _End


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a child: its command line, and the order it gets first."""

    command: tuple[str, ...]
    order: dict[str, Any]
    wrapped: bool  # by bubblewrap: process numbers inside mean nothing outside


class Cell:
    """A child that runs. `layers`: what it found to hold; () for one that compiles."""

    def __init__(self, process: trio.Process, *, wrapped: bool) -> None:
        self._process = process
        self._wrapped = wrapped
        self._frames = FrameReader()
        self._waiting: list[bytes] = []
        self._worker: int | None = None  # a pidfd
        self.layers: tuple[Layer, ...] = ()

    def __repr__(self) -> str:
        ended = self._process.poll()
        return f"<Cell {self.pid} {'alive' if ended is None else f'ended {ended}'}>"

    @property
    def pid(self) -> int:
        """Of the child, and of its process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def greet(self, order: dict[str, Any]) -> None:
        """Give the order, wait for the answer. Raises CellFailed; the caller has the deadline."""
        try:
            await self._send(order)
            said = await self._receive()
        except (trio.BrokenResourceError, FrameError, EOFError) as error:
            raise CellFailed(f"the child ended before it was ready: {error}") from error
        if isinstance(said, _Refuse):
            raise CellFailed(said.why)
        if isinstance(said, _Ready):
            self.layers = tuple(Layer(*row) for row in said.layers)
            if said.worker is not None and said.worker > 1 and not self._wrapped:
                with suppress(OSError):
                    self._worker = os.pidfd_open(said.worker)
        elif not isinstance(said, _Done):
            raise CellFailed("the child spoke out of turn")

    async def run(self, code: str, seconds: float, most: int) -> tuple[Ended, str]:
        """How it ended, and its output of at most `most` bytes. Never raises for what a child does.

        A child that has not ended after `seconds` is taken to have run out of time.
        """
        pieces: list[str] = []
        ended = Ended("time")
        with trio.move_on_after(seconds):
            ended = await self._follow(code, pieces, most)
        return ended, "".join(pieces)

    async def _follow(self, code: str, pieces: list[str], most: int) -> Ended:
        try:
            await self._send({"code": code})
            while True:
                said = await self._receive()
                if isinstance(said, _End):
                    return Ended(said.error, said.text, said.result)
                if not isinstance(said, _Out):
                    return Ended("crash", "the child spoke out of turn")
                most -= len(said.text.encode())
                if most < 0:
                    return Ended("output")
                pieces.append(said.text)
        except (trio.BrokenResourceError, FrameError, EOFError):
            return Ended("crash", "the interpreter died")

    async def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(pack(message))

    async def _receive(self) -> _Said:
        """Raises EOFError, FrameError."""
        assert self._process.stdout is not None
        while not self._waiting:
            data = await self._process.stdout.receive_some(_READ)
            if not data:
                raise EOFError("the pipe was closed")
            self._waiting = self._frames.receive(bytes(data))
        try:
            said: _Said = msgspec.json.decode(self._waiting.pop(0), type=_Said)
        except (msgspec.DecodeError, RecursionError) as error:
            raise FrameError("a frame that says nothing known") from error
        return said

    def kill(self) -> None:
        """Stop whoever runs foreign code, at once; `close` does the rest."""
        if self._worker is None:
            self._kill_group()
            return
        with suppress(OSError):
            signal.pidfd_send_signal(self._worker, signal.SIGKILL)

    def _kill_group(self) -> None:
        # The child is not reaped yet, so that its number is still its own.
        if self._process.returncode is None:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """End the child and reap it; under a shield, for a moment at most. Twice is once."""
        with trio.move_on_after(4 * _REAP, shield=True):
            self.kill()
            if self._worker is not None:
                with trio.move_on_after(_REAP):
                    await self._gone()
                os.close(self._worker)
                self._worker = None
            self._kill_group()
            await self._gone()
            await self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with trio.move_on_after(0, shield=True):
                    await stream.aclose()

    async def _gone(self) -> None:
        """Until all who held the other end of the pipe are dead; they are not reaped here."""
        assert self._process.stdout is not None
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await self._process.stdout.receive_some(_READ):
                pass


async def open_cell(launch: Launch, seconds: float) -> Cell:
    """A child that is ready. Raises CellFailed, also when that takes longer than `seconds`."""
    try:
        process = await trio.lowlevel.open_process(
            list(launch.command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise CellFailed(f"no child could be started: {error.strerror}") from error
    cell = Cell(process, wrapped=launch.wrapped)
    ready = False
    try:
        with trio.move_on_after(seconds):
            await cell.greet(launch.order)
            ready = True
    finally:
        if not ready:
            with trio.move_on_after(_CLOSE, shield=True):
                await cell.close()
    if not ready:
        raise CellFailed(f"the child was not ready within {seconds:g} s")
    return cell
