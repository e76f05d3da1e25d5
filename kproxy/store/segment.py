"""One spool file: records in by `write`, records out by `read_batch`, whoever wrote them.

1. A record is one line: eight hexadecimal digits of CRC-32, a space, the JSON, a line end. A line
   whose sum is wrong is no record: a torn tail, or a page that a power cut has eaten.
2. The file is made at its full size, in blocks that the disk has already given (`posix_fallocate`).
   What is not written yet is NUL, and never lacks room later.
3. Whoever may write or move a file holds its lock, which the kernel frees when they die. Files are
   made, and dead ones taken over, under the lock of the directory, so nobody sees one in between.
4. A name is random: the order of receipts is in the receipts.

Works on this machine's own disks, as SQLite's WAL does. A fork would share the lock: open spools
after it.
"""

import errno
import fcntl
import os
import secrets
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from kproxy.store.database import StoreError, file_lock

__all__ = ["Batch", "Segment", "adopt_segments", "create_segment", "read_batch", "segment_names"]

SUFFIX = ".spool"
DAMAGED = ".damaged"
_LOCK_NAME = "lock"
_PREFIX = 9  # bytes before the JSON
_FRAME = _PREFIX + 1  # and the line end
_NUL = b"\0"


class Segment:
    """An open, locked spool file. `close` or `remove` ends it; whoever made or adopted it does.

    `written` is where the next record goes, `moved` how much needs no more moving, in bytes.
    """

    __slots__ = ("damaged", "descriptor", "failed", "moved", "path", "size", "synced", "written")

    def __init__(self, path: Path, descriptor: int, size: int, written: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.size = size
        self.written = written
        self.synced = 0
        self.moved = 0
        self.damaged = 0  # records that could not be read
        self.failed = False  # the disk refused to sync it

    def __repr__(self) -> str:
        return f"<Segment {self.path.name} {self.moved}/{self.written}/{self.size}>"

    @property
    def name(self) -> str:
        """Its name in the directory, and in the table of positions."""
        return self.path.name

    @property
    def room(self) -> int:
        """Bytes for further records."""
        return self.size - self.written

    def fits(self, body: bytes) -> bool:
        """Whether there is room for this record, on a disk that has not failed."""
        return not self.failed and len(body) + _FRAME <= self.size - self.written

    def write(self, body: bytes) -> None:
        """Hand one record to the kernel; it survives our death. Raises StoreError.

        After an error the next record takes the same place.
        """
        record, start = b"%08x %b\n" % (zlib.crc32(body), body), self.written
        try:
            taken = os.pwrite(self.descriptor, record, start)
        except OSError as error:
            raise _store_error(self.path, error) from error
        if taken != len(record):
            raise StoreError(f"{self.path}: took {taken} of {len(record)} bytes")
        self.written = start + taken

    def sync(self) -> None:
        """Wait until the disk has what is written now. Raises StoreError.

        A file that has failed once fails for good: the kernel forgets what it could not write, and
        would say the next time that all is well.
        """
        written = self.written
        if self.failed:
            raise StoreError(f"{self.path}: the disk has failed to keep it")
        if self.synced == written:
            return
        try:
            os.fdatasync(self.descriptor)
        except OSError as error:
            self.failed = True
            raise _store_error(self.path, error) from error
        self.synced = written

    def close(self) -> None:
        """Give the file and its lock back; somebody else may take it over."""
        os.close(self.descriptor)

    def remove(self) -> None:
        """Everything in it is elsewhere: delete it, or keep a damaged one for people to look at."""
        try:
            if self.damaged:
                self.path.rename(self.path.with_suffix(DAMAGED))
            else:
                self.path.unlink()
        except OSError as error:
            raise _store_error(self.path, error) from error
        finally:
            os.close(self.descriptor)


class Batch(NamedTuple):
    """Records in their order, and `end`, the offset behind them.

    `damaged`: how many lines are no records.
    """

    bodies: list[bytes]
    end: int
    damaged: int


def create_segment(directory: Path, size: int) -> Segment:
    """A new spool file of `size` bytes, all of them the disk's. Raises StoreError."""
    path = directory / f"{secrets.token_hex(8)}{SUFFIX}"
    try:
        with file_lock(directory / _LOCK_NAME):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            os.posix_fallocate(descriptor, 0, size)
            os.fsync(descriptor)
            _sync_directory(directory)
        except BaseException:
            path.unlink()
            os.close(descriptor)
            raise
    except OSError as error:
        raise _store_error(path, error) from error
    return Segment(path, descriptor, size, 0)


def adopt_segments(directory: Path, own: Collection[str], most: int) -> list[Segment]:
    """Spool files whose process has died, at most `most`, locked for us. Raises StoreError.

    Files named in `own` are left out. All of an adopted file counts as written.
    """
    found: list[Segment] = []
    try:
        with file_lock(directory / _LOCK_NAME):
            for name in segment_names(directory):
                if name in own:
                    continue
                segment = _take_over(directory / name)
                if segment is not None:
                    found.append(segment)
                if len(found) == most:
                    break
    except OSError as error:
        for segment in found:
            segment.close()
        raise _store_error(directory, error) from error
    return found


def segment_names(directory: Path) -> list[str]:
    """The spool files of a directory, whoever holds them; none where it does not exist."""
    try:
        return sorted(name for name in os.listdir(directory) if name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


def read_batch(descriptor: int, start: int, stop: int, size: int) -> Batch:
    """Records from `start`, a batch's `end`, up to `stop`; about `size` bytes at a time.

    `end` is `stop` when nothing is left. Raises OSError.
    """
    while True:
        data = os.pread(descriptor, min(size, stop - start), start)
        cut = data.rfind(b"\n") + 1
        last = start + len(data) >= stop or not data
        if cut or last or not data.strip(_NUL):
            break
        size *= 2  # one record is longer than that
    bodies: list[bytes] = []
    damaged = at = 0
    while at < cut:
        line_end = data.index(b"\n", at)
        if not data[at]:
            at = line_end - len(data[at:line_end].lstrip(_NUL))
        body = data[at + _PREFIX : line_end]
        if data[at : at + _PREFIX] == b"%08x " % zlib.crc32(body):
            bodies.append(body)
        elif at < line_end:
            damaged += 1
        at = line_end + 1
    # At the end of all, what has no line end is torn: nobody was told that it was written.
    begun = bool(data[cut:].strip(_NUL)) and not last
    end = start + (cut if begun else len(data))
    return Batch(bodies, stop if last else end, damaged)


def _take_over(path: Path) -> Segment | None:
    """None: it is gone, or its process lives."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    status = os.fstat(descriptor)
    if status.st_nlink == 0:  # its process has just removed it
        os.close(descriptor)
        return None
    return Segment(path, descriptor, status.st_size, status.st_size)


def _sync_directory(directory: Path) -> None:
    """A file that nobody finds after a power cut is as good as none."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _store_error(path: Path, error: OSError) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"{path}: no room for receipts: {error.strerror}")
    return StoreError(f"{path}: {error.strerror or type(error).__name__}")
