"""Measures what a further idle connection costs: a fresh server in, bytes per connection out.

A server that has just started gets some connections that each ask once, so that what it loads for
its first requests is loaded; then as many further ones as wanted, while the first stay. The memory
between, over their number. A server that has had more connections before would hide some of it in
memory that it has freed and kept.
"""

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.processes import BenchError, Server

__all__ = ["per_connection"]

FIRST = 200


def per_connection(load: Sequence[str | Path], server: Server, further: int) -> float:
    """Bytes. `load`: the client's command for mode `idle` but for the number of connections.

    Raises BenchError when connections were not taken.
    """
    with _held(load, FIRST):
        before = server.memory()
        with _held(load, further):
            after = server.memory()
    server.check()
    return (after - before) / further


@contextmanager
def _held(load: Sequence[str | Path], count: int) -> Iterator[None]:
    """So many connections that have asked once; inside they are idle."""
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
        time.sleep(1.0)  # the last answers are over, and what they needed is free
        yield
        if client.poll() is not None:
            raise BenchError("the idle connections were over before they were measured")
    finally:
        client.kill()
        client.wait()
        if client.stdout is not None:
            client.stdout.close()
