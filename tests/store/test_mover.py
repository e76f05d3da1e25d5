"""From spool files to rows: groups, files that are full, files that dead processes have left."""

import logging
import os

import msgspec
import pytest

from kproxy.store import mover as module
from kproxy.store.books import Books
from kproxy.store.database import StoreError, open_database
from kproxy.store.mover import Mover
from kproxy.store.segment import create_segment, segment_names
from kproxy.store.spool import open_spool
from tests.fakes.receipts import receipt

SIZE = 5_120  # three of these receipts and a little


@pytest.fixture
def database(tmp_path):
    opened = open_database(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def spool(tmp_path):
    made = open_spool(tmp_path / "spool", SIZE)
    yield made
    made.close()


@pytest.fixture
def mover(database, spool):
    return Mover(Books(database), spool)


def body(number):
    return msgspec.json.encode(receipt(number))


def moved(database):
    return [int(name[5:], 16) for (name,) in database.query("SELECT id FROM receipt ORDER BY id")]


def fill(spool, numbers):
    for number in numbers:
        spool.reserve()
        spool.append(body(number))


def test_what_is_full_and_moved_is_deleted(database, spool, mover):
    fill(spool, range(9))
    names = [one.name for one in spool.segments]
    assert len(names) > 2
    mover.move()
    assert moved(database) == list(range(9))
    assert [one.name for one in spool.segments] == names[-1:]
    assert set(names) & set(segment_names(spool.directory)) == {names[-1]}
    ((name, end),) = database.query("SELECT name, moved FROM spool")
    assert (name, end) == (names[-1], spool.segments[-1].written)
    assert (spool.unmoved, mover.rows) == (0, 9)
    fill(spool, [9])
    mover.move()
    mover.move()
    assert mover.rows == 10


def test_groups_are_of_some_size(database, spool, mover, monkeypatch):
    monkeypatch.setattr(module, "GROUP", 10)
    fill(spool, range(3))
    commits = []
    database._connection.set_trace_callback(
        lambda sql: commits.append(sql) if sql == "COMMIT" else None
    )
    mover.move()
    assert (moved(database), len(commits)) == ([0, 1, 2], 3)


def test_a_database_that_refuses_costs_nothing_but_time(database, spool, mover):
    fill(spool, range(5))
    database.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreError, match="cannot be written"):
        mover.move()
    assert spool.unmoved > 0
    database.execute("PRAGMA query_only = 0")
    mover.move()
    assert (moved(database), spool.unmoved) == ([0, 1, 2, 3, 4], 0)


def test_at_the_end_nothing_is_left(database, spool, mover):
    fill(spool, range(5))
    mover.finish()
    spool.close()
    assert moved(database) == [0, 1, 2, 3, 4]
    assert segment_names(spool.directory) == []
    assert database.query("SELECT * FROM spool") == []


# --- other processes' files


def left(spool, *bodies, junk=b""):
    """What a process that has died leaves: these records, then `junk`."""
    one = create_segment(spool.directory, SIZE)
    for data in bodies:
        one.write(data)
    os.pwrite(one.descriptor, junk, one.written)
    one.close()
    return one


def test_a_dead_ones_receipts_are_taken_over(database, spool, mover):
    left(spool, body(1), body(2))
    left(spool)
    mover.adopt()
    assert moved(database) == [1, 2]
    assert segment_names(spool.directory) == [spool.segments[0].name]
    assert database.query("SELECT * FROM spool") == []


def test_a_living_ones_are_not(database, spool, mover):
    other = create_segment(spool.directory, SIZE)
    other.write(body(1))
    mover.adopt()
    assert moved(database) == []
    other.close()


def test_where_it_died_does_not_matter(database, spool, mover):
    """Between the rows and the next, between the rows and the deletion, and before that."""
    books = Books(database)
    first = left(spool, body(1), body(2))
    books.post(first.name, [body(1)], len(body(1)) + 10)
    second = left(spool, body(3))
    books.post(second.name, [body(3)], second.written)
    books.forget(second.name)
    third = left(spool, body(4))
    books.post(third.name, [body(4)], SIZE)
    mover.adopt()
    assert moved(database) == [1, 2, 3, 4]
    assert database.query("SELECT sum(requests), sum(cost) FROM usage_day") == [(4, 4 * 364_000)]


def test_a_torn_tail_is_dropped_in_silence(database, spool, mover, caplog):
    left(spool, body(1), junk=b"01234567 {")
    mover.adopt()
    assert moved(database) == [1]
    assert segment_names(spool.directory) == [spool.segments[0].name]
    assert caplog.records == []


@pytest.mark.parametrize("bad", [b"00000000 {}\n", b"\n\n??\n"])
def test_a_damaged_file_is_kept_and_told_of(database, spool, mover, caplog, bad):
    one = left(spool, body(1), junk=bad)
    mover.adopt()
    assert moved(database) == [1]
    assert one.path.with_suffix(".damaged").exists()
    assert segment_names(spool.directory) == [spool.segments[0].name]
    assert [(r.levelno, "1 records are no receipts" in r.message) for r in caplog.records] == [
        (logging.ERROR, True)
    ]


def test_a_record_that_is_no_receipt_is_kept_likewise(database, spool, mover, caplog):
    one = left(spool, body(1), b"{}")
    mover.adopt()
    assert moved(database) == [1]
    assert one.path.with_suffix(".damaged").exists()
    assert len(caplog.records) == 1


def test_many_are_taken_over_some_at_a_time(database, spool, mover, monkeypatch):
    monkeypatch.setattr(module, "ADOPTED_AT_ONCE", 2)
    for number in range(3):
        left(spool, body(number))
    mover.adopt()
    assert len(moved(database)) == 2
    mover.adopt()
    assert len(moved(database)) == 3


def test_a_take_over_that_fails_is_anothers(database, spool, mover):
    left(spool, body(1))
    left(spool, body(2))
    database.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreError):
        mover.adopt()
    database.execute("PRAGMA query_only = 0")
    mover.adopt()
    assert moved(database) == [1, 2]
