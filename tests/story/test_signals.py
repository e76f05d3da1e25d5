"""SIGTERM under open streams: they end as they would have, or are told that they are cut."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.fakes.caller import Begun
from tests.fakes.server import Process, Served, served, until

pytestmark = pytest.mark.loopback

STREAMS = 500
SLOW = """\
[limits]
connections_per_address = 600
[sim]
first_token_ms = 1
token_ms = {gap}
jitter = 0
tokens = '{tokens}'
"""
CUT = '"code":"shutting_down"'


@contextmanager
def streaming(folder: Path, config: str) -> Iterator[tuple[Served, list[Begun]]]:
    """A server and as many callers as there are, each in the midst of a stream."""
    server = served(folder, config)
    try:
        with ExitStack() as stack:
            callers = [stack.enter_context(server.caller()) for _ in range(STREAMS)]
            begun = [caller.begin(model="gpt-4.1", stream=True) for caller in callers]
            assert all(one.until(b'"content":"') for one in begun)
            yield server, begun
    finally:
        server.process.stop()


def receipts(server: Served) -> int:
    """How many the ledger has, asked when the server is gone."""
    folder = server.process.folder
    asked = Process(folder / "usage", "usage", "--json", "--data-dir", str(folder / "data"))
    try:
        found = json.loads(asked.printed("\n"))
        assert asked.wait() == 0
        total: int = found["total"]["requests"]
        return total
    finally:
        asked.stop()


def test_streams_end_whole_within_the_drain_time(tmp_path: Path) -> None:
    with streaming(tmp_path, SLOW.format(gap=20, tokens=100)) as (server, begun):
        server.process.signal()
        until(server.refuses)
        answers = [one.rest() for one in begun]
        assert all(one.whole and one.data[-1] == "[DONE]" for one in answers)
        assert server.process.wait() == 0
        assert receipts(server) == STREAMS


@pytest.mark.parametrize("why", ["a second signal", "the drain time"])
def test_streams_that_are_cut_are_told_so_once(tmp_path: Path, why: str) -> None:
    patience = "drain_timeout = 0.1\n" if why == "the drain time" else ""
    with streaming(tmp_path, patience + SLOW.format(gap=1_000, tokens=1_000)) as (server, begun):
        server.process.signal()
        if not patience:
            until(server.refuses)
            server.process.signal(signal.SIGINT)
        for one in begun:
            answer = one.rest()
            assert not answer.whole
            assert [CUT in event for event in answer.data].count(True) == 1
            assert CUT in answer.data[-1]
            assert "[DONE]" not in answer.data
        assert server.process.wait() == 0
        assert receipts(server) == STREAMS
