"""Receipts go into the tables of migration `ledger`, each exactly once.

Everything that a group of receipts changes happens in one transaction: their rows, their attempts,
the sums by minute and by day, and how far the spool has been moved. A group whose commit we did not
live to see is moved again by whoever takes the spool over; a receipt whose id is there already is
left out, so nothing is counted twice.
"""

import json
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from kproxy.ledger.rollup import DAY, MINUTE, Counts, Place, Rollup
from kproxy.schema.receipt import Receipt
from kproxy.store.database import Database, Value

__all__ = ["Books", "known"]

_RECEIPT = (
    "INSERT INTO receipt (number, id, account_id, key_id, arrived, asked, model, provider, status,"
    " cost, savings, policy_version, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_ATTEMPT = (
    "INSERT INTO attempt (receipt, place, model, provider, started, first_token, ended, ending,"
    " fault, prompt_tokens, completion_tokens, cached_tokens, cache_write_tokens,"
    " reasoning_tokens, estimated, cost) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
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
_MOST = 2**53  # of any number in a receipt: exact in every reader, and SQLite's sums stay integers


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
        receipts: dict[str, tuple[Receipt, bytes]] = {}
        unreadable = 0
        for body in bodies:
            receipt = self._read(body)
            if receipt is None:
                unreadable += 1
            else:
                receipts[receipt.receipt_id] = (receipt, body)
        database = self._database
        with database.transaction():
            for receipt_id in known(database, receipts):
                del receipts[receipt_id]
            self._enter(list(receipts.values()))
            database.execute(_MOVED, (spool, end))
        return unreadable

    def forget(self, spool: str) -> None:
        """All of that spool file is in the tables, and on the disk when this returns."""
        # A commit is one of the write-ahead log, so this one takes all before it along.
        self._database.execute("PRAGMA synchronous = FULL")
        try:
            with self._database.transaction():
                self._database.execute("DELETE FROM spool WHERE name = ?", (spool,))
        finally:
            self._database.execute("PRAGMA synchronous = NORMAL")

    def _read(self, body: bytes) -> Receipt | None:
        """None: one that SQLite would refuse, with all others of its group."""
        try:
            receipt = self._decode(body)
        except msgspec.DecodeError:
            return None
        return receipt if max(map(abs, _numbers(receipt))) < _MOST else None

    def _enter(self, receipts: Sequence[tuple[Receipt, bytes]]) -> None:
        minutes, days = Rollup(MINUTE), Rollup(DAY)
        for receipt, _ in receipts:
            minutes.add(receipt)
        for place, counts in minutes.sums():
            days.count(place, counts)
        run = self._database.execute_many
        ((last,),) = self._database.query("SELECT ifnull(max(number), 0) FROM receipt")
        numbered = list(enumerate(receipts, int(last or 0) + 1))
        run(_RECEIPT, [(number, *_receipt_row(*one)) for number, one in numbered])
        run(_ATTEMPT, [row for number, one in numbered for row in _attempt_rows(number, one[0])])
        run(_SUM_MINUTE, [(*place, *counts) for place, counts in minutes.sums()])
        run(_SUM_DAY, [(*place, *counts) for place, counts in days.sums()])


def known(database: Database, ids: Iterable[str]) -> list[str]:
    """Which of these receipts are in the tables. Raises StoreError."""
    return [str(row[0]) for row in database.query(_KNOWN, (json.dumps(list(ids)),))]


def _receipt_row(receipt: Receipt, body: bytes) -> tuple[Value, ...]:
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


def _attempt_rows(number: int, receipt: Receipt) -> Iterator[tuple[Value, ...]]:
    for place, attempt in enumerate(receipt.attempts):
        usage = attempt.usage
        tokens: tuple[Value, ...] = (None,) * 6
        if usage is not None:
            tokens = (
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.cached_tokens,
                usage.cache_write_tokens,
                usage.reasoning_tokens,
                usage.estimated,
            )
        yield (
            number,
            place,
            attempt.model,
            attempt.provider,
            attempt.started,
            attempt.first_token,
            attempt.ended,
            attempt.ending.value,
            attempt.fault,
            *tokens,
            attempt.cost,
        )


def _numbers(receipt: Receipt) -> list[float]:
    execution = receipt.execution
    numbers = [receipt.arrived, execution.savings, execution.cost or 0]
    for attempt in receipt.attempts:
        numbers.append(attempt.cost or 0)
        usage = attempt.usage
        if usage is not None:
            numbers += (
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.cached_tokens,
                usage.cache_write_tokens,
                usage.reasoning_tokens,
            )
    return numbers
