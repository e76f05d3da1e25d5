"""What the ledger knows: one receipt, a page of receipts, sums of usage; moved or not.

A receipt can be asked for as soon as its answer has ended, by any process. So a reader looks into
the database and then into every spool file of the directory, behind the place up to which the
database has it: the files are few, and the journal moves them every second. Both are read inside
one snapshot of the database, so that nothing is seen twice. A file that has vanished in between was
moved after the snapshot, and everything is read again.

Everything here blocks: it is for commands and worker threads.
"""

import math
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from kproxy.ledger.rollup import DAY, MINUTE, Counts, Place, Rollup
from kproxy.schema.receipt import Receipt
from kproxy.store.books import known
from kproxy.store.database import FILE_NAME, Database, Row, StoreError, open_database
from kproxy.store.month import Month
from kproxy.store.segment import read_batch, segment_names
from kproxy.store.spool import SPOOL_DIRECTORY

__all__ = ["Page", "Receipts", "open_receipts"]

_READ = 1_048_576
_TRIES = 10  # a file vanishes each time 16 MiB of receipts are full
_BODY = "SELECT body FROM receipt WHERE account_id = ? AND"
_SUMS = (
    f"SELECT start - start % {DAY}, account_id, key_id, model, provider,"
    + ", ".join(f" sum({name})" for name in Counts._fields)
    + " FROM"
)

T = TypeVar("T")


class Page(NamedTuple):
    """Receipts, newest first; `more`: there are older ones."""

    receipts: list[Receipt]
    more: bool


class Receipts:
    """The reading side of the ledger of one data directory. Raises StoreError.

    `close()` closes the database that it was given.
    """

    def __init__(self, directory: Path, database: Database) -> None:
        self._spools = directory / SPOOL_DIRECTORY
        self._database = database
        self._decode = msgspec.json.Decoder(Receipt).decode

    def __repr__(self) -> str:
        return f"<Receipts {self._database.path}>"

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def find(self, account_id: str, receipt_id: str) -> Receipt | None:
        """That receipt, if it is of this account."""
        rows = self._database.query(f"{_BODY} id = ?", (account_id, receipt_id))
        if not rows:
            waiting = self._again(lambda: self._unmoved(receipt_id))
            found = [one for one in waiting if one.receipt_id == receipt_id]
            if found:
                return found[0] if found[0].account_id == account_id else None
            # It may have been moved since the first look.
            rows = self._database.query(f"{_BODY} id = ?", (account_id, receipt_id))
        return self._decode(str(rows[0][0])) if rows else None

    def page(self, account_id: str, limit: int, after: Receipt | None = None) -> Page:
        """The newest receipts of an account, or those older than `after`."""
        return self._again(lambda: self._page(account_id, limit, after))

    def usage(self, since: int, account_id: str | None = None) -> list[tuple[Place, Counts]]:
        """Sums by day, key, model and provider from `since` on, oldest first.

        `since` is Unix seconds, the first of a minute. `start` of each place is its day's.
        """
        return self._again(lambda: self._usage(since, account_id))

    def charged(self, month: Month) -> tuple[Counter[str], Counter[str]]:
        """By account: the month's charged tokens, and the nano-dollars charged to trial credit in
        all months."""
        tokens: Counter[str] = Counter()
        spend: Counter[str] = Counter()
        for place, counts in self.usage(0):
            spend[place.account_id] += counts.charged_spend
            if month.start <= place.start < month.end:
                tokens[place.account_id] += counts.charged_tokens
        return tokens, spend

    def _page(self, account_id: str, limit: int, after: Receipt | None) -> Page:
        bound = (math.inf, "") if after is None else _place(after)
        sql = f"{_BODY} (arrived, id) < (?, ?) ORDER BY arrived DESC, id DESC LIMIT ?"
        with self._database.snapshot():
            waiting = self._unmoved(account_id)
            rows = self._database.query(sql, (account_id, *bound, limit + 1))
        found = [self._decode(str(body)) for (body,) in rows]
        found += [one for one in waiting if one.account_id == account_id and _place(one) < bound]
        found.sort(key=_place, reverse=True)
        return Page(found[:limit], len(found) > limit)

    def _usage(self, since: int, account_id: str | None) -> list[tuple[Place, Counts]]:
        table = "usage_minute" if since % DAY else "usage_day"
        who, values = (
            ("", (since,)) if account_id is None else (" AND account_id = ?", (since, account_id))
        )
        days = Rollup(DAY)
        with self._database.snapshot():
            waiting = self._unmoved(account_id or "")
            sql = f"{_SUMS} {table} WHERE start >= ?{who} GROUP BY 1, 2, 3, 4, 5"
            for row in self._database.query(sql, values):
                days.count(*_sums(row))
        for one in waiting:
            if one.arrived // MINUTE * MINUTE >= since and account_id in (None, one.account_id):
                days.add(one)
        return sorted(days.sums())

    def _unmoved(self, mention: str) -> list[Receipt]:
        """Receipts that the database has not got, of those whose JSON mentions these characters.

        Raises FileNotFoundError where a file has been moved and deleted meanwhile.
        """
        names = segment_names(self._spools)
        rows = self._database.query("SELECT name, moved FROM spool")
        moved = {name: int(end or 0) for name, end in rows}
        found: dict[str, Receipt] = {}
        for name in names:
            for body in _read(self._spools / name, moved.get(name, 0)):
                if mention.encode() in body:
                    with suppress(msgspec.DecodeError):  # the journal tells of it
                        receipt = self._decode(body)
                        found[receipt.receipt_id] = receipt
        # A file whose process has died between two steps may be there without its position.
        for receipt_id in known(self._database, found):
            del found[receipt_id]
        return list(found.values())

    def _again(self, read: Callable[[], T]) -> T:
        for _ in range(_TRIES):
            try:
                return read()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StoreError(f"{self._spools}: {error.strerror}") from error
        raise StoreError(f"{self._spools}: its files change faster than they can be read")


def open_receipts(directory: Path) -> Receipts:
    """The ledger of a data directory that exists; the caller closes it. Raises StoreError."""
    if not (directory / FILE_NAME).exists():
        raise StoreError(f"there is no ledger in {directory}")
    return Receipts(directory, open_database(directory))


def _read(path: Path, start: int) -> list[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        stop = os.fstat(descriptor).st_size
        bodies: list[bytes] = []
        while start < stop:
            batch = read_batch(descriptor, start, stop, _READ)
            if not batch.bodies:
                break  # what follows is not written yet
            bodies += batch.bodies
            start = batch.end
        return bodies
    finally:
        os.close(descriptor)


def _place(receipt: Receipt) -> tuple[float, str]:
    return receipt.arrived, receipt.receipt_id


def _sums(row: Row) -> tuple[Place, Counts]:
    start, account_id, key_id, model, provider, *counts = row
    place = Place(int(start or 0), str(account_id), str(key_id), str(model), str(provider))
    return place, Counts(*(int(count or 0) for count in counts))
