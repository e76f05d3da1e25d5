"""What the child asks of an interpreter: prepared with all rights, started with few, run with none.

`prepare` imports and opens; then the child gives up its rights; `start` may still start a worker;
then the last filter falls, and only then `run` sees foreign code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from kproxy.plugins.confine import Bounds

__all__ = ["Ended", "Guest", "GuestOrder", "RunError"]

RunError = Literal[
    "syntax",  # it is no Python, or not of this interpreter's
    "exception",  # it raised
    "time",  # it ran for too long
    "memory",  # it needed too much
    "output",  # it printed too much
    "crash",  # its interpreter died
]

Emit = Callable[[str], bool]
"""Takes a piece of output; False once there has been too much of it, and then the run is to end."""


@dataclass(frozen=True, slots=True)
class GuestOrder:
    """What the parent decided: seconds of a run, bytes of memory, longest text in characters."""

    seconds: float
    memory: int
    text: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended. `error` is None where all went well."""

    error: RunError | None = None
    text: str = ""
    result: str | None = None  # what the last expression is, as `repr` writes it; None: no value


class Guest(Protocol):
    """An interpreter inside the child. Steps in this order; any may raise what it likes."""

    @property
    def bounds(self) -> Bounds:
        """What the kernel may hold it to."""

    @property
    def readable(self) -> tuple[str, ...]:
        """Files that `start` opens; empty: it opens none."""

    @property
    def worker(self) -> int | None:
        """The process that runs the code, where it is not the child itself."""

    def prepare(self) -> None: ...

    def start(self) -> None: ...

    def run(self, code: str, emit: Emit) -> Ended: ...

    def close(self) -> None: ...
