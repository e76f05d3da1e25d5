"""The file that all workers map: who owns what, who has died, and what it refuses."""

import errno
import fcntl
import os
import struct

import pytest

from kproxy.store import cells as module
from kproxy.store.cells import COLUMNS, TOKENS, Cells
from kproxy.store.database import StoreError


@pytest.fixture
def opened(tmp_path):
    everyone = []

    def join():
        one = Cells(tmp_path)
        one.opened()
        everyone.append(one)
        return one

    yield join
    for one in everyone:
        one.close()


def die(one):
    """What a kill leaves: the kernel takes the file and its mappings away, and that is all."""
    one._give_back()


def reserved(one, account, column):
    slot = one.slot(account)
    return slot.words[slot.base + TOKENS + 2 * column + 1]


def reserve(one, account, tokens):
    slot = one.slot(account)
    slot.words[slot.base + TOKENS + 2 * one.column + 1] += tokens


def test_the_first_says_so_and_everyone_has_a_column(tmp_path, opened):
    first, second = opened(), opened()
    assert (first.first, second.first) == (True, False)
    assert (first.column, second.column) == (0, 1)
    assert first.columns == second.columns == 2
    assert "column 1 of 2" in repr(second)
    assert (tmp_path / "kproxy.counters").stat().st_mode & 0o777 == 0o600


def test_an_account_is_at_the_same_place_for_everyone(opened):
    first, second = opened(), opened()
    names = [f"acct_{number}" for number in range(1_200)]  # three chunks
    for number, name in enumerate(names):
        reserve((first, second)[number % 2], name, number + 1)
    third = opened()
    for number, name in enumerate(names):
        for one in (first, second, third):
            assert reserved(one, name, number % 2) == number + 1
    assert first.slot("acct_7") is first.slot("acct_7")


def test_what_one_has_reserved_is_another_column_than_what_others_have(opened):
    first, second = opened(), opened()
    reserve(first, "a", 3)
    reserve(second, "a", 4)
    assert [reserved(first, "a", column) for column in range(COLUMNS)] == [3, 4] + [0] * 62


def test_a_dead_worker_is_found_once_and_only_its_reservations_go(opened):
    first, second, third = opened(), opened(), opened()
    for one in (first, second, third):
        reserve(one, "a", 5)
        reserve(one, "b", 6)
    assert first.recover() == 0
    die(second)
    assert third.recover() == 1
    assert [reserved(first, "a", column) for column in range(3)] == [5, 0, 5]
    assert [reserved(first, "b", column) for column in range(3)] == [6, 0, 6]
    assert (first.recover(), third.recover()) == (0, 0)


def test_the_next_worker_takes_a_dead_ones_column_empty(opened):
    first, second = opened(), opened()
    reserve(second, "a", 5)
    slot = second.slot("a")
    slot.words[slot.base + TOKENS + 2] = 7  # used
    die(second)
    third = opened()
    assert third.column == 1
    assert reserved(first, "a", 1) == 0
    slot = first.slot("a")
    assert slot.words[slot.base + TOKENS + 2] == 7
    assert first.recover() == 0


def test_one_that_closes_leaves_nothing(opened, tmp_path):
    first = opened()
    second = Cells(tmp_path)
    second.opened()
    reserve(second, "a", 5)
    second.close()
    assert reserved(first, "a", 1) == 0
    assert first.recover() == 0
    assert opened().column == 1


@pytest.mark.parametrize("left", [b"", b"x" * 100, bytes(1 << 20), b"\xff" * (3 << 20)])
def test_whoever_is_alone_starts_anew_whatever_is_left(tmp_path, opened, left):
    (tmp_path / "kproxy.counters").write_bytes(left)
    one = opened()
    assert one.first
    slot = one.slot("a")
    assert not any(slot.words[slot.base + 2 : slot.base + 260])


def test_it_starts_anew_after_everyone_has_gone(tmp_path, opened):
    one = Cells(tmp_path)
    one.opened()
    reserve(one, "a", 5)
    die(one)
    again = opened()
    assert again.first
    assert reserved(again, "a", 0) == 0


def test_another_versions_layout_is_refused_while_it_is_in_use(tmp_path, opened):
    opened()
    with (tmp_path / "kproxy.counters").open("r+b") as file:
        file.write(struct.pack("q", 1))
    with pytest.raises(StoreError, match=r"kproxy\.counters is in use by another version"):
        Cells(tmp_path)


def test_one_worker_too_many_is_refused(tmp_path, opened):
    for _ in range(COLUMNS):
        opened()
    with pytest.raises(StoreError, match="in use by 64 processes, which is the limit"):
        Cells(tmp_path)


def test_one_account_too_many_is_refused_and_the_others_stay(opened, monkeypatch):
    monkeypatch.setattr(module, "MOST_ACCOUNTS", 2)
    first, second = opened(), opened()
    reserve(first, "a", 1)
    reserve(first, "b", 2)
    for one in (first, second, second):
        with pytest.raises(StoreError, match="has 2 accounts, which is the limit"):
            one.slot("c")
    assert reserved(second, "b", 0) == 2


def test_a_full_disk_refuses_a_new_account_and_is_got_over(opened, monkeypatch):
    one = opened()
    reserve(one, "a", 1)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "_PER_CHUNK", 1)
    monkeypatch.setattr(module.os, "posix_fallocate", full)
    with pytest.raises(StoreError, match="cannot grow: No space left on device"):
        one.slot("b")
    assert reserved(one, "a", 0) == 1
    monkeypatch.undo()
    reserve(one, "b", 2)
    assert reserved(opened(), "b", 0) == 2


def test_a_directory_that_is_missing_is_refused_by_name(tmp_path):
    with pytest.raises(StoreError, match=r"missing/kproxy\.counters: No such file"):
        Cells(tmp_path / "missing")


def test_a_disk_that_is_full_at_the_start_is_refused_by_name(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.os, "posix_fallocate", full)
    with pytest.raises(StoreError, match=r"kproxy\.counters: No space left"):
        Cells(tmp_path)
    monkeypatch.undo()
    again = Cells(tmp_path)  # the refused one holds no lock
    again.close()


def test_a_slot_whose_holder_does_not_go_on_is_changed_all_the_same(opened):
    first, second = opened(), opened()
    theirs, ours = first.slot("a"), second.slot("a")
    first.lock(theirs)
    second.lock(ours)
    assert second.unlocked == 1
    second.unlock(ours)  # not held: lets go of nothing
    second.lock(ours)
    assert second.unlocked == 2
    first.unlock(theirs)
    second.lock(ours)
    assert (first.unlocked, second.unlocked) == (0, 2)
    second.unlock(ours)


def test_only_the_slot_is_locked(opened):
    first, second = opened(), opened()
    first.lock(first.slot("a"))
    second.lock(second.slot("b"))
    assert second.unlocked == 0


def test_whoever_is_alone_locks_nothing_and_does_so_once_another_has_joined(opened):
    first = opened()
    slot = first.slot("a")
    with open(first.path, "r+b") as file:

        def is_locked():
            try:
                fcntl.fcntl(file, fcntl.F_OFD_SETLK, slot.held)
            except BlockingIOError:
                return True
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, slot.let_go)
            return False

        first.lock(slot)
        assert not is_locked()
        second = opened()
        first.unlock(slot)
        first.lock(slot)
        assert is_locked()
        first.unlock(slot)
        assert not is_locked()
        die(second)  # what it has left may still be changed by who finds it
        first.lock(slot)
        assert is_locked()


def test_no_account_is_placed_while_another_is_being_placed(opened):
    first, second = opened(), opened()
    second.slot("known")
    growing = module._flock(fcntl.F_WRLCK, module._GROWING, 1)
    fcntl.fcntl(first._file, fcntl.F_OFD_SETLK, growing)
    with pytest.raises(StoreError, match="being grown by a process that does not go on"):
        second.slot("new")
    assert second.slot("known")


def test_a_slot_that_was_begun_and_not_counted_is_written_again(opened):
    first, second = opened(), opened()
    first.slot("a")
    begun = first._slot_at(1)
    begun.words[begun.base] = 99  # killed before the count was raised
    reserve(second, "b", 4)
    assert reserved(first, "b", 1) == 4
    assert first.slot("b").base == begun.base
