"""The counter is one for all processes, and reading it is a read of memory."""

import subprocess
import sys

import pytest

from kproxy.store.database import StoreError
from kproxy.store.generation import Generation


@pytest.fixture
def counter(tmp_path):
    found = Generation(tmp_path)
    yield found
    found.close()


def test_it_starts_at_nothing_and_counts(counter):
    assert counter.current() == 0
    counter.bump()
    counter.bump()
    assert counter.current() == 2


def test_two_of_one_directory_are_one(tmp_path, counter):
    other = Generation(tmp_path)
    other.bump()
    assert counter.current() == 1
    counter.bump()
    assert other.current() == 2
    other.close()
    again = Generation(tmp_path)
    assert again.current() == 2
    again.close()


def test_it_wraps_instead_of_failing(tmp_path):
    (tmp_path / "kproxy.generation").write_bytes(b"\xff" * 8)
    found = Generation(tmp_path)
    found.bump()
    assert found.current() == 0
    found.close()


def test_the_file_is_eight_bytes_and_the_owners_alone(tmp_path, counter):
    status = (tmp_path / "kproxy.generation").stat()
    assert (status.st_size, status.st_mode & 0o777) == (8, 0o600)
    assert "kproxy.generation" in repr(counter)


def test_a_directory_that_is_missing_is_refused_by_name(tmp_path):
    with pytest.raises(StoreError, match=r"missing/kproxy\.generation: No such file"):
        Generation(tmp_path / "missing")


def test_a_bump_that_cannot_be_made_is_refused_by_name(tmp_path):
    (tmp_path / "d").mkdir()
    found = Generation(tmp_path / "d")
    (tmp_path / "d").rename(tmp_path / "e")
    with pytest.raises(StoreError, match=r"kproxy\.generation: No such file"):
        found.bump()
    assert found.current() == 0
    found.close()


def test_a_closed_counter_is_not_read(tmp_path):
    found = Generation(tmp_path)
    found.close()
    with pytest.raises(ValueError, match="released"):
        found.current()


_BUMP = """
import sys
from pathlib import Path
from kproxy.store.generation import Generation
found = Generation(Path(sys.argv[1]))
for _ in range(500):
    found.bump()
"""


def test_no_bump_of_several_processes_is_lost_or_unseen(tmp_path, counter):
    bumpers = [subprocess.Popen([sys.executable, "-c", _BUMP, str(tmp_path)]) for _ in range(3)]
    assert [process.wait() for process in bumpers] == [0, 0, 0]
    assert counter.current() == 1_500
