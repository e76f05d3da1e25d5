"""What is asked of the ledger is found wherever it is: in the database, in a spool, half way."""

import msgspec
import pytest

from kproxy.ledger.rollup import DAY, Counts
from kproxy.outcome import Usage
from kproxy.store import receipts as module
from kproxy.store.database import StoreError
from kproxy.store.journal import JournalParams, open_journal
from kproxy.store.receipts import open_receipts
from kproxy.store.segment import create_segment
from tests.fakes.receipts import NOON, attempt, receipt

PARAMS = JournalParams(segment=16_384)


@pytest.fixture
def journal(tmp_path):
    made = open_journal(tmp_path, PARAMS)
    made._spool.reserve()
    yield made
    made.close()


@pytest.fixture
def ledger(tmp_path, journal):
    made = open_receipts(tmp_path)
    yield made
    made.close()


def numbers(page):
    return [int(one.receipt_id[5:], 16) for one in page.receipts]


def append(journal, *receipts):
    for one in receipts:
        journal._spool.reserve()
        journal.append(one)


def test_one_is_found_before_it_is_moved_and_after(journal, ledger):
    one = receipt(1)
    append(journal, one)
    for _ in range(2):
        assert ledger.find("acct_1", one.receipt_id) == one
        assert ledger.find("acct_2", one.receipt_id) is None
        assert ledger.find("acct_1", "rcpt_" + "f" * 24) is None
        assert ledger.find("acct_1", one.receipt_id[:-1]) is None
        journal._mover.move()


def test_another_processs_are_found_as_well(tmp_path, journal, ledger):
    other = create_segment(tmp_path / "spool", 16_384)
    other.write(msgspec.json.encode(receipt(1)))
    other.write(b"{}")
    assert ledger.find("acct_1", receipt(1).receipt_id) == receipt(1)
    assert numbers(ledger.page("acct_1", 9)) == [1]
    other.close()


def test_pages_are_newest_first_and_go_on_where_they_ended(journal, ledger):
    made = [receipt(number, arrived=NOON + number // 2) for number in range(20)]
    append(journal, *made[:14])
    journal._mover.move()
    append(journal, *made[14:])
    append(journal, receipt(99, account_id="acct_2"))
    seen, after = [], None
    for size in (3, 1, 7, 9):
        page = ledger.page("acct_1", size, after)
        assert page.more == (size != 9)
        seen += numbers(page)
        after = page.receipts[-1]
    assert seen == list(reversed(range(20)))
    assert ledger.page("acct_1", 5, after) == ([], False)
    assert numbers(ledger.page("acct_2", 5)) == [99]
    assert ledger.page("acct_3", 5) == ([], False)


def test_a_file_that_is_moved_and_deleted_meanwhile_is_looked_for_again(
    journal, ledger, monkeypatch
):
    append(journal, *(receipt(number) for number in range(20)))
    real, moves = module.segment_names, []

    def and_then_moved(directory):
        found = real(directory)
        if not moves:
            moves.append(journal._mover.move())
        return found

    monkeypatch.setattr(module, "segment_names", and_then_moved)
    assert numbers(ledger.page("acct_1", 100)) == list(reversed(range(20)))
    moves.clear()
    assert ledger.find("acct_1", receipt(0).receipt_id) == receipt(0)


def test_it_does_not_look_for_ever(ledger, monkeypatch):
    monkeypatch.setattr(module, "segment_names", lambda _: ["gone.spool"])
    with pytest.raises(StoreError, match="change faster"):
        ledger.page("acct_1", 1)


def test_a_spool_that_cannot_be_read_is_named(tmp_path, ledger):
    (tmp_path / "spool" / "x.spool").mkdir()
    with pytest.raises(StoreError, match="spool: Is a directory"):
        ledger.find("acct_1", "rcpt_1")


def test_what_is_moved_but_not_noted_as_moved_is_seen_once(tmp_path, journal, ledger):
    """A process has died between forgetting its file and deleting it."""
    append(journal, receipt(1))
    journal._mover.move()
    journal._database.execute("DELETE FROM spool")
    assert numbers(ledger.page("acct_1", 9)) == [1]
    assert sum(counts.requests for _, counts in ledger.usage(0)) == 1


# --- usage


def total(lines):
    return Counts(*map(sum, zip(Counts(), *(counts for _, counts in lines), strict=True)))


def test_usage_is_by_day_and_counts_what_is_not_moved(journal, ledger):
    used = attempt(usage=Usage(10, 5))
    append(journal, receipt(1, used), receipt(2, used, arrived=NOON + DAY))
    before = ledger.usage(0)
    journal._mover.move()
    append(journal, receipt(3, used), receipt(4, used, account_id="acct_2"))
    lines = ledger.usage(0)
    midnight = NOON - DAY // 2
    assert [(place.start, place.account_id, counts.requests) for place, counts in before] == [
        (midnight, "acct_1", 1),
        (midnight + DAY, "acct_1", 1),
    ]
    assert [(place.start, place.account_id, counts.requests) for place, counts in lines] == [
        (midnight, "acct_1", 2),
        (midnight, "acct_2", 1),
        (midnight + DAY, "acct_1", 1),
    ]
    assert total(lines).cost == 4 * used.cost
    assert total(ledger.usage(0, "acct_2")).requests == 1


def test_usage_from_a_minute_or_a_day_on(journal, ledger):
    append(
        journal,
        receipt(1, arrived=NOON - DAY),
        receipt(2, arrived=NOON - 0.5),
        receipt(3, arrived=NOON),
        receipt(4, arrived=NOON + 59.5),
    )
    for _ in range(2):
        counted = [
            total(ledger.usage(since)).requests
            for since in (0, NOON - DAY // 2, NOON - 60, NOON, NOON + 60)
        ]
        assert counted == [4, 3, 3, 2, 0]
        journal._mover.move()


def test_there_must_be_a_ledger(tmp_path):
    with pytest.raises(StoreError, match="no ledger in"):
        open_receipts(tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_what_it_says_of_itself(ledger):
    assert "kproxy.db" in repr(ledger)
