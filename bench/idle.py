"""Measures what a further idle connection costs: a fresh server in, bytes per connection out.

A server that has just started gets some connections that each ask once, so that what it loads for
its first requests is loaded; then as many further ones as wanted, while the first stay. The memory
between, over their number. A server that has had more connections before would hide some of it in
memory that it has freed and kept.
"""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.processes import BenchError, Server

__all__ = ["per_connection"]

FIRST = 200
SETTLE_SECONDS, REPORT_SECONDS = 1.0, 10.0


def per_connection(load: Sequence[str | Path], server: Server, further: int) -> float:
    """Bytes. `load`: the client's command for mode `idle` but for the number of connections.

    Raises BenchError when connections were not taken, or not kept.
    """
    with _held(load, FIRST):
        before = server.memory()
        with _held(load, further):
            after = server.memory()
    server.check()
    return (after - before) / further


@contextmanager
def _held(load: Sequence[str | Path], count: int) -> Iterator[None]:
    """So many connections that have asked once; inside they are idle. BenchError at the end when
    not all of them were there all the time."""
    command = [*load, "--connections", str(count), "--seconds", "60", "--warm", "0.5"]
    command += ["--ramp", str(count / 500)]
    client = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert client.stdout is not None
        line = client.stdout.readline()
        if not line or json.loads(line).get("mark") != "begin":
            raise BenchError(f"{command[0]} did not begin")
        time.sleep(SETTLE_SECONDS)  # the last answers are over, and what they needed is free
        yield
        if client.poll() is not None:
            raise BenchError("the idle connections were over before they were measured")
        client.terminate()
        said, _ = client.communicate(timeout=REPORT_SECONDS)
        _check(json.loads(said.splitlines()[-1]), count)
    finally:
        client.kill()
        client.wait()
        if client.stdout is not None:
            client.stdout.close()


def _check(report: Mapping[str, Any], count: int) -> None:
    open_now, errors, again = (report[key] for key in ("connections", "errors", "reopened"))
    if open_now != count or errors or again:
        raise BenchError(
            f"of {count} idle connections {open_now} were held, {again} were opened again, "
            f"{errors} errors: {report['first_error']}"
        )
