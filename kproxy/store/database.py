"""A data directory in, an open SQLite database at the newest schema out.

1. The directory is made with mode 0700 and the file with 0600: it says who may spend money.
2. WAL with synchronous=NORMAL: a killed process loses nothing that was committed; a power cut may
   lose the last commits (reliability.md 1.3).
3. Migrations are numbered files in the package, each in a transaction of its own, all under one
   lock on a file, so that processes that start together do it once. They only ever add: an older
   kproxy that is still running beside a newer one keeps working.
4. A database that is newer than this code is refused by name.

One `Database` is one connection. It may be used from any thread, one at a time, but never across a
fork: a worker process opens its own.
"""

import errno
import fcntl
import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from kproxy.errors import KproxyError

__all__ = [
    "Database",
    "Migration",
    "Row",
    "StoreError",
    "Value",
    "file_lock",
    "migrations",
    "open_database",
]

FILE_NAME = "kproxy.db"
_LOCK_NAME = "kproxy.lock"
_BUSY_TIMEOUT_MS = 5_000  # SQLite's own default is 0: the second writer would fail at once
_PAGE = 16_384  # of SQLite's 4,096 one holds one receipt of 2 kB, or two, and costs four calls each
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")

Value = str | bytes | int | float | None
Row = tuple[Value, ...]


class StoreError(KproxyError):
    """What is stored cannot be read or written; the message says what and where, on one line."""


class Migration(NamedTuple):
    """One numbered file of SQL."""

    number: int
    name: str
    sql: str


class Database:
    """An open database. `close()` ends it; whoever opened it closes it.

    Every method raises StoreError for whatever SQLite cannot do.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<Database {self.path}>"

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens, or nothing does. Other processes' writers wait outside.

        Does not nest: the inner one would commit the outer one's half.
        """
        with self._lock, self._named():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                # Undone, whatever the reason was; after some errors SQLite has done it already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All queries inside see the same moment, whatever is written meanwhile. Does not nest."""
        with self._lock, self._named():
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def execute(self, sql: str, values: Sequence[Value] = ()) -> int:
        """Run one statement with its parameters; how many rows it changed."""
        with self._lock, self._named():
            return self._connection.execute(sql, values).rowcount

    def execute_many(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        """Run one statement for each row of parameters, all of them inside a `transaction`."""
        with self._lock, self._named():
            self._connection.executemany(sql, rows)

    def query(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """Every row of one SELECT with its parameters."""
        with self._lock, self._named():
            return self._connection.execute(sql, values).fetchall()

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _store_error(self.path, error) from error


def open_database(directory: Path) -> Database:
    """The database of a data directory, made and migrated as needed.

    Raises StoreError when the directory cannot be written, the file is no database of ours, or a
    newer kproxy has written it. The caller closes the result.
    """
    path = directory / FILE_NAME
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file_lock(directory / _LOCK_NAME):
            _make(path)
            connection = _connect(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreError(
            f"cannot use the data directory {directory}: {error.filename or path}: {reason}"
        ) from error
    except sqlite3.Error as error:
        raise _store_error(path, error) from error
    return Database(path, connection)


def migrations() -> tuple[Migration, ...]:
    """The package's migrations in order. Raises StoreError when the numbers have a gap."""
    found = []
    for entry in _MIGRATIONS.iterdir():
        match = _MIGRATION.fullmatch(entry.name)
        if match:
            found.append(Migration(int(match[1]), entry.name, entry.read_text("utf-8")))
    found.sort()
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise StoreError("this installation of kproxy is damaged: its migrations are incomplete")
    return tuple(found)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; waits for it, and the kernel frees it on death."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(path: Path) -> None:
    """An empty file of mode 0600 where there is none; SQLite gives -wal and -shm the same mode.

    One that is there is not even opened: to close a descriptor of a file gives up every POSIX lock
    that this process has on it, another connection's too (SQLite, How To Corrupt, section 2.2).
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _connect(path: Path) -> sqlite3.Connection:
    # isolation_level=None: the module's own implicit transactions stay out of the way.
    connection = sqlite3.connect(
        path, timeout=_BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
    )
    try:
        version = _version(connection)
        newest = migrations()
        if version > len(newest):
            raise StoreError(
                f"{path} was written by a newer kproxy: its schema is {version}, "
                f"and this kproxy knows {len(newest)}"
            )
        # Of a new file only: one that is there keeps its own.
        connection.execute(f"PRAGMA page_size = {_PAGE:d}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        for migration in newest[version:]:
            _apply(connection, migration)
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    """Run one migration and raise the version with it, or do neither."""
    connection.execute("BEGIN EXCLUSIVE")
    try:
        # executescript() would commit first, so the statements are run one by one.
        for statement in _statements(migration.sql):
            connection.execute(statement)
        # PRAGMA takes no parameters; the number is an int of ours.
        connection.execute(f"PRAGMA user_version = {migration.number:d}")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _statements(sql: str) -> Iterator[str]:
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def _store_error(path: Path, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_NOTADB:
        return StoreError(f"{path} is not a database")
    if code == sqlite3.SQLITE_CORRUPT:
        return StoreError(f"{path} is damaged: {error}")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return StoreError(f"{path} cannot be written: {error}")
    return StoreError(f"{path}: {error}")
