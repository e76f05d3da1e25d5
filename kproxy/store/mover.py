"""Spool files in, rows in SQLite out: the part of the journal that blocks, for one worker thread.

A file is read from where it has been moved to, in groups of one transaction each. The thread that
appends may go on meanwhile: only what lies below `written` is read. Files of processes that have
died are taken over, moved to their end and deleted.
"""

import logging

from kproxy.store.books import Books
from kproxy.store.database import StoreError
from kproxy.store.segment import Segment, adopt_segments, read_batch
from kproxy.store.spool import Spool

__all__ = ["Mover"]

GROUP = 524_288
"""Bytes of one transaction: some hundred receipts. Whoever else writes waits for 10 ms or so."""

ADOPTED_AT_ONCE = 16
"""Open files; the rest has its turn the next time."""

log = logging.getLogger("kproxy.journal")


class Mover:
    """Moves one process's spool, and those of dead ones. Owns neither argument."""

    __slots__ = ("_books", "_spool", "rows")

    def __init__(self, books: Books, spool: Spool) -> None:
        self._books = books
        self._spool = spool
        self.rows = 0  # moved so far

    def move(self) -> None:
        """Move what the spool holds now and delete what is full and moved. Raises StoreError."""
        segments = self._spool.segments
        for segment in segments:
            self._move(segment)
        for segment in segments[:-1]:
            self._settle(segment)
            self._spool.retire(segment)

    def finish(self) -> None:
        """Move everything: nothing is appended any more. Raises StoreError."""
        for segment in self._spool.segments:
            self._move(segment)
            self._settle(segment)

    def adopt(self) -> None:
        """Move and delete the files that dead processes have left. Raises StoreError."""
        own = {segment.name for segment in self._spool.segments}
        found = adopt_segments(self._spool.directory, own, ADOPTED_AT_ONCE)
        try:
            while found:
                segment = found[-1]
                segment.moved = min(self._books.moved(segment.name), segment.size)
                self._move(segment)
                self._settle(segment)
                found.pop().remove()
        finally:
            for segment in found:
                segment.close()

    def _move(self, segment: Segment) -> None:
        stop = segment.written
        while segment.moved < stop:
            try:
                batch = read_batch(segment.descriptor, segment.moved, stop, GROUP)
            except OSError as error:
                raise StoreError(f"{segment.path}: {error.strerror}") from error
            unreadable = 0
            if batch.bodies:
                unreadable = self._books.post(segment.name, batch.bodies, batch.end)
            segment.damaged += batch.damaged + unreadable
            segment.moved = batch.end
            self.rows += len(batch.bodies) - unreadable

    def _settle(self, segment: Segment) -> None:
        """The database has all of it, safely: the file may go."""
        self._books.forget(segment.name)
        if segment.damaged:
            log.error(
                "%s: %d records are no receipts; the file is kept as .damaged",
                segment.path,
                segment.damaged,
            )
