"""A name in; whether this process alone may work for it, among all that share a data directory.

A row that says who works for a name outlives its owner, and then somebody has to find out whether
that process still lives. A lock on a byte of a file does not: the kernel frees it when the process
ends, however it ends. The byte is chosen by the name, far past the end of a file that stays empty;
two names on one byte (1 in 2^62) would only wait for each other.

The locks are open file description locks (`F_OFD_SETLK` in fcntl(2)), for the reasons in cells.py.
"""

import errno
import fcntl
import os
import struct
from pathlib import Path

from kproxy.store.database import StoreError

__all__ = ["Claims"]

FILE_NAME = "kproxy.claims"
_FLOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid
_TAKEN = frozenset({errno.EAGAIN, errno.EACCES})


class Claims:
    """The claims of one process. Raises StoreError. `close()` gives up all of them.

    Within the process a name is claimed once at a time: a second claim would be let in as well.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot use {self.path}: {error.strerror}") from error

    def __repr__(self) -> str:
        return f"<Claims {self.path}>"

    def take(self, name: bytes) -> bool:
        """Claim a name of 8 random bytes or more; False while another process has it."""
        try:
            self._lock(fcntl.F_WRLCK, name)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise StoreError(f"{self.path}: {error.strerror}") from error
        return True

    def give(self, name: bytes) -> None:
        """Give a name up."""
        self._lock(fcntl.F_UNLCK, name)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _lock(self, kind: int, name: bytes) -> None:
        place = int.from_bytes(name[:8], "big") >> 2
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, place, 1, 0))
