"""The key store for the event loop: questions in, answers out, off the loop; and last uses.

SQLite blocks, for as long as another process writes. So the loop's own connection only ever reads
(`KeyStore.lookup`), and everything that lists or changes keys goes through this desk: a connection
of its own, served by one worker thread, because a connection serves one thread at a time anyway.

When a key was used is noted in memory, on every request, and written every few seconds by one task
and once more at the end. The map is bounded: while it is full, a use of yet another key is not
noted, and the next one will be. A process that is killed loses the notes of the last seconds.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

import trio

from kproxy.admission.keys import KeyRecord
from kproxy.store.database import StoreError
from kproxy.store.keystore import KeyStore

__all__ = ["KeyDesk", "StoreBusy"]

PATIENCE = 10.0
"""Seconds that a question may wait for its turn; twice what SQLite waits for another writer."""

PAUSE = 2.0
"""Seconds between two writings of last uses."""

LIMIT = 10_000
"""Keys whose use is noted between two writings."""

log = logging.getLogger("kproxy.keystore")

Answer = TypeVar("Answer")


class StoreBusy(StoreError):
    """The desk did not come to a question in time; nothing was asked."""


class KeyDesk:
    """See the module. Owns the store it is given: `close()` writes the last notes and closes it.

    `run` is a task of the composition root's.
    """

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._turn = trio.CapacityLimiter(1)
        self._used: dict[str, int] = {}
        self._failing = False

    def __repr__(self) -> str:
        return f"<KeyDesk {self._store!r} {self.statistics()} uses to write>"

    def statistics(self) -> int:
        """How many keys' last uses are not written yet."""
        return len(self._used)

    async def ask(self, question: Callable[[KeyStore], Answer]) -> Answer:
        """What `question` returns or raises, run in the desk's thread. Raises StoreBusy, too.

        A question that has begun is never abandoned: its answer comes, whoever was cancelled.
        """
        with trio.move_on_after(PATIENCE):
            return await trio.to_thread.run_sync(question, self._store, limiter=self._turn)
        raise StoreBusy("the key store is busy")

    def used(self, key_id: str, now: float) -> None:
        """Note that a key is being used. `now` is Unix seconds."""
        if key_id in self._used or len(self._used) < LIMIT:
            self._used[key_id] = int(now)

    def last_used(self, record: KeyRecord) -> int | None:
        """When the key was last used, as far as this process knows, in Unix seconds."""
        noted, stored = self._used.get(record.key_id), record.last_used_at
        if noted is None or stored is None:
            return stored if noted is None else noted
        return max(noted, stored)

    async def run(self) -> None:
        """Write last uses, until cancelled."""
        while True:
            await trio.sleep(PAUSE)
            await self._write()

    def close(self) -> None:
        """Write what is noted, blocking, and close the store."""
        try:
            if self._used:
                self._store.write_last_use(self._used)
        except StoreError as error:
            log.warning("when keys were last used is lost: %s", error)
        self._store.close()

    async def _write(self) -> None:
        if not self._used:
            return
        batch, self._used = self._used, {}
        try:
            await self.ask(lambda store: store.write_last_use(batch))
            batch, self._failing = {}, False
        except StoreError as error:
            if not self._failing:  # once, and not every few seconds
                log.warning("when keys were last used cannot be written yet: %s", error)
            self._failing = True
        finally:
            self._used = batch | self._used
