"""The parent: what keeps it from starting, and how signals reach it. Whole stories of several
processes are in tests/story/test_workers.py."""

import signal
import socket
from pathlib import Path

import pytest

from kproxy.config import Overrides, load
from kproxy.opening import CannotStart
from kproxy.workers.parent import serve_by_many, waking

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


@pytest.mark.loopback
def test_an_address_in_use_is_named_before_anybody_is_forked(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = load(Overrides((address,), data_dir=tmp_path / "data", workers=2), {"HOME": "/"})
        assert config.workers == 2
        with pytest.raises(CannotStart, match=f"cannot listen on {address}: Address already in"):
            serve_by_many(config, lambda started: pytest.fail(f"{started} is announced"))
    assert not (tmp_path / "data").exists()


def test_signals_write_their_numbers_and_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    with waking() as signals:
        for number in NUMBERS:
            signal.raise_signal(number)
        assert signals.recv(100) == bytes(NUMBERS)
    assert [signal.getsignal(number) for number in NUMBERS] == before
