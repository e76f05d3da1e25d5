"""A data directory is opened whole and closed whole, and counters begin where the ledger is."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import trio

from kproxy.admission.quota import Amount
from kproxy.admission.tiers import TIERS
from kproxy.store.answers import Kept
from kproxy.store.month import month_at
from kproxy.store.opening import StoreParams, open_stores
from kproxy.store.segment import segment_names
from tests.fakes.receipts import NOON, receipt
from tests.fakes.receipts import charged as charge

FREE = TIERS["free"]


def opened(folder: Path, then: Callable[..., object], **params: bool) -> None:
    with ExitStack() as stack:
        then(open_stores(stack, StoreParams(folder, **params), NOON))


def test_everything_is_there_and_closed_in_order(tmp_path: Path) -> None:
    def look(stores) -> None:
        assert stores.keys is not None
        stores.keys.store.first_key(NOON)
        stores.journal.append(receipt(1))
        assert stores.receipts.find(receipt(1).account_id, receipt(1).receipt_id) is not None

    opened(tmp_path, look)
    assert segment_names(tmp_path / "spool") == [], "moved"


def test_without_keys(tmp_path: Path) -> None:
    opened(tmp_path, lambda stores: stores.keys is None or 1 / 0, keyless=True)


def test_counters_begin_with_what_the_ledger_says(tmp_path: Path) -> None:
    """Tokens of this month, credit of all time; what is not moved yet counts as well."""
    before = month_at(NOON).start - 1.0

    def write(stores) -> None:
        stores.journal.append(charge(receipt(1, arrived=before), tokens=700, spend=40))
        stores.journal.append(charge(receipt(2, arrived=NOON), tokens=30, spend=2))

    def look(stores) -> None:
        account = receipt(1).account_id
        held = stores.counters.reserve(
            account, FREE, Amount(100_000 - 30, 5_000_000_000 - 42), NOON
        )
        assert held.standing.remaining == 0
        held.release()

    opened(tmp_path, write)
    opened(tmp_path, look)


def test_what_a_kill_left_owed_is_with_the_ledger_and_counts(tmp_path: Path) -> None:
    """An answer was kept with its receipt, and then the process died before it was appended."""
    made = charge(receipt(1), tokens=700, spend=40)
    kept = Kept(b"d" * 32, 200, made.receipt_id, (), b"{}")

    def write(stores) -> None:
        trio.run(stores.answers.keep, b"n" * 32, kept, made, NOON)

    def look(stores) -> None:
        assert stores.receipts.find(made.account_id, made.receipt_id) == made
        held = stores.counters.reserve(made.account_id, FREE, Amount(0, 0), NOON)
        assert held.standing.remaining == 100_000 - 700
        held.release()

    def once(stores) -> None:
        ((_, counts),) = stores.receipts.usage(0)
        assert (counts.requests, counts.charged_tokens) == (1, 700)
        assert stores.answers.owed() == []

    opened(tmp_path, write)
    opened(tmp_path, look)
    opened(tmp_path, once)
