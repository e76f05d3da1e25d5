"""The spool of one process: room ahead, no receipt without its place, nothing synced in vain."""

import errno
import threading

import pytest

from kproxy.store import segment as segment_module
from kproxy.store.database import StoreError
from kproxy.store.segment import segment_names
from kproxy.store.spool import open_spool

BODY = b"x" * 990  # four of them fill a segment
SIZE = 4_096


@pytest.fixture
def spool(tmp_path):
    made = open_spool(tmp_path / "spool", SIZE)
    made.reserve()
    yield made
    made.close()


def no_room(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(segment_module.os, "posix_fallocate", full)


def test_a_spare_segment_stands_by(tmp_path):
    spool = open_spool(tmp_path / "a" / "spool", SIZE)
    assert not spool.has_spare
    spool.reserve()
    assert spool.has_spare
    names = segment_names(spool.directory)
    spool.reserve()
    assert segment_names(spool.directory) == names
    spool.close()
    assert segment_names(spool.directory) == []


def test_a_full_segment_is_followed_by_the_spare(spool):
    for _ in range(4):
        spool.append(BODY)
    assert (len(spool.segments), spool.ready) == (1, True)
    spool.append(BODY)
    assert [one.written for one in spool.segments] == [4_000, 1_000]
    assert spool.unmoved == 5_000
    assert spool.ready, "three quarters are left"
    spool.append(BODY)
    assert not spool.ready
    spool.reserve()
    assert spool.ready


def test_on_a_full_disk_there_is_room_for_all_that_the_spare_holds(spool, monkeypatch):
    no_room(monkeypatch)
    spool.append(BODY)
    for _ in range(7):
        spool.append(BODY)
    with pytest.raises(StoreError, match="no room for a receipt of 990 bytes"):
        spool.append(BODY)
    with pytest.raises(StoreError, match="No space left"):
        spool.reserve()
    assert spool.unmoved == 8_000
    monkeypatch.undo()
    spool.reserve()
    spool.append(BODY)
    assert spool.unmoved == 9_000


def test_a_retired_segment_is_gone(spool):
    for _ in range(5):
        spool.append(BODY)
    first, last = spool.segments
    first.moved = first.written
    spool.retire(first)
    assert spool.segments == (last,)
    assert not first.path.exists()


def test_what_is_moved_goes_at_the_end_and_the_rest_stays(tmp_path):
    spool = open_spool(tmp_path, SIZE)
    spool.reserve()
    for _ in range(5):
        spool.append(BODY)
    first, last = spool.segments
    first.moved = first.written
    spool.close()
    assert segment_names(tmp_path) == [last.name]


def test_every_segment_is_synced_once(spool, monkeypatch):
    synced = []
    monkeypatch.setattr(segment_module.os, "fdatasync", synced.append)
    for _ in range(5):
        spool.append(BODY)
    spool.sync()
    spool.sync()
    assert synced == [one.descriptor for one in spool.segments]


def test_a_segment_whose_sync_failed_is_left_and_not_trusted(spool, monkeypatch):
    def broken(_):
        raise OSError(errno.EIO, "Input/output error")

    spool.append(BODY)
    monkeypatch.setattr(segment_module.os, "fdatasync", broken)
    with pytest.raises(StoreError, match="Input/output error"):
        spool.sync()
    monkeypatch.undo()
    assert not spool.ready
    spool.append(BODY)
    first, second = spool.segments
    assert (first.written, second.written) == (1_000, 1_000)
    spool.reserve()
    with pytest.raises(StoreError, match="failed to keep"):
        spool.sync()
    first.moved = first.written
    spool.retire(first)
    spool.sync()
    assert spool.ready


def test_a_segment_is_not_ended_while_it_is_synced(spool, monkeypatch):
    """A closed descriptor may be another file's by then."""
    order = []
    inside, go_on = threading.Event(), threading.Event()

    def slow(_):
        inside.set()
        go_on.wait()
        order.append("synced")

    monkeypatch.setattr(segment_module.os, "fdatasync", slow)
    for _ in range(5):
        spool.append(BODY)
    first = spool.segments[0]
    first.moved = first.written
    syncing = threading.Thread(target=spool.sync)
    syncing.start()
    inside.wait()

    def retire():
        spool.retire(first)
        order.append("retired")

    retiring = threading.Thread(target=retire)
    retiring.start()
    spool.append(BODY)
    order.append("appended")
    go_on.set()
    syncing.join()
    retiring.join()
    assert order[0] == "appended", "the request path does not wait for the disk"
    assert order.index("synced") < order.index("retired")


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file/spool: Not a directory"):
        open_spool(tmp_path / "file" / "spool", SIZE)
