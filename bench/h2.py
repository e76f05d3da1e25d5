"""Measures HTTP/2 with h2load: an address in, requests/s and CPU per request out.

The same number of requests is under way in each way: 64 connections of HTTP/1.1, or 8 of HTTP/2
with 8 streams each. h2load (Debian's package nghttp2-client) speaks all four: plain and over TLS,
HTTP/2 by prior knowledge and by ALPN. It does not verify certificates.
"""

import re
import resource
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import BenchError, Server

__all__ = ["WAYS", "Way", "counts", "h2load"]

REQUESTS = re.compile(r"requests: .* (\d+) failed, (\d+) errored, (\d+) timeout")
MOST_ERRORS = 0.01
STATUS = re.compile(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")


@dataclass(frozen=True, slots=True)
class Way:
    """How requests come: `flags` of h2load, and whether over TLS."""

    name: str
    tls: bool
    multiplexed: bool

    @property
    def flags(self) -> tuple[str, ...]:
        """64 requests at once."""
        return ("-c8", "-m8") if self.multiplexed else ("--h1", "-c64", "-m1")


WAYS = (
    Way("HTTP/1.1", False, False),
    Way("HTTP/2, prior knowledge", False, True),
    Way("HTTP/1.1 over TLS", True, False),
    Way("HTTP/2 over TLS", True, True),
)


def h2load(
    way: Way, port: int, server: Server, body: Path, headers: Sequence[str], seconds: int
) -> dict[str, Any]:
    """One run, after one of a second that is not counted. Raises BenchError when h2load fails, and
    as `counts` does."""
    scheme = "https" if way.tls else "http"
    command = ["h2load", *way.flags, "-t1", "-d", str(body), "-H", "content-type: application/json"]
    for header in headers:
        command += ["-H", header]
    command.append(f"{scheme}://127.0.0.1:{port}/v1/chat/completions")
    _run([*command, "-D1"], 1)
    server.follow()
    before, mine = server.usage().cpu, _children()
    text = _run([*command, f"-D{seconds}"], seconds)
    used, load = server.usage().cpu - before, _children() - mine
    server.check()
    answered, errors = counts(text)
    return {
        "per_second": answered / seconds,
        "cpu_us": used * 1e6 / answered,
        "target_share": used / seconds,
        "load_share": load / seconds,
        "errors": errors,
    }


def counts(text: str) -> tuple[int, int]:
    """Requests that were answered with 2xx, and those that were not, of what h2load has printed.

    What failed includes what errored, and that what timed out, by its manual; a connection that
    just ends is in none of them. Raises BenchError for another text, without any answer, and for
    more than 1 % of errors.
    """
    requests, status = REQUESTS.search(text), STATUS.search(text)
    if requests is None or status is None:
        raise BenchError(f"h2load said what was not expected\n{text[-500:]}")
    answered, *others = (int(count) for count in status.groups())
    errors = max(sum(others), *(int(count) for count in requests.groups()))
    if answered == 0 or errors > MOST_ERRORS * (answered + errors):
        raise BenchError(f"h2load met {errors} errors beside {answered} answers\n{text[-500:]}")
    return answered, errors


def _run(command: Sequence[str], seconds: float) -> str:
    try:
        made = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds + 60
        )
    except subprocess.TimeoutExpired:
        raise BenchError("h2load does not end") from None
    if made.returncode != 0:
        raise BenchError(f"h2load ended with {made.returncode}\n{made.stdout}{made.stderr}")
    return made.stdout


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
