"""The journal's tasks on the real clock, without a wait: each test waits for a fact."""

import errno
import threading
from itertools import count

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kproxy.store import journal as module
from kproxy.store import segment as segment_module
from kproxy.store.database import StoreError, open_database
from kproxy.store.journal import JournalParams, open_journal
from kproxy.store.segment import create_segment, segment_names
from kproxy.store.spool import open_spool
from tests.fakes.cancel import cancelled_at
from tests.fakes.receipts import receipt

PARAMS = JournalParams(segment=8_192, interval=0, probe=0, adopt=0.001)


@pytest.fixture
def journal(tmp_path):
    made = open_journal(tmp_path, PARAMS)
    yield made
    made.close()


async def until(fact):
    while True:  # worker threads set no event of ours
        if fact():
            return
        await trio.lowlevel.checkpoint()


def rows(directory):
    database = open_database(directory)
    found = database.query("SELECT id FROM receipt ORDER BY id")
    (sums,) = database.query("SELECT ifnull(sum(requests), 0) FROM usage_minute")
    database.close()
    assert sums == (len(found),), "counted as often as there are rows"
    return [int(name[5:], 16) for (name,) in found]


def no_room(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_rows_come_into_the_database_by_themselves(tmp_path, nursery, journal):
    await nursery.start(journal.run)
    assert journal.healthy
    for number in range(20):
        journal.append(receipt(number))
        await until(lambda: journal.healthy)
    await until(lambda: journal.statistics().moved == 20)
    assert rows(tmp_path) == list(range(20))
    assert journal.statistics() == (20, 0, 0, True)
    nursery.cancel_scope.cancel()


async def test_an_appended_receipt_needs_no_task_to_survive(tmp_path):
    first = open_journal(tmp_path, PARAMS)
    first.append(receipt(1))
    for segment in first._spool.segments:
        segment.close()  # as the kernel does at a kill
    second = open_journal(tmp_path, PARAMS)
    async with trio.open_nursery() as nursery:
        await nursery.start(second.run)
        await until(lambda: second.statistics().moved)
        nursery.cancel_scope.cancel()
    second.close()
    assert rows(tmp_path) == [1]


async def test_a_living_process_takes_over_what_dies_later(tmp_path, nursery, journal):
    await nursery.start(journal.run)
    other = create_segment(tmp_path / "spool", 8_192)
    other.write(module._encode(receipt(1)))
    await wait_all_tasks_blocked()
    assert journal.statistics().moved == 0
    other.close()
    await until(lambda: journal.statistics().moved == 1)
    nursery.cancel_scope.cancel()


def test_closing_moves_the_rest_and_leaves_no_file(tmp_path):
    journal = open_journal(tmp_path, PARAMS)
    for number in range(3):
        journal.append(receipt(number))
    journal.close()
    assert rows(tmp_path) == [0, 1, 2]
    assert segment_names(tmp_path / "spool") == []


def test_closing_without_a_database_leaves_the_spool(tmp_path, caplog):
    journal = open_journal(tmp_path, PARAMS)
    journal.append(receipt(1))
    journal._database.execute("PRAGMA query_only = 1")
    journal.close()
    assert len(segment_names(tmp_path / "spool")) == 1
    assert "stay in" in caplog.text
    open_journal(tmp_path, PARAMS).close()
    assert rows(tmp_path) == []


async def test_cancelled_at_any_step_it_loses_and_doubles_nothing(tmp_path):
    for step in count(1):
        journal = open_journal(tmp_path / str(step), PARAMS)

        async def story(journal=journal):
            async with trio.open_nursery() as nursery:
                await nursery.start(journal.run)
                for number in range(6):
                    if journal.healthy:
                        journal.append(receipt(number))
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()

        cancelled = await cancelled_at(step, story)
        appended = journal.statistics()
        journal.close()
        found = rows(tmp_path / str(step))
        assert len(found) >= appended.moved
        assert found == list(range(len(found)))
        if not cancelled:
            break
    assert len(found) > 1


# --- a full disk


async def test_room_is_missed_before_it_is_needed(tmp_path, nursery, journal, monkeypatch, caplog):
    await nursery.start(journal.run)
    monkeypatch.setattr(segment_module.os, "posix_fallocate", no_room)
    number = 0
    while journal.healthy:
        journal.append(receipt(number))
        number += 1
    for _ in range(2):  # requests that were under way
        journal.append(receipt(number))
        number += 1
    await until(lambda: journal.statistics().moved == number)
    assert not journal.healthy
    assert [r.message for r in caplog.records if "no room for more" in r.message][1:] == [], (
        "said once"
    )
    assert "no room for more receipts: " in caplog.text
    monkeypatch.undo()
    await until(lambda: "over: there is no room for more receipts" in caplog.text)
    journal.append(receipt(number))
    await until(lambda: journal.statistics().moved == number + 1)
    assert rows(tmp_path) == list(range(number + 1))
    nursery.cancel_scope.cancel()


def test_a_start_frees_the_room_that_dead_processes_hold(tmp_path, monkeypatch):
    """Two segments left by a kill, on a disk that has no room for a third."""
    left = open_spool(tmp_path / "spool", 8_192)
    left.append(msgspec.json.encode(receipt(1)))
    left.reserve()
    left.close()
    make = segment_module.os.posix_fallocate

    def nearly_full(descriptor, start, size):
        if len(segment_names(tmp_path / "spool")) > 1:  # this one is there already
            no_room()
        make(descriptor, start, size)

    monkeypatch.setattr(segment_module.os, "posix_fallocate", nearly_full)
    journal = open_journal(tmp_path, JournalParams(segment=8_192))
    assert rows(tmp_path) == [1]
    journal.close()


async def test_while_a_spare_is_made_nobody_is_refused(nursery, journal, monkeypatch):
    """One takes the disk some milliseconds, in which a busy server lets hundreds in."""
    await nursery.start(journal.run)
    go_on = threading.Event()
    make = segment_module.os.posix_fallocate

    def slow(*given):
        go_on.wait()
        make(*given)

    monkeypatch.setattr(segment_module.os, "posix_fallocate", slow)
    spool = journal._spool
    number = 0
    while spool.has_spare:
        journal.append(receipt(number))
        number += 1
    assert journal.healthy
    go_on.set()
    await until(lambda: spool.has_spare)
    nursery.cancel_scope.cancel()


async def test_what_the_kernel_refuses_is_kept_and_offered_again(
    tmp_path, nursery, journal, monkeypatch
):
    await nursery.start(journal.run)
    journal.append(receipt(0))
    monkeypatch.setattr(segment_module.os, "pwrite", no_room)
    for number in (1, 2):
        with pytest.raises(StoreError, match="no room for receipts"):
            journal.append(receipt(number))
        assert not journal.healthy
        monkeypatch.undo()  # the second waits behind the first, room or not
        if number == 1:
            with pytest.raises(StoreError, match="waiting for room"):
                journal.append(receipt(3))
            await until(lambda: journal.healthy)
            monkeypatch.setattr(segment_module.os, "pwrite", no_room)
    await until(lambda: journal.healthy)
    await until(lambda: journal.statistics().moved == 4)
    assert rows(tmp_path) == [0, 1, 2, 3]
    nursery.cancel_scope.cancel()


def test_what_is_held_is_bounded_and_the_loss_is_told(tmp_path, monkeypatch, caplog):
    journal = open_journal(tmp_path, JournalParams(segment=8_192, held=2))
    monkeypatch.setattr(segment_module.os, "pwrite", no_room)
    for number in range(2):
        with pytest.raises(StoreError, match=r"^(?!a receipt is lost)"):
            journal.append(receipt(number))
    with pytest.raises(StoreError, match="a receipt is lost"):
        journal.append(receipt(2))
    assert journal.statistics().held == 2
    journal.close()
    assert "2 receipts are lost" in caplog.text


def test_one_that_no_file_could_hold_is_refused_alone(journal):
    with pytest.raises(StoreError, match="is too long"):
        journal.append(receipt(1, asked="x" * 1_048_576))
    assert journal.statistics().held == 0


# --- strict


async def test_many_share_one_fsync(nursery, journal, monkeypatch):
    await nursery.start(journal.run)
    synced = []
    inside, go_on = threading.Event(), threading.Event()

    def slow(descriptor):
        synced.append(descriptor)
        inside.set()
        assert go_on.wait(60)

    monkeypatch.setattr(segment_module.os, "fdatasync", slow)
    done = []

    async def answer(number):
        journal.append(receipt(number))
        await journal.durable()
        done.append(number)

    nursery.start_soon(answer, 0)
    await until(inside.is_set)
    for number in (1, 2):  # too late for the fsync that is under way
        nursery.start_soon(answer, number)
    await wait_all_tasks_blocked()
    assert done == []
    go_on.set()
    await until(lambda: len(done) == 3)
    assert done[0] == 0
    assert len(synced) == 2
    nursery.cancel_scope.cancel()


async def test_an_fsync_that_fails_is_told_to_those_who_wait(
    tmp_path, nursery, journal, monkeypatch
):
    def broken(_):
        raise OSError(errno.EIO, "Input/output error")

    await nursery.start(journal.run)
    journal.append(receipt(0))
    await journal.durable()
    monkeypatch.setattr(segment_module.os, "fdatasync", broken)
    journal.append(receipt(1))
    with pytest.raises(StoreError, match="Input/output error"):
        await journal.durable()
    monkeypatch.undo()
    await until(lambda: journal.healthy)
    journal.append(receipt(2))
    await journal.durable()
    await until(lambda: journal.statistics().moved == 3)
    assert rows(tmp_path) == [0, 1, 2]
    nursery.cancel_scope.cancel()


async def test_a_disk_that_does_not_answer_is_waited_for_so_long(tmp_path, autojump_clock):
    journal = open_journal(tmp_path, PARAMS)  # without its task, as if that hung
    with pytest.raises(StoreError, match=r"has not answered for 10\.0 s"):
        await journal.durable()
    assert trio.current_time() == PARAMS.patience
    journal.close()


def test_what_it_says_of_itself(journal):
    assert "0 held" in repr(journal)
    assert not journal.strict


def test_a_directory_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "spool").write_text("")
    with pytest.raises(StoreError, match="spool: File exists"):
        open_journal(tmp_path, PARAMS)
