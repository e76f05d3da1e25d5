"""Runs the peers of bench/peers.py: started, measured in turns, started anew when they die.

In: peers and cells. Out: for each round, cell and line a mapping of numbers as bench/cells.py makes
them; a peer that fails says so in `failed` and never ends the run.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.cells import Bench, Cell, measure
from bench.configs import Upstream
from bench.gateways import Launch, Peer
from bench.processes import BenchError, Server
from bench.targets import Target, get

__all__ = ["Contestant", "Round", "field_of", "play"]

SETTLE_SECONDS = 2.0
CALM = 0.05  # of a core
CALM_SECONDS = 20.0
READY_SECONDS = 90.0

Round = dict[str, dict[str, dict[str, Any]]]  # cell -> line -> number's name -> number


@dataclass(slots=True)
class Contestant:
    """One line while it runs. The direct line has no launches, and its servers are not its own."""

    name: str
    launches: Sequence[Launch]
    scratch: Path
    target: Target | None = None
    alone: dict[str, float] = field(default_factory=dict)
    running: list[Server] = field(default_factory=list)

    def start(self) -> float:
        """Starts everything; seconds until the slowest part was ready.

        Raises BenchError when a part is not, and then nothing of it runs.
        """
        try:
            return self._start()
        except BenchError:
            self.stop()
            raise

    def _start(self) -> float:
        servers: dict[str, Server] = {}
        places, headers, taken = {}, (), 0.0
        for launch in self.launches:
            log = self.scratch / f"{self.name}.log"
            server = Server(self.name, launch.command, log, launch.env)
            self.running.append(server)
            taken = max(taken, server.wait_ready(_is_ready(launch), READY_SECONDS))
            places |= launch.places
            servers |= dict.fromkeys(launch.places, server)
            headers = tuple(launch.headers)
        self.target = Target(self.name, places, servers, headers)
        return taken

    def stop(self) -> None:
        """Stops what runs of it."""
        while self.running:
            self.running.pop().stop()

    def memory(self) -> float:
        """MB of its first process tree."""
        return self.running[0].memory() / 1e6 if self.running else 0.0

    def has_died(self) -> bool:
        """Whether a process of it has ended."""
        return any(server.has_ended() for server in self.running)


def _is_ready(launch: Launch) -> Callable[[], bool]:
    port, path = launch.ready
    return lambda: 200 <= get(port, path)[0] < 500


@contextmanager
def field_of(
    peers: Sequence[Peer], direct: Target, scratch: Path, starts: int
) -> Iterator[tuple[list[Contestant], dict[str, str]]]:
    """The direct line and all peers that start, and by name why others are left out.

    Each is started `starts` times, one after the other; `alone` has the median and the memory. All
    are stopped at the end.
    """
    lines, left_out = [Contestant("direct", (), scratch, direct)], {}
    behind = {name: Upstream(place.port) for name, place in direct.places.items()}
    with ExitStack() as stack:
        for peer in peers:
            folder = scratch / peer.name
            folder.mkdir()
            try:
                line = Contestant(peer.name, peer.launches(folder, behind), folder)
                stack.callback(line.stop)
                if line.launches:
                    line.alone["start_s"] = _time_starts(line, starts)
                    lines.append(line)
            except BenchError as problem:
                left_out[peer.name] = f"does not start: {problem}"
        time.sleep(
            SETTLE_SECONDS
        )  # start-up work is over, so the memory is that of an idle process
        for line in lines:
            if line.running:
                line.alone["idle_mb"] = line.memory()
        yield lines, left_out


def _time_starts(line: Contestant, starts: int) -> float:
    taken = []
    for _ in range(starts):
        line.stop()
        taken.append(line.start())
    return median(taken)


def play(bench: Bench, cells: Sequence[Cell], lines: Sequence[Contestant], turn: int) -> Round:
    """One round: every cell, and inside it every line in an order that rotates with `turn`."""
    start = turn % len(lines)
    order = [*lines[start:], *lines[:start]]
    found: Round = {}
    for cell in cells:
        found[cell.name] = {}
        for line in order:
            if line.target is not None and cell.name in line.target.places:
                print(f"round {turn + 1}: {cell.name} {line.name}", file=sys.stderr)
                found[cell.name][line.name] = _measure(bench, cell, line)
    return found


def _measure(bench: Bench, cell: Cell, line: Contestant) -> dict[str, Any]:
    assert line.target is not None
    try:
        found = measure(bench, cell, line.target)
    except BenchError as problem:
        found = {"failed": str(problem)}
    bench.sims[cell.name].check()  # without its provider the run is over
    if line.has_died():
        found["failed"] = found.get("failed") or "ended during the cell"
        line.stop()
        try:
            line.start()
        except BenchError as problem:
            line.target = None
            found["failed"] += f"; and does not start again: {problem}"
        return found
    calm = [bench.sims[cell.name], line.target.servers[cell.name]]
    found["calm"] = _wait_calm(calm)
    return found


def _wait_calm(servers: Sequence[Server]) -> bool:
    """Waits until streams that were left behind are torn down. False: it took too long."""
    until = time.monotonic() + CALM_SECONDS
    while time.monotonic() < until:
        before = [server.usage().cpu for server in servers]
        time.sleep(0.3)
        used = max(s.usage().cpu - b for s, b in zip(servers, before, strict=True))
        if used / 0.3 < CALM:
            return True
    return False
