"""Whole answers in, with their receipts; the same answers out, for 24 hours.

Problem: a caller repeats a request because it has not seen the answer, and must be charged once,
whatever was killed in between. The answer is in SQLite and the receipt in a spool file: no commit
spans both.

Our way: one commit holds the answer *and* its receipt; then the receipt goes to the journal; then
the answer leaves. The journal counts a receipt id once, so a receipt may be appended again, and is:

1. when a data directory is opened, before the counters begin,
2. every minute, for what another process has left when it died,

until the ledger's tables have it; then its copy here goes. Killed before the commit, neither is
there, and a retry runs again.

Who works for a name is in `claims.py`. Everything that touches the database runs in one worker
thread at a time. What is deleted is overwritten (`secure_delete`): these are a model's words. All
of it is bounded: over `most` bytes, which is looked at once a minute, `full` is true, and whoever
would have an answer kept is refused before anything is dispatched.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import msgspec
import trio

from kproxy.schema.receipt import Receipt
from kproxy.store.claims import Claims
from kproxy.store.database import Database, StoreError, open_database

__all__ = ["Answers", "AnswersParams", "Kept", "open_answers"]

log = logging.getLogger("kproxy.answers")

_FIND = """SELECT digest, status, receipt_id, fields, body FROM kept_answer
    WHERE name = ? AND kept_at > ?"""
_KEEP = "INSERT OR REPLACE INTO kept_answer VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_OWE = "INSERT OR REPLACE INTO kept_receipt VALUES (?, ?)"
_PAID = """DELETE FROM kept_receipt
    WHERE EXISTS (SELECT 1 FROM receipt WHERE receipt.id = kept_receipt.id)"""
_EXPIRE = """DELETE FROM kept_answer WHERE name IN
    (SELECT name FROM kept_answer WHERE kept_at <= ? LIMIT ?)"""
_SIZE = "SELECT ifnull(sum(size), 0) FROM kept_answer"
_GROUP = 200  # answers deleted in one transaction, for which other writers wait

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class AnswersParams:
    """Seconds: how long an answer is kept, how long between two cleanings, how long a question may
    wait for its turn. `most` is bytes of bodies. `strict`: what is kept survives a power cut.
    """

    lifetime: float = 86_400.0
    pause: float = 60.0
    patience: float = 10.0
    most: int = 1 << 30
    strict: bool = False


class Kept(msgspec.Struct, frozen=True):
    """A whole answer. `digest` is of the request's body that it answers; `fields` of its head."""

    digest: bytes
    status: int
    receipt_id: str
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Answers:
    """See the module. Owns what it is given; `close` comes after `run` has ended.

    A `name` is 32 bytes that stand for account and key. All calls are on trio's thread.
    """

    def __init__(self, database: Database, claims: Claims, params: AnswersParams) -> None:
        self._database = database
        self._claims = claims
        self._params = params
        self._turn = trio.CapacityLimiter(1)
        self._decode = msgspec.json.Decoder(Receipt).decode
        self._troubled = False
        self.full = False
        self.claim = claims.take
        self.release = claims.give

    def __repr__(self) -> str:
        return f"<Answers {self._database!r}{' full' if self.full else ''}>"

    async def find(self, name: bytes, now: float) -> Kept | None:
        """What is kept under that name. `now` is Unix seconds. Raises StoreError."""
        return await self._ask(lambda: self._find(name, now))

    async def keep(self, name: bytes, kept: Kept, receipt: Receipt, now: float) -> None:
        """Keep an answer and its receipt, or neither. Raises StoreError.

        Once it has begun it is not cancelled, and nothing else is on its return.
        """
        await self._ask(lambda: self._keep(name, kept, receipt, now))

    def owed(self) -> list[Receipt]:
        """Receipts that the ledger's tables have not got. Blocks. Raises StoreError."""
        self._database.execute(_PAID)
        rows = self._database.query("SELECT body FROM kept_receipt")
        return [self._decode(str(body)) for (body,) in rows]

    async def run(self, post: Callable[[Receipt], None], now: Callable[[], float]) -> NoReturn:
        """Post what is owed and delete what is old, every minute, until cancelled."""
        while True:
            try:
                await self.clean(post, now())
                self._troubled = False
            except StoreError as error:
                if not self._troubled:
                    log.error("kept answers cannot be cleaned yet: %s", error)
                self._troubled = True
            await trio.sleep(self._params.pause)

    async def clean(self, post: Callable[[Receipt], None], now: float) -> None:
        """Post what is owed, delete what is old, and see whether there is room. Raises StoreError,
        and what `post` raises."""
        for receipt in await self._ask(self.owed):
            post(receipt)
        last = (now - self._params.lifetime, _GROUP)
        while await self._ask(lambda: self._database.execute(_EXPIRE, last)) == _GROUP:
            pass
        ((size,),) = await self._ask(lambda: self._database.query(_SIZE))
        self.full = int(size or 0) > self._params.most

    def close(self) -> None:
        """Give everything back. Blocks."""
        self._claims.close()
        self._database.close()

    async def _ask(self, question: Callable[[], Value]) -> Value:
        with trio.move_on_after(self._params.patience):
            return await trio.to_thread.run_sync(question, limiter=self._turn)
        raise StoreError("the store of kept answers is busy")

    def _find(self, name: bytes, now: float) -> Kept | None:
        rows = self._database.query(_FIND, (name, now - self._params.lifetime))
        if not rows:
            return None
        digest, status, receipt_id, fields, body = rows[0]
        assert isinstance(digest, bytes)
        assert isinstance(body, bytes)
        pairs = msgspec.json.decode(str(fields), type=list[tuple[str, str]])
        head = tuple((field.encode("latin-1"), value.encode("latin-1")) for field, value in pairs)
        return Kept(digest, int(status or 0), str(receipt_id), head, body)

    def _keep(self, name: bytes, kept: Kept, receipt: Receipt, now: float) -> None:
        pairs = [(field.decode("latin-1"), value.decode("latin-1")) for field, value in kept.fields]
        fields = msgspec.json.encode(pairs).decode()
        row = (name, kept.digest, now, kept.status, kept.receipt_id, fields)
        owed = msgspec.json.encode(receipt).decode()
        with self._database.transaction():
            self._database.execute(_KEEP, (*row, len(kept.body), kept.body))
            self._database.execute(_OWE, (kept.receipt_id, owed))


def open_answers(directory: Path, params: AnswersParams) -> Answers:
    """The kept answers of a data directory, which is made as needed; the caller closes the result.

    Raises StoreError.
    """
    database = open_database(directory)
    try:
        database.execute("PRAGMA secure_delete = ON")
        if params.strict:
            database.execute("PRAGMA synchronous = FULL")
        claims = Claims(directory)
    except StoreError:
        database.close()
        raise
    return Answers(database, claims, params)
