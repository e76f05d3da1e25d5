"""Receipts go into the tables of migration `ledger`, each exactly once.

Everything that a group of receipts changes happens in one transaction: their rows, the sums by
minute and by day, and how far the spool has been moved. A group whose commit we did not live to see
is moved again by whoever takes the spool over; a receipt whose id is there already is left out, so
nothing is counted twice.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import NamedTuple, TypeAlias

import msgspec

from kproxy.ledger.rollup import DAY, MINUTE, Counts, Place, Rollup
from kproxy.schema.receipt import Receipt
from kproxy.store.database import Database, Value

__all__ = ["Books", "known"]

_INTO = (
    "INSERT INTO receipt (id, account_id, key_id, arrived, asked, model, provider, status,"
    " cost, savings, policy_version, body) VALUES "
)
_ROW = f"({', '.join('?' * 12)})"
_RECEIPT = _INTO + _ROW
_AT_ONCE = 64
# One statement for many rows: the worker thread gives the interpreter back, and waits for it, once
# for each, and the thread of the requests as often.
_RECEIPTS = _INTO + ", ".join([_ROW] * _AT_ONCE)
_KNOWN = "SELECT id FROM receipt WHERE id IN (SELECT value FROM json_each(?))"
_MOVED = (
    "INSERT INTO spool (name, moved) VALUES (?, ?)"
    " ON CONFLICT (name) DO UPDATE SET moved = excluded.moved"
)
_COLUMNS = (*Place._fields, *Counts._fields)  # the tables' own names
_SUM = (
    f" ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' for _ in _COLUMNS)})"
    f" ON CONFLICT ({', '.join(Place._fields)}) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in Counts._fields)
)
_SUM_MINUTE = f"INSERT INTO usage_minute{_SUM}"
_SUM_DAY = f"INSERT INTO usage_day{_SUM}"

Rows: TypeAlias = list[tuple[Value, ...]]


class Entry(NamedTuple):
    """What is written of a group: parameters of _RECEIPT by id, of _SUM_MINUTE and of _SUM_DAY."""

    rows: dict[str, tuple[Value, ...]]
    minutes: Rows
    days: Rows
    unreadable: int


class Books:
    """The writing side of the ledger's tables. Raises StoreError; owns nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._decode = msgspec.json.Decoder(Receipt).decode

    def __repr__(self) -> str:
        return f"<Books {self._database.path}>"

    def moved(self, spool: str) -> int:
        """How many bytes of that spool file are in the tables."""
        rows = self._database.query("SELECT moved FROM spool WHERE name = ?", (spool,))
        return int(rows[0][0] or 0) if rows else 0

    def post(self, spool: str, bodies: Sequence[bytes], end: int) -> int:
        """Enter receipts from a spool file, and that it is moved up to `end`.

        Returns how many could not be read: they are no receipts to this version of kproxy.
        """
        entry = self._read(bodies)  # before the lock is taken, for which others wait
        database = self._database
        with database.transaction():
            there = known(database, entry.rows)
            self._enter(self._read(bodies, there) if there else entry)
            database.execute(_MOVED, (spool, end))
        return entry.unreadable

    def forget(self, spool: str) -> None:
        """All of that spool file is in the tables, and on the disk when this returns."""
        # A commit is one of the write-ahead log, so this one takes all before it along.
        self._database.execute("PRAGMA synchronous = FULL")
        try:
            with self._database.transaction():
                self._database.execute("DELETE FROM spool WHERE name = ?", (spool,))
        finally:
            self._database.execute("PRAGMA synchronous = NORMAL")

    def _read(self, bodies: Sequence[bytes], there: Collection[str] = ()) -> Entry:
        """All but those that are there. Receipts are dropped one by one, for the next to take their
        memory while it is at hand."""
        rows: dict[str, tuple[Value, ...]] = {}
        minutes, days, unreadable = Rollup(MINUTE), Rollup(DAY), 0
        for body in bodies:
            try:
                receipt = self._decode(body)
            except msgspec.DecodeError:
                unreadable += 1
                continue
            name = receipt.receipt_id
            if name not in rows and name not in there:
                rows[name] = _row(receipt, body)
                minutes.add(receipt)
        for place, counts in minutes.sums():
            days.count(place, counts)
        return Entry(rows, _sums(minutes), _sums(days), unreadable)

    def _enter(self, entry: Entry) -> None:
        rows, run = list(entry.rows.values()), self._database.execute_many
        rest = len(rows) % _AT_ONCE
        many = [
            tuple(chain.from_iterable(rows[first : first + _AT_ONCE]))
            for first in range(rest, len(rows), _AT_ONCE)
        ]
        run(_RECEIPT, rows[:rest])
        run(_RECEIPTS, many)
        run(_SUM_MINUTE, entry.minutes)
        run(_SUM_DAY, entry.days)


def known(database: Database, ids: Iterable[str]) -> list[str]:
    """Which of these receipts are in the tables. Raises StoreError."""
    return [str(row[0]) for row in database.query(_KNOWN, (json.dumps(list(ids)),))]


def _sums(rollup: Rollup) -> Rows:
    return [(*place, *counts) for place, counts in rollup.sums()]


def _row(receipt: Receipt, body: bytes) -> tuple[Value, ...]:
    execution = receipt.execution
    return (
        receipt.receipt_id,
        receipt.account_id,
        receipt.key_id,
        receipt.arrived,
        receipt.asked,
        receipt.decision.model_id,
        receipt.decision.provider,
        execution.status.value,
        execution.cost,
        execution.savings,
        receipt.policy_version,
        body.decode("utf-8"),
    )
