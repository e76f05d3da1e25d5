"""Measures processes from outside: CPU time and resident memory out of /proc, time until ready.

In: a command line. Out: a running `Server` whose whole tree can be read and is stopped with it.
Times are seconds, memory is bytes. It knows neither HTTP nor what the commands are.
"""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

__all__ = ["BenchError", "Server", "Usage", "cpu_seconds", "free_ports", "prepare"]

TICK = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 10.0


class BenchError(Exception):
    """A server did not start, or died; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree has used: CPU since its start, resident memory now."""

    cpu: float
    rss: int


def prepare() -> None:
    """For this process and all that it starts: SIGTERM unwinds, so that everything is stopped, and
    as many files as may be, for 1,000 streams are 2,000 sockets in one."""
    signal.signal(signal.SIGTERM, _terminated)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            one = socket.socket()
            held.append(one)
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name, which may hold blanks; [] when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _tree(root: int) -> list[int]:
    """The process and everything below it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdigit() else []
        if fields:
            parents[int(entry.name)] = int(fields[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _proportional(pid: int) -> int:
    """The process's share of what it has mapped (PSS); 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(
        (int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0
    )


def cpu_seconds(pid: int) -> float:
    """CPU of all threads that run now of one process, finer than the ticks of `Usage`."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


class Server:
    """One started command, its log, and its processes. It has a session of its own, so Ctrl-C
    reaches only us and `stop` ends it in order."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.started = time.monotonic()
        self._log = log
        with log.open("ab") as sink:
            self._process = subprocess.Popen(  # its group is ended by stop
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )
        self._pids = [self._process.pid]

    def __repr__(self) -> str:
        return f"<Server {self.name} pids {self._pids}>"

    def wait_ready(self, is_ready: Callable[[], bool], limit: float = 30.0) -> float:
        """Seconds from the start until `is_ready`. BenchError when it ends or is too slow."""
        while not is_ready():
            self.check()
            if time.monotonic() - self.started > limit:
                raise BenchError(f"{self.name} is not ready after {limit:.0f} s\n{self._tail()}")
            time.sleep(0.002)
        taken = time.monotonic() - self.started
        self._pids = _tree(self._process.pid)
        return taken

    def check(self) -> None:
        """Raises BenchError when the process has ended."""
        if self.has_ended():
            raise BenchError(f"{self.name} has ended\n{self._tail()}")

    def follow(self) -> None:
        """Counts the processes that there are now: some are started when others already answer."""
        self._pids = _tree(self._process.pid)

    def usage(self) -> Usage:
        """CPU of all threads of all its processes, and the sum of their resident memory."""
        ticks, pages = 0, 0
        for pid in self._pids:
            fields = _stat(pid)
            if fields:
                ticks += int(fields[11]) + int(fields[12])
                pages += int(fields[21])
        return Usage(ticks / TICK, pages * os.sysconf("SC_PAGE_SIZE"))

    def memory(self) -> int:
        """Bytes of the whole tree as it is now; a page that several share counts once."""
        self.follow()
        return sum(_proportional(pid) for pid in self._pids)

    def has_ended(self) -> bool:
        """Whether the command's own process is gone."""
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, how) is not None

    def stop(self) -> None:
        """SIGTERM, then SIGKILL for what is left of its group.

        The leader is reaped last: until then nobody else can get its number.
        """
        if self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGTERM)
            until = time.monotonic() + STOP_SECONDS
            while not self.has_ended() and time.monotonic() < until:
                time.sleep(0.01)
            if not self.has_ended():
                print(f"{self.name} did not stop within {STOP_SECONDS:.0f} s and is killed")
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
