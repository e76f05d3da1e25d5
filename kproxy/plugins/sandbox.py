"""Foreign Python in, what it printed and how it ended out: `open_sandbox` and `Sandbox.run`.

Problem: a model's code is anybody's code. It will try to read files, call out, fill the memory, or
never end, and an interpreter that bounds itself is one bug away from not doing so.

The obvious ways fail: an interpreter inside the proxy dies together with it; one child for all
callers carries the first one's leavings to the second; a sandbox that is set up but not tried is
open on the machine that lacks one of its parts, in silence.

Our way. Always a child process (`cell.py`), used for one piece of code and then killed, so that
nothing of it waits for the next caller. The child gives up what it can and tries whether it is
gone (`confine.py`); an interpreter without a host runs inside (`monty.py`, or `wasi.py` for the
whole language); bubblewrap stands around it where it works. On opening, one child is started and
runs code as a test: `open_sandbox` refuses when a layer in `require` does not hold, and each later
child is held to the same. `Sandbox.layers` says what holds.

At most `children` processes live at once, warm ones included; they are made when the first code
comes, kept ready while code keeps coming, and let go after `idle` seconds without any: who never
asks pays nothing. Callers wait in a bounded queue, for a bounded time, and then hear "busy". A
caller that is cancelled takes its child with it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from logging import getLogger
from typing import Literal

import trio

from kproxy.plugins import layers, wrapper
from kproxy.plugins.cell import Cell, CellFailed, Launch, open_cell
from kproxy.plugins.frames import clean
from kproxy.plugins.guest import Ended, RunError
from kproxy.plugins.launch import build_launch, compiled_module
from kproxy.plugins.layers import Layer, lacking
from kproxy.plugins.settings import SandboxParams, SandboxRefused, unavailable

__all__ = ["ErrorKind", "Outcome", "Sandbox", "SandboxParams", "SandboxRefused", "open_sandbox"]

log = getLogger(__name__)

ErrorKind = (
    RunError
    | Literal[
        "size",  # over `code_bytes`; nothing was run
        "busy",  # no child was free in time; nothing was run
    ]
)

_START = 30.0  # seconds for a child to come up, on the slowest machine that is meant to work
_AGAIN = 1.0  # seconds until the next try, where one did not come up
_CLOSE = 2.0  # seconds for a child's end; `Cell.close` bounds itself below that
_GRACE = 0.15  # seconds for a child to say itself that time is up (R18: 200 ms)
_PROBE = "print('proof')\n6 * 7"
_SAID = {
    "time": "it ran for too long and was stopped",
    "memory": "it needed too much memory",
    "output": "it printed too much and was stopped",
    "crash": "the interpreter died",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to. `truncated`: some of the three texts is cut at `output_bytes`."""

    stdout: str = ""  # and standard error
    result: str | None = None  # the value of the last expression, as `repr` writes it
    error: ErrorKind | None = None
    text: str = ""  # about the error; a traceback where there is one
    truncated: bool = False
    seconds: float = 0.0  # from the code's going in to its end


@dataclass(slots=True)
class _Lease:
    """A child that is ready, and the word that it is not needed any more."""

    cell: Cell
    over: trio.Event = field(default_factory=trio.Event)


class Sandbox:
    """An open sandbox; `run` may be called from any number of tasks at once."""

    def __init__(self, params: SandboxParams, launch: Launch, found: tuple[Layer, ...]) -> None:
        self.layers = found
        self._params = params
        self._launch = launch
        self._give, self._get = trio.open_memory_channel[_Lease](0)
        self._wanted = trio.Event()
        self._waiting = 0
        self._alive = 0

    def __repr__(self) -> str:
        return f"<Sandbox {self._params.tier} {self._alive} alive, {self._waiting} waiting>"

    def statistics(self) -> tuple[int, int]:
        """Children that live, callers that wait for one."""
        return self._alive, self._waiting

    async def run(self, code: str) -> Outcome:
        """Run the code in a child of its own. Raises nothing for what the code does."""
        params = self._params
        code = clean(code)
        if len(code.encode()) > params.code_bytes:
            return Outcome(error="size", text=f"the code is longer than {params.code_bytes} bytes")
        lease = await self._take()
        if lease is None:
            return Outcome(error="busy", text="too much other code is running: try again later")
        began = trio.current_time()
        try:
            limit = params.seconds + _GRACE
            ended, output = await lease.cell.run(code, limit, params.output_bytes)
        finally:
            lease.cell.kill()
            lease.over.set()
        return _outcome(ended, output, params.output_bytes, trio.current_time() - began)

    async def _take(self) -> _Lease | None:
        if self._waiting >= self._params.queue:
            return None
        self._waiting += 1
        self._wanted.set()
        try:
            with trio.move_on_after(self._params.wait):
                while True:
                    lease = await self._get.receive()
                    if lease.cell.alive:
                        return lease
                    lease.over.set()  # it died while it was waiting
        finally:
            self._waiting -= 1
        return None

    async def keep(self) -> None:
        """One place for a child, for ever: wait until it is wanted, start, give away, end."""
        while True:
            await self._wanted.wait()
            try:
                cell = await _start(self._launch, self._params)
            except (CellFailed, SandboxRefused) as error:
                log.warning("no child for code-exec: %s", error)
                await trio.sleep(_AGAIN)
                continue
            self._alive += 1
            try:
                await self._lend(_Lease(cell))
            finally:
                with trio.move_on_after(_CLOSE, shield=True):
                    await cell.close()
                self._alive -= 1

    async def _lend(self, lease: _Lease) -> None:
        with trio.move_on_after(self._params.idle) as idle:
            await self._give.send(lease)
        if not idle.cancelled_caught:
            await lease.over.wait()
        elif not self._waiting:
            self._wanted = trio.Event()


def _outcome(ended: Ended, output: str, most: int, seconds: float) -> Outcome:
    text, result = ended.text or _SAID.get(ended.error or "", ""), ended.result
    short_text, short_result = _cut(text, most), None if result is None else _cut(result, most)
    return Outcome(
        stdout=output,
        result=short_result,
        error=ended.error,
        text=short_text,
        truncated=ended.error == "output" or (short_text, short_result) != (text, result),
        seconds=seconds,
    )


def _cut(text: str, most: int) -> str:
    return text.encode()[:most].decode("utf-8", "ignore")


async def _start(launch: Launch, params: SandboxParams) -> Cell:
    """A child with every layer that is required. Raises CellFailed, SandboxRefused."""
    cell = await open_cell(launch, _START)
    held = (Layer(layers.INTERPRETER, True, params.tier), *cell.layers)
    missing = lacking(held, params.require)
    if missing:
        with trio.move_on_after(_CLOSE, shield=True):
            await cell.close()
        raise SandboxRefused("; ".join(f"{layer.name}: {layer.why}" for layer in missing))
    return cell


async def _proven(launch: Launch, params: SandboxParams) -> tuple[Layer, ...]:
    """What holds in a child that has run code. Raises CellFailed, SandboxRefused."""
    cell = await _start(launch, params)
    try:
        ended, output = await cell.run(_PROBE, params.seconds + _START, params.output_bytes)
    finally:
        with trio.move_on_after(_CLOSE, shield=True):
            await cell.close()
    if (ended.error, ended.result, output) != (None, "42", "proof\n"):
        raise SandboxRefused(f"a test of the interpreter failed: {ended.error} {ended.text[:200]}")
    return (Layer(layers.INTERPRETER, True, f"{params.tier}, after a test"), *cell.layers)


async def _choose(params: SandboxParams) -> tuple[Launch, tuple[Layer, ...]]:
    """Behind bubblewrap where that works, else without, unless it is required."""
    module = await compiled_module(params) if params.tier == "python" else None
    why = "it is switched off" if wrapper.program() else "it is not installed"
    wrapped = build_launch(params, module, wrapped=True) if params.bubblewrap else None
    if wrapped is not None:
        try:
            return wrapped, await _proven(wrapped, params)
        except (CellFailed, SandboxRefused) as error:
            if layers.BUBBLEWRAP in params.require:
                raise
            why = f"a child behind it does not work: {error}"
    plain = build_launch(params, module, wrapped=False)
    assert plain is not None
    found = await _proven(plain, params)
    lacks = Layer(layers.BUBBLEWRAP, False, why)
    return plain, tuple(lacks if layer.name == lacks.name else layer for layer in found)


@asynccontextmanager
async def open_sandbox(params: SandboxParams) -> AsyncIterator[Sandbox]:
    """The sandbox, tried. Raises SandboxRefused where it cannot be trusted or is not installed.

    All its children are gone when the block ends, however it ends.
    """
    reason = unavailable(params)
    if reason is not None:
        raise SandboxRefused(reason)
    try:
        launch, found = await _choose(params)
    except CellFailed as error:
        raise SandboxRefused(str(error)) from error
    sandbox = Sandbox(params, launch, found)
    async with trio.open_nursery() as places:
        for _ in range(params.children):
            places.start_soon(sandbox.keep)
        try:
            yield sandbox
        finally:
            places.cancel_scope.cancel()
