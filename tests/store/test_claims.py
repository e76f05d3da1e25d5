"""One process works for a name, until it gives it up or dies."""

import os
import signal
from pathlib import Path

import pytest

from kproxy.store.claims import Claims
from kproxy.store.database import StoreError

ONE, OTHER = b"\xff" * 32, b"\x00" * 32


@pytest.fixture
def two(tmp_path: Path):
    """Two openings keep each other out as two processes do."""
    pair = Claims(tmp_path), Claims(tmp_path)
    yield pair
    for claims in pair:
        claims.close()


def test_one_at_a_time(two) -> None:
    first, second = two
    assert first.take(ONE)
    assert not second.take(ONE)
    assert second.take(OTHER)
    first.give(ONE)
    assert second.take(ONE)
    assert not first.take(ONE)


def test_closing_gives_up_everything(two) -> None:
    first, second = two
    assert first.take(ONE)
    assert first.take(OTHER)
    first.close()
    first.close()
    assert second.take(ONE)
    assert second.take(OTHER)


def test_a_killed_process_leaves_no_claim(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        claims = Claims(tmp_path)
        os.write(writer, b"%d" % claims.take(ONE))
        signal.pause()
    assert os.read(reader, 1) == b"1"
    claims = Claims(tmp_path)
    assert not claims.take(ONE)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert claims.take(ONE)
    claims.close()
    os.close(reader)
    os.close(writer)


def test_the_file_stays_empty_and_ours(two) -> None:
    first, _ = two
    first.take(ONE)
    status = first.path.stat()
    assert (status.st_size, status.st_mode & 0o777) == (0, 0o600)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot use .*kproxy\.claims: No such file"):
        Claims(tmp_path / "none")
