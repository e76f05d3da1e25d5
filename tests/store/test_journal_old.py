"""A data directory that kproxy has left on 2026-11-24, as it lay after a `kill -9`.

In it: the database with pages of 4,096 bytes, its tables still in the write-ahead log; two receipts
that were moved, with rows for their three attempts; and a spool file with these two, and two more
that were not moved.
"""

import tarfile
from pathlib import Path

import pytest

from kproxy.outcome import Ending, Usage
from kproxy.store.database import migrations, open_database
from kproxy.store.journal import JournalParams, open_journal
from kproxy.store.receipts import open_receipts
from kproxy.store.segment import segment_names
from tests.fakes.receipts import receipt

LEFT = Path(__file__).parent / "ledger_2026_11_24.tar.gz"
NOON = 1_764_072_000
MOVED = ["rcpt_00000000000000005ca1ab1e", "rcpt_000000000000000000ddba11"]
UNMOVED = ["rcpt_00000000000000000000f00d", "rcpt_00000000000000000000beef"]
PARAMS = JournalParams(segment=16_384)


@pytest.fixture
def directory(tmp_path):
    with tarfile.open(LEFT) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def check(directory):
    """All four are there, whole, and counted once."""
    ledger = open_receipts(directory)
    try:
        page = ledger.page("acct_1", 10)
        assert [one.receipt_id for one in page.receipts] == [UNMOVED[1], *MOVED]
        first = ledger.find("acct_1", MOVED[0])
        assert [one.ending for one in first.attempts] == [Ending.FAULT, Ending.COMPLETE]
        assert first.attempts[1].usage == first.execution.usage == Usage(1000, 200, 50)
        assert (first.candidates[0].model_id, first.candidates[0].worth) == ("model-0", None)
        assert ledger.find("acct_2", UNMOVED[0]).execution.cost == 364_000
        sums = [counts for _, counts in ledger.usage(0)]
        assert sum(one.requests for one in sums) == 4
        assert sum(one.attempts for one in sums) == 5
        assert sum(one.charged_tokens for one in sums) == 1_200
        minutes = [counts for _, counts in ledger.usage(NOON - 60)]  # the other table
        assert sum(one.cost for one in minutes) == 4 * 364_000
    finally:
        ledger.close()


def test_what_an_older_kproxy_left_is_read_before_it_is_moved(directory):
    check(directory)


def test_it_is_taken_over_and_goes_on(directory):
    journal = open_journal(directory, PARAMS)
    journal._mover.adopt()
    journal.close()
    check(directory)
    database = open_database(directory)
    assert database.query("SELECT id FROM receipt ORDER BY number") == [
        (name,) for name in MOVED + UNMOVED
    ]
    assert segment_names(directory / "spool") == []
    assert database.query("PRAGMA user_version") == [(len(migrations()),)]
    assert database.query("PRAGMA page_size") == [(4_096,)]
    database.close()

    journal = open_journal(directory, PARAMS)
    journal.append(receipt(7, account_id="acct_3"))
    journal.close()
    ledger = open_receipts(directory)
    assert ledger.find("acct_3", receipt(7).receipt_id) == receipt(7, account_id="acct_3")
    assert sum(counts.requests for _, counts in ledger.usage(0)) == 5
    ledger.close()


def test_an_older_one_beside_finds_the_tables_that_it_fills(directory):
    """Its own statements; what a newer one has entered is known to it by the same id."""
    database = open_database(directory)
    with database.transaction():
        database.execute(
            "INSERT INTO receipt (number, id, account_id, key_id, arrived, asked, model, provider,"
            " status, cost, savings, policy_version, body)"
            " SELECT number + 10, 'rcpt_x', account_id, key_id, arrived, asked, model, provider,"
            " status, cost, savings, policy_version, body FROM receipt WHERE number = 1"
        )
        database.execute(
            "INSERT INTO attempt (receipt, place, model, provider, started, first_token, ended,"
            " ending, fault, prompt_tokens, completion_tokens, cached_tokens, cache_write_tokens,"
            " reasoning_tokens, estimated, cost)"
            " VALUES (11, 0, 'm', 'acme', 0, 0, 0, 'complete', NULL, 1, 1, 0, 0, 0, 0, 1)"
        )
    database.close()
    journal = open_journal(directory, PARAMS)
    journal._mover.adopt()
    journal.close()
    database = open_database(directory)
    assert database.query("SELECT max(number), count(*) FROM receipt") == [(13, 5)]
    database.close()
