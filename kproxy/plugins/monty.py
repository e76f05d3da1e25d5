"""The default interpreter: Monty, a subset of Python in Rust (PyPI `pydantic-monty`). Code in, how
it ended out. The one file that knows that library; it is imported in the child alone.

Monty runs each session in a worker process that its own pool starts. So under this child there is
one more process, which inherits everything that the child has given up before `start`. The pool
serves the worker's requests in the child: none is served here (no mount, no `os` handler, no
foreign function), and sleep counts against the time of the run.
"""

import math
import os
from typing import TYPE_CHECKING, Any, Literal

from kproxy.plugins.confine import Bounds
from kproxy.plugins.frames import clean
from kproxy.plugins.guest import Emit, Ended, GuestOrder, RunError

if TYPE_CHECKING:
    from pydantic_monty import Monty, MontySession

__all__ = ["MontyGuest"]

# On two cores the pool and its threads take 240 MB of addresses and 20 MB of data before anything
# runs, a worker less; the rest is what a value costs on its way out. Threads come with the cores,
# and each may reserve 64 MB of addresses and a stack of 2 MB.
_ADDRESSES = 768 << 20
_DATA = 256 << 20
_ADDRESSES_PER_CORE = 96 << 20
_DATA_PER_CORE = 4 << 20


class TooMuchOutput(Exception):
    """Ends a run from within its print callback."""


class MontyGuest:
    """`binary` is the path of Monty's worker program."""

    worker: int | None = None
    readable: tuple[str, ...] = ()

    def __init__(self, order: GuestOrder, binary: str) -> None:
        self._order = order
        self._binary = binary
        self._pool: Monty | None = None
        self._session: MontySession | None = None

    @property
    def bounds(self) -> Bounds:
        cores = os.cpu_count() or 1
        return Bounds(
            self._order.memory + _ADDRESSES + cores * _ADDRESSES_PER_CORE,
            self._order.memory + _DATA + cores * _DATA_PER_CORE,
            math.ceil(self._order.seconds) + 2,
        )

    def prepare(self) -> None:
        """By descriptor: the path may lead through folders that the child cannot pass later."""
        import pydantic_monty

        program = os.open(self._binary, os.O_RDONLY | os.O_CLOEXEC)
        path = f"/proc/self/fd/{program}"
        self.readable = (path,)
        self._pool = pydantic_monty.Monty(binary_path=path, min_processes=1, max_processes=1)

    def start(self) -> None:
        assert self._pool is not None
        self._pool.__enter__()
        self._session = self._pool.checkout(
            limits={
                "max_feed_duration_secs": self._order.seconds,
                "max_total_sleep_secs": self._order.seconds,
                "max_memory": self._order.memory,
            },
            # Else a longer sleep ends early, and the code goes on in the wrong belief.
            os_policy={"sleep": "system", "sleep_system_max": math.inf},
        )
        self._session.__enter__()
        self.worker = self._session.worker_pid

    def run(self, code: str, emit: Emit) -> Ended:
        import pydantic_monty as monty

        flooded = False

        def printed(_: Literal["stdout", "stderr"], text: str) -> None:
            nonlocal flooded
            if not emit(text):
                flooded = True
                raise TooMuchOutput

        assert self._session is not None
        try:
            value = self._session.feed_run(code, print_callback=printed)
            return Ended(result=None if value is None else self._write(value))
        except monty.MontySyntaxError as error:
            return Ended("syntax", self._cut(error.display()))
        except monty.MontyRuntimeError as error:
            kind = "output" if flooded else _kind(error.exception(), str(error))
            return Ended(kind, self._cut(error.display()))
        except monty.MontyCrashedError as error:
            kind = "time" if error.timed_out else "crash"
            return Ended(kind, self._cut(str(error)))
        except TooMuchOutput:
            return Ended("output", "")
        except MemoryError:
            return Ended("memory", "the result is too large")

    def _write(self, value: Any) -> str:
        if isinstance(value, str | bytes):
            value = value[: self._order.text + 1]  # before it is written out once more
        try:
            return self._cut(repr(value))
        except RecursionError:
            return "<a value that is nested too deeply to be written>"

    def _cut(self, text: str) -> str:
        return clean(text[: self._order.text + 1])  # one more, so that a cut can be seen

    def close(self) -> None:
        if self._session is not None:
            self._session.__exit__(None, None, None)
        if self._pool is not None:
            self._pool.__exit__(None, None, None)


def _kind(error: BaseException, text: str) -> RunError:
    if isinstance(error, TimeoutError) and "limit exceeded" in text:
        return "time"
    if isinstance(error, MemoryError):
        return "memory"
    return "exception"
