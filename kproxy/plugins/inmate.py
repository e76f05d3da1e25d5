"""The child program of the sandbox: an order and code in on standard input, frames out.

    python -I -S inmate.py DIRECTORY...

The directories are where it finds kproxy and the interpreter's library. It answers the order with
`ready` and what every layer came to, or with `refuse`; then it reads one piece of code, answers
`out` for each piece of output and `end` once, and ends. One child runs one piece of code: nothing
of it can wait for the next caller.

The pipes are moved to descriptors of their own at once, so that nothing which prints can be taken
for a frame. A thread waits for the parent's end of the pipe to close, and then ends the group.
"""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

if __name__ == "__main__":
    sys.path.extend(sys.argv[1:])

from kproxy.plugins import layers
from kproxy.plugins.confine import Confinement
from kproxy.plugins.frames import clean, pack, read_frame
from kproxy.plugins.guest import Guest, GuestOrder

__all__ = ["main"]

# What Python and bubblewrap set by themselves in an environment that was empty.
_NO_SECRETS = {"LC_CTYPE", "PWD"}


class Channel:
    """The parent's two pipes."""

    def __init__(self) -> None:
        self.source = os.dup(0)
        self._sink = os.dup(1)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        os.close(nothing)

    def receive(self) -> dict[str, Any] | None:
        return read_frame(lambda length: os.read(self.source, min(length, 1 << 16)))

    def send(self, **message: object) -> None:
        data = memoryview(pack(message))
        while data:
            data = data[os.write(self._sink, data) :]


class Output:
    """What was printed, as frames, up to a bound in bytes.

    What is over it ends the run at once, from within the print: an interpreter in another process
    goes on printing until it is stopped, and the parent stops it when it hears of the end.
    """

    def __init__(self, channel: Channel, limit: int) -> None:
        self._channel = channel
        self._left = limit
        self._ended = False
        self.cut = False

    def emit(self, text: str) -> bool:
        """False once there is more than the bound: what is over it is dropped."""
        data = clean(text).encode()
        if len(data) > self._left:
            self.cut = True
            data = data[: self._left]
        self._left -= len(data)
        if data:
            self._channel.send(kind="out", text=data.decode("utf-8", "ignore"))
        if self.cut:
            self.end(error="output", text="", result=None)
        return not self.cut

    def end(self, *, error: str | None, text: str, result: str | None) -> None:
        """Say how it ended, the first time."""
        if not self._ended:
            self._ended = True
            self._channel.send(kind="end", error=error, text=text, result=result)


def main() -> None:
    """Never raises: what goes wrong is told by `refuse`, or by the end of the pipe."""
    inherited = _inherited()
    os.environ.clear()
    channel = Channel()
    order = channel.receive()
    if order is None:
        return
    try:
        if order["tier"] == "compile":
            _compile(order)
            channel.send(kind="done")
            return
        guest = _guest(order)
        found = _confine(guest, order, inherited)
    except Exception as error:  # whatever it is, the parent decides
        channel.send(kind="refuse", why=clean(f"{type(error).__name__}: {error}")[:500])
        return
    threading.Thread(target=_watch, args=(channel.source,), daemon=True).start()
    rows = [[layer.name, layer.holds, layer.why] for layer in found]
    channel.send(kind="ready", layers=rows, worker=guest.worker)
    _serve(channel, guest, order["output"])


def _inherited() -> str:
    """ "" or what there is beside three descriptors and an empty environment."""
    if set(os.environ) - _NO_SECRETS:
        return "the environment is not empty"
    try:
        opened = set(os.listdir("/proc/self/fd")) - {"0", "1", "2"}
    except OSError as error:
        return f"/proc/self/fd: {error.strerror}"
    # The listing itself needs one, which is gone by now.
    alive = [number for number in opened if os.path.exists(f"/proc/self/fd/{number}")]
    return "a foreign descriptor is open" if alive else ""


def _guest(order: dict[str, Any]) -> Guest:
    bounds = GuestOrder(order["seconds"], order["memory"], order["output"])
    if order["tier"] == "monty":
        from kproxy.plugins.monty import MontyGuest

        return MontyGuest(bounds, order["binary"])
    from kproxy.plugins.wasi import WasiGuest

    return WasiGuest(bounds, order["module"])


def _compile(order: dict[str, Any]) -> None:
    from pathlib import Path

    from kproxy.plugins.wasi import compile_module

    compile_module(Path(order["wasm"]), order["sha256"], Path(order["into"]))


def _confine(guest: Guest, order: dict[str, Any], inherited: str) -> list[layers.Layer]:
    guest.prepare()
    confinement = Confinement(order["host"])
    confinement.leave()
    confinement.limit(guest.bounds)
    confinement.close_files(guest.readable)
    confinement.filter_starting()
    guest.start()
    confinement.seal()
    return confinement.layers(inherited)


def _serve(channel: Channel, guest: Guest, limit: int) -> None:
    asked = channel.receive()
    if asked is None:
        return
    output = Output(channel, limit)
    ended = guest.run(asked["code"], output.emit)
    output.end(error=ended.error, text=ended.text, result=ended.result)
    guest.close()


def _watch(source: int, end: Callable[[], None] | None = None) -> None:
    """Wait until the parent is gone, however it went."""
    poll = select.poll()
    poll.register(source, 0)  # POLLHUP is always told
    poll.poll()
    (end or _end_group)()


def _end_group() -> None:
    with contextlib.suppress(OSError):
        os.kill(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
    os._exit(0)
