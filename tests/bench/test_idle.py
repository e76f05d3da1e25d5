"""What an idle connection costs is told only of connections that were there."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import idle
from bench.processes import BenchError

CLIENT = """
import json, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print('{"mark": "begin"}', flush=True)
signal.sigwait([signal.SIGTERM])
count = int(sys.argv[sys.argv.index("--connections") + 1])
report = {"connections": count, "errors": 0, "reopened": 0, "first_error": ""}
if count != 200:
    report.update(json.loads(sys.argv[1]))
print('{"mark": "end"}')
print(json.dumps(report))
"""


class Growing:
    """A server that needs 3 kB for each of 300 connections."""

    taken = 0

    def memory(self) -> int:
        self.taken += 900_000
        return self.taken

    def check(self) -> None:
        """It has not ended."""


def measured(tmp_path: Path, report: dict[str, Any]) -> float:
    client = tmp_path / "client.py"
    client.write_text(CLIENT)
    load = [sys.executable, str(client), json.dumps(report)]
    return idle.per_connection(load, Growing(), 300)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "SETTLE_SECONDS", 0)


def test_bytes_of_a_further_connection(tmp_path: Path) -> None:
    assert measured(tmp_path, {}) == 3000


@pytest.mark.parametrize(
    "report", [{"connections": 299}, {"errors": 1, "first_error": "refused"}, {"reopened": 1}]
)
def test_connections_that_were_not_held_are_not_measured(
    tmp_path: Path, report: dict[str, Any]
) -> None:
    with pytest.raises(BenchError, match="of 300 idle connections"):
        measured(tmp_path, report)
