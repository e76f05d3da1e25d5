"""A data directory in, everything that is kept in it out, open and in order.

Closed in the reverse order: what exchanges have left behind is moved to its place last of all but
the keys, so the journal outlives every handler.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kproxy.admission.keys import Secret
from kproxy.store.answers import Answers, AnswersParams, open_answers
from kproxy.store.counters import Counters, Used, open_counters
from kproxy.store.database import StoreError
from kproxy.store.desk import KeyDesk
from kproxy.store.journal import Journal, JournalParams, open_journal
from kproxy.store.keystore import KeyStore, open_keystore
from kproxy.store.month import Month
from kproxy.store.receipts import Receipts, open_receipts
from kproxy.store.vault import Vault

__all__ = ["Keys", "StoreParams", "Stores", "open_stores"]

log = logging.getLogger("kproxy.store")


@dataclass(frozen=True, slots=True)
class StoreParams:
    """`directory` is made where it is missing. `seal_key`: of provider keys, None: a file's.

    `keyless`: there are no keys (`auth = "none"`). `strict`: receipts survive a power cut.
    """

    directory: Path
    seal_key: Secret | None = None
    keyless: bool = False
    strict: bool = False


class Keys(NamedTuple):
    """The key store twice: the loop's own connection, and the one that may block."""

    store: KeyStore
    desk: KeyDesk


class Stores(NamedTuple):
    """What is kept in the data directory. `keys` is None where there are none."""

    keys: Keys | None
    journal: Journal
    receipts: Receipts
    counters: Counters
    answers: Answers


def open_stores(stack: ExitStack, params: StoreParams, now: float) -> Stores:
    """Everything, closed with `stack`. Raises StoreError. `now` is Unix seconds."""
    directory = params.directory
    keys = None if params.keyless else _open_keys(stack, params)
    journal = open_journal(directory, JournalParams(strict=params.strict))
    stack.callback(journal.close)
    answers = open_answers(directory, AnswersParams(strict=params.strict))
    stack.callback(answers.close)
    for receipt in answers.owed():
        journal.append(receipt)  # before the counters begin with what the ledger says
    receipts = open_receipts(directory)
    stack.callback(receipts.close)
    counters = open_counters(directory, _totals(receipts), now)
    stack.callback(counters.close)
    return Stores(keys, journal, receipts, counters, answers)


def _open_keys(stack: ExitStack, params: StoreParams) -> Keys:
    vault = Vault(params.directory, params.seal_key)
    store = open_keystore(params.directory, vault=vault)
    stack.callback(store.close)
    desk = KeyDesk(open_keystore(params.directory, vault=vault))
    stack.callback(desk.close)
    try:
        problem = store.seal_problem()
    except StoreError as error:
        problem = str(error)
    if problem is not None:
        log.error("%s", problem)
    return Keys(store, desk)


def _totals(receipts: Receipts) -> Callable[[Month], Iterable[Used]]:
    """What the ledger says that each account was charged, for counters that begin anew."""

    def totals(month: Month) -> Iterable[Used]:
        tokens, spend = receipts.charged(month)
        return [Used(account, tokens[account], spend[account]) for account in spend]

    return totals
