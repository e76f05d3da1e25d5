"""Requests that name themselves by `Idempotency-Key` go in; of each name one runs, the rest repeat.

The rules: of one account, the same key and the same body (to the byte) give the same answer and one
charge, for 24 hours, also at once and over a `kill -9`. Another body under a key that is in use is
refused with 422. The key is 1 to 255 printable ASCII characters.

Kept is a complete answer and nothing else. A request that fails (4xx, 429, 5xx) leaves nothing, and
a retry runs again; Stripe keeps errors too, but here the retry after a provider's outage is what
the key is for. Of those that wait for one that fails, exactly one runs next.

How it is done. Within a process, twins wait in line for a lock. Between processes, the one that
runs holds a claim that the kernel frees (store/claims.py), and the others look again every 50 ms,
which a wait as long as a model's answer hardly notices. They wait rather than get 409 at once, so
that fifty twins are fifty answers. A wait ends at the waiting request's own deadline, with 409
`request_in_progress` and Retry-After: nothing has failed, and nothing was dispatched for it.

A request with a key is carried out to its end although its caller has hung up: the key says that
the caller will be back for the answer, and a cancelled run would be charged beside the next one.

Refused with 400: a key on a stream, because what a caller relies on is never ignored in silence,
and a stream's words are not kept; and a key together with `zdr`, because an answer would be kept.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import trio

from kproxy.downstream.respond import Answer
from kproxy.errors import Rejected, rejected_field
from kproxy.schema.chat import ChatRequest
from kproxy.schema.receipt import Receipt
from kproxy.store.answers import Answers, Kept
from kproxy.store.database import StoreError
from kproxy.wire.events import Headers
from kproxy.wire.names import COST, PROVIDER, RECEIPT, SAVINGS

__all__ = ["Asked", "Keep", "Once", "Turn", "idempotency_key", "replay"]

log = logging.getLogger("kproxy.answers")

NAME = b"idempotency-key"
LONGEST = 255
LOOK_AGAIN = 0.05
"""Seconds between two looks whether another process has ended."""

REPLAYED = (b"idempotent-replayed", b"true")
KEPT_FIELDS = frozenset({b"content-type", PROVIDER, COST, SAVINGS, RECEIPT})
"""Of the first answer's head; the rest says how it went or how limits stood: not repeated."""

Keep = Callable[[Answer, Receipt], Awaitable[None]]
"""Keeps an answer and its receipt. Raises Rejected 503 where that fails."""


class Asked(NamedTuple):
    """`digest` is of the body; `deadline` is on trio's clock, and ends a wait."""

    account_id: str
    key: bytes
    digest: bytes
    deadline: float


def idempotency_key(headers: Headers, request: ChatRequest) -> bytes | None:
    """The key that a request brings, None: it has none. Raises Rejected 400."""
    found = [value for name, value in headers if name == NAME]
    if not found:
        return None
    key = found[0]
    if len(found) > 1 or not 0 < len(key) <= LONGEST or not _printable(key):
        message = f"Invalid 'Idempotency-Key': expected 1 to {LONGEST} printable ASCII characters."
        raise Rejected(400, "invalid_request_error", message)
    if request.stream:
        message = "'Idempotency-Key' does not go with 'stream': only whole answers can be repeated."
        raise rejected_field("stream", message)
    if request.zdr:
        message = "'Idempotency-Key' does not go with 'zdr': the answer would be kept for 24 hours."
        raise rejected_field("zdr", message)
    return key


def replay(kept: Kept, limits: tuple[tuple[bytes, bytes], ...]) -> Answer:
    """The kept answer once more; `limits` say how the caller stands now."""
    return Answer(kept.status, [*kept.fields, REPLAYED, *limits], kept.body)


class Twins:
    """Requests of one name in this process. `digest` is the body that runs or is kept."""

    __slots__ = ("count", "digest", "kept", "lock")

    def __init__(self) -> None:
        self.count = 0
        self.lock = trio.Lock()
        self.digest: bytes | None = None
        self.kept: Kept | None = None


class Once:
    """Gives each request of a name its turn. `unix_now` is the wall clock in seconds."""

    def __init__(self, answers: Answers, unix_now: Callable[[], float]) -> None:
        self.answers = answers
        self.unix_now = unix_now
        self._twins: dict[bytes, Twins] = {}

    def __repr__(self) -> str:
        return f"<Once {self.statistics()} names under way>"

    def statistics(self) -> int:
        """How many names have a request under way in this process."""
        return len(self._twins)

    @asynccontextmanager
    async def turn(self, asked: Asked) -> AsyncIterator["Turn"]:
        """Wait for the request's turn. Raises Rejected: 422 another body, 409 still not its turn at
        its deadline, 503 where nothing can be looked up or kept."""
        account = asked.account_id.encode()  # holds no NUL, so no two pairs are written alike
        name = hashlib.sha256(account + b"\0" + asked.key).digest()
        twins = self._twins.setdefault(name, Twins())
        twins.count += 1
        turn = Turn(self, name, asked, twins)
        try:
            await turn.begin()
            yield turn
        finally:
            turn.end()
            twins.count -= 1
            if not twins.count:
                del self._twins[name]


class Turn:
    """`kept` is the answer to repeat; None: run, and give `keep` what comes of it."""

    __slots__ = ("_asked", "_claimed", "_locked", "_name", "_once", "_twins")

    def __init__(self, once: Once, name: bytes, asked: Asked, twins: Twins) -> None:
        self._once = once
        self._name = name
        self._asked = asked
        self._twins = twins
        self._locked = self._claimed = False

    def __repr__(self) -> str:
        return f"<Turn {'running' if self._locked else 'not running'}>"

    @property
    def kept(self) -> Kept | None:
        """The answer of the first one."""
        return self._twins.kept

    async def begin(self) -> None:
        """See `Once.turn`."""
        twins = self._twins
        self._compare(twins.digest)
        try:
            await self._wait()
            if twins.kept is None:
                twins.kept = await self._once.answers.find(self._name, self._once.unix_now())
        except StoreError as error:
            raise _unavailable("looked up; nothing was dispatched", error) from error
        if twins.kept is not None:
            self.end()  # the others need not wait until it is sent
            twins.digest = twins.kept.digest
            self._compare(twins.digest)
        elif self._once.answers.full:
            raise _unavailable("kept: there is no room; nothing was dispatched")
        else:
            twins.digest = self._asked.digest

    async def keep(self, answer: Answer, receipt: Receipt) -> None:
        """Keep the answer, and let the others on. The receipt is the caller's to post at once."""
        fields = tuple(field for field in answer.headers if field[0] in KEPT_FIELDS)
        digest, receipt_id = self._asked.digest, receipt.receipt_id
        kept = Kept(digest, answer.status, receipt_id, fields, answer.body)
        try:
            await self._once.answers.keep(self._name, kept, receipt, self._once.unix_now())
        except StoreError as error:
            raise _unavailable("kept, and is not charged", error) from error
        self._twins.kept = kept
        self.end()

    def end(self) -> None:
        """Let the next one on; a second call does nothing."""
        if self._claimed:
            self._once.answers.release(self._name)
        if self._locked:
            if self._twins.kept is None:
                self._twins.digest = None
            self._twins.lock.release()
        self._claimed = self._locked = False

    async def _wait(self) -> None:
        """Until it is first in this process, and among all that share the data directory."""
        with trio.move_on_at(self._asked.deadline):
            await self._twins.lock.acquire()
            self._locked = True
            while self._twins.kept is None and not self._claimed:
                self._claimed = self._once.answers.claim(self._name)
                if not self._claimed:
                    await trio.sleep(LOOK_AGAIN)
        if self._twins.kept is None and not self._claimed:
            message = "A request with this 'Idempotency-Key' is still being answered; ask again."
            rejected = Rejected(409, "request_in_progress", message)
            rejected.headers = ((b"retry-after", b"1"),)
            raise rejected

    def _compare(self, digest: bytes | None) -> None:
        if digest is not None and digest != self._asked.digest:
            message = "This 'Idempotency-Key' was used with another body; use a new key for it."
            raise Rejected(422, "idempotency_key_reused", message)


def _printable(key: bytes) -> bool:
    return key.isascii() and key.decode("ascii").isprintable()


def _unavailable(what: str, error: StoreError | None = None) -> Rejected:
    if error is not None:
        log.error("%s", error)
    rejected = Rejected(503, "idempotency_unavailable", f"The answer cannot be {what}.")
    rejected.headers = ((b"retry-after", b"5"),)
    return rejected
