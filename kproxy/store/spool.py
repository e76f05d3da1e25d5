"""Receipts as JSON go in, and are in the kernel's hands when `append` returns.

Problem: a finished response must have left its receipt where `kill -9` cannot reach it, before its
last byte leaves. A commit to SQLite does that, and costs a request 200 us and a lock that all
processes share; a queue in memory costs nothing and loses what a kill finds in it.

Our way: one `pwrite` to a file of our own. What the kernel has taken survives the process, and the
journal moves it into SQLite in groups. A power cut may take the last seconds; `sync` closes that
gap for those who wait for it.

A full disk must be told before a request is let in, not when its receipt is to be written. So a
spool writes only where blocks are its own already: into the current segment, and when that is full
into a spare one of the same size. It is `ready` while three quarters of a segment are left in both
together, for the requests under way when the disk runs full. Not only while there is a spare: one
takes milliseconds to make, and a busy server would refuse requests each time one is used up.

What we do not do: share a file between processes (their appends would need a lock each), or map it
(a store past the end of a truncated file is SIGBUS, and a failing disk kills the process).
"""

import threading
from contextlib import suppress
from pathlib import Path

from kproxy.store.database import StoreError
from kproxy.store.segment import Segment, create_segment

__all__ = ["SPOOL_DIRECTORY", "Spool", "open_spool"]

SPOOL_DIRECTORY = "spool"
"""Where it is in the data directory."""


class Spool:
    """The spool of one process. What blocks says so, and may run in another thread than the rest.

    Owns its segments: `retire` and `close` end them.
    """

    __slots__ = ("_order", "_segments", "_size", "_spare", "_use", "directory")

    def __init__(self, directory: Path, segments: tuple[Segment, ...], size: int) -> None:
        self.directory = directory
        self._segments = segments  # the last one is written to
        self._spare: Segment | None = None
        self._size = size
        self._order = threading.Lock()  # held while `_segments` changes: for no time
        self._use = threading.Lock()  # held while a segment is synced, or ended

    def __repr__(self) -> str:
        return f"<Spool {self.directory} {self._segments!r}>"

    @property
    def ready(self) -> bool:
        """Whether what is under way will find room, however the disk fills up meanwhile."""
        if any(one.failed for one in self._segments):
            return False
        return self._spare is not None or self._segments[-1].room >= 3 * self._size // 4

    @property
    def has_spare(self) -> bool:
        """Whether `reserve` has nothing to do."""
        return self._spare is not None

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What has been written, oldest first; the last one is still written to."""
        return self._segments

    @property
    def unmoved(self) -> int:
        """How many bytes wait to be moved."""
        return sum(segment.written - segment.moved for segment in self._segments)

    def append(self, body: bytes) -> None:
        """Hand one receipt, one line of JSON, to the kernel. Raises StoreError: it has none."""
        segment = self._segments[-1]
        if not segment.fits(body):
            self.rotate()
            segment = self._segments[-1]
            if not segment.fits(body):
                raise StoreError(f"{self.directory}: no room for a receipt of {len(body)} bytes")
        segment.write(body)

    def rotate(self) -> None:
        """Go on in the spare segment, if it is there."""
        if self._spare is not None:
            with self._order:
                self._segments = (*self._segments, self._spare)
            self._spare = None

    def reserve(self) -> None:
        """Make the spare segment if there is none. Blocks. Raises StoreError."""
        if self._spare is None:
            self._spare = create_segment(self.directory, self._size)

    def sync(self) -> None:
        """Wait until the disk has what was appended before. Blocks. Raises StoreError.

        What is retired meanwhile is in the database, which was synced for it.
        """
        for segment in self._segments:
            with self._use:
                if segment in self._segments:
                    segment.sync()

    def retire(self, segment: Segment) -> None:
        """Delete a segment that is not written to any more, and is in the database. Blocks."""
        with self._use:
            with self._order:
                self._segments = tuple(one for one in self._segments if one is not segment)
            segment.remove()

    def close(self) -> None:
        """Delete what is moved, and leave the rest for the next process. Blocks."""
        for segment in (*self._segments, self._spare):
            if segment is None:
                continue
            if segment.moved < segment.written:
                segment.close()
                continue
            with suppress(StoreError):  # one that stays is found, and nothing new in it
                segment.remove()
        self._segments, self._spare = (), None


def open_spool(directory: Path, size: int) -> Spool:
    """A spool in a directory that is made as needed, of segments of `size` bytes.

    The caller closes it. Raises StoreError.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot use {directory}: {error.strerror}") from error
    return Spool(directory, (create_segment(directory, size),), size)
