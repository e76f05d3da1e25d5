"""Spool files: what is written is read, what is torn or damaged is not taken for a record."""

import errno
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.store import segment as module
from kproxy.store.database import StoreError
from kproxy.store.segment import adopt_segments, create_segment, read_batch, segment_names

SIZE = 4_096


@pytest.fixture
def segment(tmp_path):
    made = create_segment(tmp_path, SIZE)
    yield made
    made.close()


def read(segment, size=SIZE, stop=None):
    """Everything below `stop`, the way the mover reads it: bodies and damaged lines."""
    bodies, damaged, start, stop = [], 0, 0, segment.size if stop is None else stop
    while start < stop:
        batch = read_batch(segment.descriptor, start, stop, size)
        assert batch.end > start
        bodies += batch.bodies
        damaged += batch.damaged
        start = batch.end
    assert start == stop
    return bodies, damaged


def test_its_room_is_the_disks_from_the_start(tmp_path, segment):
    status = segment.path.stat()
    assert (status.st_size, status.st_blocks * 512) == (SIZE, SIZE)
    assert status.st_mode & 0o777 == 0o600
    assert segment_names(tmp_path) == [segment.name]
    assert f"{segment.name} 0/0/4096" in repr(segment)


@given(st.lists(st.binary().map(lambda data: data.replace(b"\n", b"")), max_size=9), st.data())
def test_what_is_written_is_read_in_pieces_of_any_size(tmp_path_factory, bodies, data):
    made = create_segment(tmp_path_factory.mktemp("spool"), 65_536)
    for body in bodies:
        made.write(body)
    size = data.draw(st.integers(1, 300))
    assert read(made, size, made.written) == (bodies, 0)
    assert read(made, max(size, 50), 2_048 + made.written) == (bodies, 0)
    made.close()


def test_a_record_is_a_line_with_its_sum(segment):
    segment.write(b'{"a":1}')
    assert os.pread(segment.descriptor, 18, 0) == b"%08x " % zlib.crc32(b'{"a":1}') + b'{"a":1}\n\0'
    assert segment.written == 17


@pytest.mark.parametrize("cut", range(17))
def test_a_torn_tail_is_no_record(segment, cut):
    segment.write(b'{"a":1}')
    os.ftruncate(segment.descriptor, segment.written + cut)
    os.ftruncate(segment.descriptor, SIZE)
    torn = b"%08x " % zlib.crc32(b'{"b":2}') + b'{"b":2}\n'
    os.pwrite(segment.descriptor, torn[:cut], segment.written)
    assert read(segment) == ([b'{"a":1}'], 0)
    os.pwrite(segment.descriptor, torn, segment.written)
    assert read(segment) == ([b'{"a":1}', b'{"b":2}'], 0)


@pytest.mark.parametrize("place", range(17))
def test_a_changed_byte_costs_its_record_alone(segment, place):
    for body in (b'{"a":1}', b'{"b":2}', b'{"c":3}'):
        segment.write(body)
    os.pwrite(segment.descriptor, b"?", 17 + place)
    # Without its line end a record is one line with the next.
    left = [b'{"a":1}'] if place == 16 else [b'{"a":1}', b'{"c":3}']
    assert read(segment) == (left, 1)


def test_what_follows_a_hole_is_found(segment):
    """After a power cut a page may be NUL while the next one is there."""
    for body in (b'{"a":1}', b'{"b":2}', b'{"c":3}'):
        segment.write(body)
    os.pwrite(segment.descriptor, bytes(17), 17)
    assert read(segment) == ([b'{"a":1}', b'{"c":3}'], 0)
    os.pwrite(segment.descriptor, bytes(20), 17)
    assert read(segment) == ([b'{"a":1}'], 1)


def test_after_a_failed_write_the_next_record_takes_its_place(segment, monkeypatch):
    segment.write(b'{"a":1}')
    real = os.pwrite
    monkeypatch.setattr(module.os, "pwrite", lambda fd, data, at: real(fd, data[:5], at))
    with pytest.raises(StoreError, match="took 5 of 17 bytes"):
        segment.write(b'{"b":2}')
    monkeypatch.undo()
    segment.write(b'{"c":3}')
    assert read(segment) == ([b'{"a":1}', b'{"c":3}'], 0)


def test_it_fits_to_the_last_byte(segment):
    assert segment.fits(bytes(SIZE - 10))
    assert not segment.fits(bytes(SIZE - 9))
    segment.write(b"a" * (SIZE - 10))
    assert segment.written == SIZE
    assert not segment.fits(b"")
    assert read(segment) == ([b"a" * (SIZE - 10)], 0)


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_no_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "posix_fallocate", full)
    with pytest.raises(StoreError, match="no room for receipts: No space left"):
        create_segment(tmp_path, SIZE)
    assert segment_names(tmp_path) == []


def test_a_sync_that_failed_once_never_succeeds(segment, monkeypatch):
    segment.write(b"{}")
    segment.sync()
    segment.write(b"{}")
    monkeypatch.setattr(module.os, "fdatasync", full)
    with pytest.raises(StoreError):
        segment.sync()
    monkeypatch.undo()
    with pytest.raises(StoreError, match="failed to keep"):
        segment.sync()
    assert not segment.fits(b"{}")


def test_a_sync_asks_the_disk_only_for_what_is_new(segment, monkeypatch):
    asked = []
    monkeypatch.setattr(module.os, "fdatasync", asked.append)
    segment.sync()
    segment.write(b"{}")
    segment.sync()
    segment.sync()
    assert asked == [segment.descriptor]


# --- whose is it


def test_a_living_ones_file_is_not_taken_over(tmp_path, segment):
    assert adopt_segments(tmp_path, (), 9) == []


def test_a_dead_ones_file_is_taken_over_by_one(tmp_path):
    made = [create_segment(tmp_path, SIZE) for _ in range(3)]
    made[0].write(b"{}")
    for one in made:
        one.close()
    first = adopt_segments(tmp_path, {made[2].name}, 1)
    second = adopt_segments(tmp_path, {made[2].name}, 9)
    assert sorted(one.name for one in (*first, *second)) == sorted(one.name for one in made[:2])
    assert len(first) == 1
    assert [one.written for one in first] == [SIZE]
    for one in (*first, *second):
        one.close()


def test_a_file_that_its_owner_has_just_removed_is_left(tmp_path, segment, monkeypatch):
    monkeypatch.setattr(module, "segment_names", lambda _: ["gone.spool", segment.name])
    real = module.fcntl.flock

    def gone_meanwhile(descriptor, what):
        if what & module.fcntl.LOCK_NB:
            segment.path.unlink()
        real(descriptor, what & ~module.fcntl.LOCK_EX | module.fcntl.LOCK_SH)

    module.fcntl.flock(segment.descriptor, module.fcntl.LOCK_SH)
    monkeypatch.setattr(module.fcntl, "flock", gone_meanwhile)
    assert adopt_segments(tmp_path, (), 9) == []


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"no: No such file"):
        adopt_segments(tmp_path / "no", (), 9)
    with pytest.raises(StoreError, match=r"No such file"):
        create_segment(tmp_path / "no", SIZE)
    assert segment_names(tmp_path / "no") == []


def test_removed_or_kept_for_people(tmp_path):
    good, bad = create_segment(tmp_path, SIZE), create_segment(tmp_path, SIZE)
    good.remove()
    bad.damaged = 1
    bad.remove()
    assert segment_names(tmp_path) == []
    assert bad.path.with_suffix(".damaged").exists()
    gone = create_segment(tmp_path, SIZE)
    gone.path.unlink()
    with pytest.raises(StoreError, match="No such file"):
        gone.remove()
