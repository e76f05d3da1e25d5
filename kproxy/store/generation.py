"""One number that all processes of a data directory share: how often the keys have changed.

The problem: a revoked key must be refused by every worker on its very next request, and a query
per request is too dear (a SELECT costs 10 us or more, and it would be the only I/O of a refusal).
The way: eight bytes in a file that every process maps. `current()` reads memory. Whoever changes
the keys commits first and bumps then, so a process that sees the new number finds the new rows.

A read may catch a write half done, if the machine moves eight bytes in pieces. The value is then
neither the old nor, at the next look, still the same: it costs one more reload, nothing else.
The file belongs to this machine, as SQLite's WAL does; neither works on a network file system.
It must not be truncated while a kproxy runs (a mapping past the end of its file is SIGBUS).
"""

import mmap
import os
from pathlib import Path

from kproxy.store.database import StoreError, file_lock

__all__ = ["Generation"]

FILE_NAME = "kproxy.generation"
_SIZE = 8
_WRAP = 1 << 64


class Generation:
    """The shared counter of a data directory that exists. `close()` gives the mapping back.

    Raises StoreError when the file cannot be made. A fork shares the mapping, which is right.
    """

    __slots__ = ("_map", "_path", "_view")

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        try:
            with file_lock(self._path):
                descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    if os.fstat(descriptor).st_size < _SIZE:
                        os.ftruncate(descriptor, _SIZE)
                    self._map = mmap.mmap(descriptor, _SIZE)
                finally:
                    os.close(descriptor)  # the mapping keeps the file
        except OSError as error:
            raise StoreError(f"cannot use {self._path}: {error.strerror}") from error
        self._view = memoryview(self._map).cast("Q")

    def __repr__(self) -> str:
        return f"<Generation {self._path}>"

    def current(self) -> int:
        """The number now, as any process left it."""
        return self._view[0]

    def bump(self) -> None:
        """Tell every process that the keys have changed. Call it after the commit."""
        try:
            with file_lock(self._path):
                self._view[0] = (self._view[0] + 1) % _WRAP
        except OSError as error:
            raise StoreError(f"cannot use {self._path}: {error.strerror}") from error

    def close(self) -> None:
        """Give the mapping back; `current()` raises ValueError from then on."""
        self._view.release()
        self._map.close()
