"""A running `kproxy serve` with several workers: who they are, and who of them serves whom.

In: a `Served`. Out: process numbers, and connections that a certain worker has accepted, found by
what the kernel says of its sockets.
"""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.fakes.caller import Caller
from tests.fakes.server import Served, until

__all__ = ["callers", "exists", "serves", "workers"]

MOST = 300
"""Connections until one of them must have come to each worker."""

SOCKET = re.compile(r"socket:\[(\d+)\]")


def workers(server: Served) -> list[int]:
    """The processes below the parent."""
    pid = server.process.pid
    return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def exists(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def serves(pids: list[int], caller: Caller) -> int | None:
    """Which of these processes has accepted this connection; None: nobody yet."""
    inode = _inode(caller.socket.getpeername()[1], caller.socket.getsockname()[1])
    found = [pid for pid in pids if inode is not None and inode in _sockets(pid)]
    return found[0] if found else None


@contextmanager
def callers(server: Served) -> Iterator[dict[int, Caller]]:
    """A connection to each worker."""
    pids = workers(server)
    found: dict[int, Caller] = {}
    with ExitStack() as stack:
        for _ in range(MOST):
            caller = stack.enter_context(server.caller())  # kept, so that it counts for who has it
            pid = until(lambda caller=caller: serves(pids, caller), "somebody accepts")
            found.setdefault(pid, caller)
            if len(found) == len(pids):
                break
        assert sorted(found) == pids
        yield found


def _inode(local: int, remote: int) -> str | None:
    """Of the server's end of a connection between these ports on loopback."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if (_port(fields[1]), _port(fields[2])) == (local, remote):
            return fields[9]
    return None


def _port(address: str) -> int:
    return int(address.partition(":")[2], 16)


def _sockets(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            match = SOCKET.fullmatch(os.readlink(entry))
        except FileNotFoundError:
            continue  # closed meanwhile
        if match is not None:
            found.add(match[1])
    return found
