"""Sentences that users said in, those that belong to a question out; SQLite and its FTS5.

1. A memory belongs to an account and to the `user` that it names for itself. Every question is for
   one such owner: its digest is a word of the index, so that the index alone finds nobody else's,
   and the rows are compared once more.
2. There are at most `most` of an owner; the oldest goes first. What is said again is newer, not
   twice. Of a topic (a name, a home) there is one, the newest.
3. Words are matched by stem and ranked by bm25, which FTS5 has. Nothing is sent anywhere.
4. The connection is opened at the first question: who never asks pays nothing. Everything that
   touches the database runs in one worker thread at a time, and waits for it no longer than
   `patience`.
5. What is deleted is overwritten: in the rows by `secure_delete`, in the index by SQLite's own from
   3.42 on, and before that by writing the index anew when a caller has deleted something.
"""

import hashlib
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import trio

from kproxy.store.database import Database, Row, StoreError, open_database

__all__ = ["Memories", "MemoriesParams", "Memory", "MemoryPage", "Owner", "Recalled", "Said"]

_INDEX = """CREATE VIRTUAL TABLE IF NOT EXISTS memory_text USING fts5
    (owner, text, content = 'memory', content_rowid = 'number', tokenize = 'porter unicode61')"""
_FIND = """SELECT m.text FROM memory_text JOIN memory AS m ON m.number = memory_text.rowid
    WHERE memory_text MATCH ? AND m.owner = ? AND m.account_id = ? AND m.user = ?
    ORDER BY bm25(memory_text, 0.0, 1.0), m.number DESC LIMIT ?"""
_AGAIN = "UPDATE memory SET created_at = ? WHERE owner = ? AND text = ?"
_KEEP = """INSERT INTO memory (id, account_id, user, owner, topic, text, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_INDEXED = """INSERT INTO memory_text (rowid, owner, text)
    SELECT number, owner, text FROM memory WHERE id = ?"""
_OLD = """SELECT number, owner, text FROM memory WHERE owner = ?
    ORDER BY created_at DESC, number DESC LIMIT -1 OFFSET ?"""
_PAGE = """SELECT id, user, text, created_at FROM memory WHERE account_id = ?
    AND (? IS NULL OR user = ?) AND number < ? ORDER BY number DESC LIMIT ?"""
_FIRST = 1 << 62  # above every number
_SECURE = (3, 42, 0)  # the SQLite whose index can overwrite what is deleted

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class MemoriesParams:
    """`most` memories of one owner, `recalled` of them for one question; seconds that a question
    may wait for its turn."""

    most: int = 200
    recalled: int = 8
    patience: float = 10.0


class Owner(NamedTuple):
    """Whose memories. `user` is the account's own name, empty where it gives none."""

    account_id: str
    user: str

    @property
    def digest(self) -> str:
        """One word that stands for both."""
        account = self.account_id.encode()  # holds no NUL, so no two owners are written alike
        return hashlib.sha256(account + b"\0" + self.user.encode()).hexdigest()


class Said(NamedTuple):
    """A sentence to remember; `topic` None: of nothing that there is one of."""

    text: str
    topic: str | None = None


class Recalled(NamedTuple):
    """Sentences, the best first, and how many were kept beside."""

    texts: Sequence[str]
    kept: int


class Memory(NamedTuple):
    """One memory. `created_at` is Unix seconds."""

    id: str
    user: str
    text: str
    created_at: float


class MemoryPage(NamedTuple):
    """Some memories, the newest first; `more`: there are others behind them."""

    memories: Sequence[Memory]
    more: bool


class Memories:
    """See the module. `close` comes after the last question."""

    def __init__(self, directory: Path, params: MemoriesParams) -> None:
        self._directory = directory
        self._params = params
        self._database: Database | None = None
        self._turn = trio.CapacityLimiter(1)

    def __repr__(self) -> str:
        return f"<Memories {'closed' if self._database is None else self._database}>"

    async def recall(
        self, owner: Owner, words: Sequence[str], said: Sequence[Said], now: float
    ) -> Recalled:
        """What belongs to these words, and then keep what was said. Raises StoreError."""
        return await self._ask(lambda db: self._recall(db, owner, words, said, now))

    async def page(
        self, account_id: str, user: str | None, limit: int, after: str | None
    ) -> MemoryPage | None:
        """Memories of an account, of one user where one is named, behind the memory `after`; None:
        there is no such one. Raises StoreError."""
        return await self._ask(lambda db: _page(db, account_id, user, limit, after))

    async def forget(self, account_id: str, memory_id: str) -> bool:
        """Delete one; whether it was there. Raises StoreError."""
        where = "account_id = ? AND id = ?"
        return await self._ask(lambda db: _forget(db, where, account_id, memory_id)) > 0

    async def forget_all(self, account_id: str, user: str | None) -> int:
        """Delete all of an account, or of one user; how many there were. Raises StoreError."""
        where = "account_id = ? AND ifnull(user = ?, true)"
        return await self._ask(lambda db: _forget(db, where, account_id, user))

    def close(self) -> None:
        """Give everything back. Blocks."""
        if self._database is not None:
            self._database.close()

    async def _ask(self, question: Callable[[Database], Value]) -> Value:
        """In a thread, one at a time; one that has begun is not given up."""
        with trio.move_on_after(self._params.patience):
            return await trio.to_thread.run_sync(
                lambda: question(self._opened()), limiter=self._turn
            )
        raise StoreError("the store of memories is busy")

    def _opened(self) -> Database:
        if self._database is None:
            database = open_database(self._directory)
            try:
                database.execute("PRAGMA secure_delete = ON")
                database.execute(_INDEX)
                if sqlite3.sqlite_version_info >= _SECURE:
                    database.execute(
                        "INSERT INTO memory_text (memory_text, rank) VALUES ('secure-delete', 1)"
                    )
            except StoreError:
                database.close()
                raise
            self._database = database
        return self._database

    def _recall(
        self,
        database: Database,
        owner: Owner,
        words: Sequence[str],
        said: Sequence[Said],
        now: float,
    ) -> Recalled:
        texts: list[str] = []
        if words:
            asked = (_match(owner, words), owner.digest, owner.account_id, owner.user)
            rows = database.query(_FIND, (*asked, self._params.recalled))
            texts = [str(text) for (text,) in rows]
        if said:
            with database.transaction():
                for one in said:
                    _keep(database, owner, one, now)
                old = database.query(_OLD, (owner.digest, self._params.most))
                _delete(database, old)
        return Recalled(texts, len(said))


def _match(owner: Owner, words: Sequence[str]) -> str:
    """An expression of FTS5. A quoted string is words to it, whatever stands in there."""
    quoted = " OR ".join('"{}"'.format(word.replace('"', "")) for word in words)
    return f'owner : "{owner.digest}" AND text : ({quoted})'


def _keep(database: Database, owner: Owner, said: Said, now: float) -> None:
    digest = owner.digest
    if database.execute(_AGAIN, (now, digest, said.text)):
        return
    if said.topic is not None:
        before = "SELECT number, owner, text FROM memory WHERE owner = ? AND topic = ?"
        _delete(database, database.query(before, (digest, said.topic)))
    memory_id = "mem_" + secrets.token_hex(12)
    row = (memory_id, owner.account_id, owner.user, digest, said.topic, said.text, now)
    database.execute(_KEEP, row)
    database.execute(_INDEXED, (memory_id,))


def _delete(database: Database, rows: Sequence[Row]) -> None:
    """Number, owner and text of each, in a transaction: the index has to be told its words."""
    database.execute_many(
        "INSERT INTO memory_text (memory_text, rowid, owner, text) VALUES ('delete', ?, ?, ?)", rows
    )
    database.execute_many("DELETE FROM memory WHERE number = ?", [row[:1] for row in rows])


def _forget(database: Database, where: str, *values: str | None) -> int:
    with database.transaction():
        # `where` is one of the two above.
        found = f"SELECT number, owner, text FROM memory WHERE {where}"  # noqa: S608
        rows = database.query(found, values)
        _delete(database, rows)
        if rows and sqlite3.sqlite_version_info < _SECURE:
            database.execute("INSERT INTO memory_text (memory_text) VALUES ('optimize')")
    return len(rows)


def _page(
    database: Database, account_id: str, user: str | None, limit: int, after: str | None
) -> MemoryPage | None:
    before = _FIRST
    if after is not None:
        found = "SELECT number FROM memory WHERE account_id = ? AND id = ?"
        rows = database.query(found, (account_id, after))
        if not rows:
            return None
        before = int(rows[0][0] or 0)
    rows = database.query(_PAGE, (account_id, user, user, before, limit + 1))
    memories = [
        Memory(str(ident), str(owner), str(text), float(created or 0))
        for ident, owner, text, created in rows[:limit]
    ]
    return MemoryPage(memories, len(rows) > limit)
