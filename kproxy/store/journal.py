"""The one way into the ledger: receipts in from the request path, rows in SQLite out.

1. `append` is synchronous and hands the receipt to the kernel (spool.py). It comes before the last
   byte of the answer, so that no answer ends well whose receipt a `kill -9` could take.
2. With `ledger = "strict"`, `durable` comes between the two: many answers share one fsync.
3. One owned task moves the spool into the database in groups (mover.py), in a worker thread, and
   takes over what dead processes have left.
4. Another keeps a spare segment reserved. Where it cannot, and the present one fills up, the
   journal is not `healthy`, and new paid calls are refused; those under way still have their room.
5. A receipt that the kernel refuses is kept in memory and offered again. The journal is not healthy
   while there is one.

The file is the queue: while the database is locked or broken, receipts wait on the disk, and what
bounds them is the room there.
"""

import logging
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec
import trio

from kproxy.schema.receipt import Receipt
from kproxy.store.books import Books
from kproxy.store.database import Database, StoreError, open_database
from kproxy.store.mover import Mover
from kproxy.store.spool import SPOOL_DIRECTORY, Spool, open_spool

__all__ = ["Journal", "JournalParams", "JournalStatistics", "open_journal"]

log = logging.getLogger("kproxy.journal")

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class JournalParams:
    """Sizes in bytes, times in seconds.

    Of a `segment` three quarters stay reserved for the requests under way: 6,000 receipts of 2 kB.
    `interval` is how long rows gather before they are moved. `probe` is between two tries of what
    has failed, `adopt` between two looks for dead processes. `patience` is how long an fsync may
    take, `held` how many receipts are kept that the kernel has refused, `longest` how long one may
    be.
    """

    strict: bool = False
    segment: int = 16_777_216
    interval: float = 1.0
    probe: float = 1.0
    adopt: float = 5.0
    patience: float = 10.0
    held: int = 10_000
    longest: int = 1_048_576


class JournalStatistics(NamedTuple):
    """`moved`: rows, since the start. `unmoved`: bytes. `held`: receipts in memory only."""

    moved: int
    unmoved: int
    held: int
    healthy: bool


class SyncRound:
    """One fsync and those who wait for it."""

    __slots__ = ("done", "error")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.error: StoreError | None = None


class Journal:
    """`run` is its task, and `close` comes after its end. All calls are on trio's thread."""

    def __init__(self, spool: Spool, database: Database, params: JournalParams) -> None:
        self._spool = spool
        self._database = database
        self._params = params
        self._mover = Mover(Books(database), spool)
        self._held: deque[bytes] = deque()
        self._news = trio.Event()  # something may be moved
        self._short = trio.Event()  # the spare is used up, or a receipt is held
        self._wanted = trio.Event()  # somebody waits for the disk
        self._round = SyncRound()
        self._troubles: set[str] = set()
        self._threads = trio.CapacityLimiter(3)  # its own: readers must not keep it waiting

    def __repr__(self) -> str:
        return f"<Journal {self._spool!r} {len(self._held)} held>"

    @property
    def strict(self) -> bool:
        """Whether an answer waits for `durable` before it ends."""
        return self._params.strict

    @property
    def healthy(self) -> bool:
        """Whether a receipt of a request that is let in now will find its room."""
        return self._spool.ready and not self._held

    def statistics(self) -> JournalStatistics:
        """See the class."""
        return JournalStatistics(
            self._mover.rows, self._spool.unmoved, len(self._held), self.healthy
        )

    def append(self, receipt: Receipt) -> None:
        """Hand a receipt to the kernel, in some microseconds.

        Raises StoreError where the kernel has not taken it: then it is kept in memory and written
        as soon as it can be, and an answer must not end as if it were accounted for. One that is
        longer than `longest` is not kept.
        """
        body = _encode(receipt)
        if len(body) > self._params.longest:
            raise StoreError(f"a receipt of {len(body)} bytes is too long")
        try:
            if self._held:
                raise StoreError("receipts are waiting for room")
            self._spool.append(body)
        except StoreError as error:
            if len(self._held) >= self._params.held:
                raise StoreError(f"a receipt is lost: {error}") from error
            self._held.append(body)
            self._short.set()
            raise
        self._news.set()
        if not self._spool.has_spare:
            self._short.set()

    async def durable(self) -> None:
        """Return when the disk has everything that was appended before. Raises StoreError."""
        waiting = self._round
        self._wanted.set()
        with trio.move_on_after(self._params.patience):
            await waiting.done.wait()
        if not waiting.done.is_set():
            raise StoreError(f"the disk has not answered for {self._params.patience} s")
        if waiting.error is not None:
            raise StoreError(str(waiting.error)) from waiting.error

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Reserve, move and sync, until cancelled; started as soon as there is a spare segment."""
        await self._reserve()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_room)
            nursery.start_soon(self._keep_moving)
            nursery.start_soon(self._keep_syncing)
            task_status.started()
        raise AssertionError("none of these ends by itself")

    def close(self) -> None:
        """Move what is left, delete empty files, close the database. Blocks; `run` is over.

        What cannot be moved stays in the spool for the next process.
        """
        try:
            self._offer_held()
        except StoreError as error:
            log.error("%d receipts are lost: %s", len(self._held), error)
        try:
            self._mover.finish()
        except StoreError as error:
            log.error("receipts stay in %s for the next start: %s", self._spool.directory, error)
        self._spool.close()
        self._database.close()

    async def _keep_room(self) -> NoReturn:
        while True:
            await self._short.wait()
            self._short = trio.Event()
            await self._reserve()
            if not (self._spool.has_spare and self.healthy):
                await trio.sleep(self._params.probe)
                self._short.set()

    async def _reserve(self) -> None:
        try:
            await trio.to_thread.run_sync(self._spool.reserve, limiter=self._threads)
            self._offer_held()
        except StoreError as error:
            self._trouble("there is no room for more receipts", error)
        else:
            self._over("there is no room for more receipts")

    def _offer_held(self) -> None:
        while self._held:
            self._spool.append(self._held[0])
            self._held.popleft()
            self._news.set()

    async def _keep_moving(self) -> NoReturn:
        look_again = trio.current_time()
        while True:
            with trio.move_on_at(look_again):
                await self._news.wait()
            self._news = trio.Event()
            try:
                if trio.current_time() >= look_again:
                    look_again = trio.current_time() + self._params.adopt
                    await trio.to_thread.run_sync(self._mover.adopt, limiter=self._threads)
                await trio.to_thread.run_sync(self._mover.move, limiter=self._threads)
            except StoreError as error:
                self._trouble("receipts wait in the spool", error)
                self._news.set()
                await trio.sleep(self._params.probe)
            else:
                self._over("receipts wait in the spool")
                await trio.sleep(self._params.interval)

    async def _keep_syncing(self) -> NoReturn:
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            # Whoever comes from here on may have appended too late for this one.
            present, self._round = self._round, SyncRound()
            present.error = StoreError("the journal is being closed")  # unless the sync says more
            try:
                await trio.to_thread.run_sync(self._spool.sync, limiter=self._threads)
                present.error = None
            except StoreError as error:
                present.error = error
                self._trouble("the disk has failed", error)
                # What it has failed to keep is moved and synced once more, from memory.
                self._spool.rotate()
                self._short.set()
                self._news.set()
            else:
                self._over("the disk has failed")
            finally:
                present.done.set()

    def _trouble(self, what: str, error: StoreError) -> None:
        """Say it once, until it is over."""
        if what not in self._troubles:
            self._troubles.add(what)
            log.error("%s: %s", what, error)

    def _over(self, what: str) -> None:
        if what in self._troubles:
            self._troubles.discard(what)
            log.warning("over: %s", what)


def open_journal(directory: Path, params: JournalParams) -> Journal:
    """The journal of a data directory, which is made as needed; the caller closes it.

    One for each process, opened after a fork. Raises StoreError.
    """
    database = open_database(directory)
    try:
        spool = _open_spool(directory / SPOOL_DIRECTORY, database, params.segment)
    except StoreError:
        database.close()
        raise
    return Journal(spool, database, params)


def _open_spool(directory: Path, database: Database, size: int) -> Spool:
    try:
        return open_spool(directory, size)
    except StoreError as error:
        # What dead processes have left may be what fills the disk; in the database it is smaller.
        try:
            Mover(Books(database), Spool(directory, (), size)).adopt()
        except StoreError:
            raise error from None
        return open_spool(directory, size)
