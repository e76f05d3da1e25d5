"""A peer that does not get ready is left out, and runs no longer beside the others."""

import sys
from pathlib import Path

import pytest

from bench import contest
from bench.configs import Place
from bench.contest import field_of
from bench.gateways import Launch, Peer
from bench.targets import Target

STILL = [sys.executable, "-c", "import signal; signal.pause()"]


def test_a_peer_that_is_not_ready_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contest, "READY_SECONDS", 0)
    monkeypatch.setattr(contest, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(contest, "get", lambda port, path: (0, b""))
    started: list[contest.Server] = []

    class Noted(contest.Server):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)  # type: ignore[arg-type]
            started.append(self)

    monkeypatch.setattr(contest, "Server", Noted)
    launch = Launch(STILL, (1, "/readyz"), {"json": Place(1, "m")})
    peer = Peer("still", lambda: "1", lambda scratch, behind: [launch])
    direct = Target("direct", {"json": Place(1, "m")}, {})
    with field_of([peer], direct, tmp_path, 1) as (lines, left_out):
        assert [line.name for line in lines] == ["direct"]
        assert "is not ready" in left_out["still"]
        assert len(started) == 1
        assert started[0]._process.returncode is not None
