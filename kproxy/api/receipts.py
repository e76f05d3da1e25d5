"""GET /v1/receipts and /v1/receipts/{id}: what the calling account's requests came to (section 7).

Any key of the account reads all of its receipts. SQL and files are read in a worker thread.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar
from urllib.parse import parse_qs, unquote_to_bytes

import trio

from kproxy.api.admit import take_turn
from kproxy.api.service import Service
from kproxy.downstream.exchange import Exchange
from kproxy.downstream.respond import JSON_TYPE, Answer
from kproxy.errors import Rejected, rejected_field
from kproxy.ledger.receipt import receipt_json, receipts_json
from kproxy.store.receipts import Receipts

__all__ = ["list_receipts", "show_receipt"]

T = TypeVar("T")

DEFAULT_LIMIT = 20  # OpenAI's lists
MOST = 100  # likewise
LONGEST = 200  # characters of an id that are looked for; ours have 29
NO_RECEIPT = "The receipt '%s' does not exist"


async def list_receipts(service: Service, exchange: Exchange) -> None:
    """A page of receipts, newest first: `limit` (1 to 100), and `after`, the last id before."""
    caller = service.identify(exchange)
    take_turn(service, caller)
    limit, after = _asked(exchange.head.target.partition(b"?")[2])
    read = partial(_page, service.receipts, caller.account.id, limit, after)
    await exchange.respond(Answer(200, [JSON_TYPE], await _read(service, read)))


async def show_receipt(service: Service, exchange: Exchange) -> None:
    """One receipt; that of another account does not exist."""
    caller = service.identify(exchange)
    take_turn(service, caller)
    path = exchange.head.target.partition(b"?")[0]
    name = unquote_to_bytes(path.partition(b"/receipts/")[2]).decode("utf-8", "replace")[:LONGEST]
    read = partial(service.receipts.find, caller.account.id, name)
    found = await _read(service, read)
    if found is None:
        raise Rejected(404, "receipt_not_found", NO_RECEIPT % name)
    await exchange.respond(Answer(200, [JSON_TYPE], receipt_json(found)))


async def _read(service: Service, read: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(read, limiter=service.readers)


def _page(receipts: Receipts, account_id: str, limit: int, after: str | None) -> bytes:
    last = None
    if after is not None:
        last = receipts.find(account_id, after)
        if last is None:
            raise rejected_field("after", NO_RECEIPT % after)
    page = receipts.page(account_id, limit, last)
    return receipts_json(page.receipts, more=page.more)


def _asked(query: bytes) -> tuple[int, str | None]:
    """The two parameters that mean something; others are left alone, as by OpenAI."""
    given = parse_qs(query.decode("ascii", "replace"), keep_blank_values=True)
    limit = given.get("limit", [str(DEFAULT_LIMIT)])[-1]
    digits = limit.isascii() and limit.isdigit() and len(limit) <= len(str(MOST))
    if not digits or not 1 <= int(limit) <= MOST:
        raise rejected_field("limit", f"'limit' must be a whole number from 1 to {MOST}.")
    after = given.get("after")
    return int(limit), after[-1][:LONGEST] if after else None
