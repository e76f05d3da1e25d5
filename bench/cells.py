"""Measures one cell: one kind of load on one target, with the CPU and memory that it took there.

In: a target, a cell, the compiled load client. Out: a flat mapping of numbers for that run. CPU is
read from /proc at the moments when the load client opens and closes its window. The cells:

    json    16 connections, closed loop: requests/s, CPU per request
    s64     64 streams, a chunk every 20 ms each: CPU per chunk
    s1000   1,000 streams, a chunk every 50 ms each: CPU per chunk, memory
    first   20 streams a second: time to the first token
    hang    streams left at the first event: time until the provider's socket is closed
    late    the same, left before the first token
    idle    1,000 kept connections that have each asked once: memory
    tjson, ts64, ts1000   the first three with a provider that speaks TLS (bench/tls.py)
"""

import json
import math
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.configs import Pacing, Place
from bench.processes import BenchError, Server
from bench.targets import Target, get
from bench.tls import Together

__all__ = [
    "CELLS",
    "Bench",
    "Cell",
    "compile_load",
    "judge",
    "measure",
    "pacings",
    "quantile",
    "stretch",
]

HERE = Path(__file__).parent
HELD = 0.95  # of the pace of the provider; below it a line is saturated
KEPT = 0.99  # of the connections or streams; with fewer there is no memory of so many
MOST_ERRORS = 0.01  # of what was asked; they count from the client's start on
FIRST_TOKENS = ("ttft_p50_us", "ttft_p99_us", "ttft_all_us")
COSTS = ("per_second", "cpu_us", "latency_p50_us", "latency_p99_us", *FIRST_TOKENS)
MEMORY = ("memory_mb", "rss_mb")


@dataclass(frozen=True, slots=True)
class Cell:
    """A kind of load: the client's mode, how long (0: as long as it takes), how the provider paces.

    `seconds` and `times` are for a full run and for --quick.
    """

    name: str
    mode: str
    first_ms: int
    gap_ms: int
    tokens: int  # 0: enough for one stream to outlast the run
    connections: int = 1
    seconds: tuple[float, float] = (5.0, 1.5)
    times: tuple[int, int] = (30, 5)
    ramp: float = 0.0
    rate: int = 0
    before: bool = False
    tls: bool = False  # the provider speaks it
    raw: bool = False  # every first-token time, so that rounds can be pooled


CELLS = (
    Cell("json", "json", 0, 0, 16, connections=16),
    Cell("s64", "sse", 0, 20, 0, connections=64, seconds=(6.0, 1.5), ramp=0.5),
    Cell("s1000", "sse", 0, 50, 0, connections=1000, seconds=(6.0, 2.0), ramp=2.0),
    Cell("first", "sse", 0, 5, 8, connections=16, seconds=(8.0, 2.0), rate=20, raw=True),
    Cell("hang", "hangup", 0, 200, 500),
    Cell("late", "hangup", 5000, 20, 50, before=True),
    Cell("idle", "idle", 0, 0, 16, connections=1000, seconds=(0.5, 0.5), ramp=1.0),
)
# Three times the ramp: a handshake with a provider takes 1.4 ms on either side of it.
CELLS += tuple(
    replace(cell, name=f"t{cell.name}", ramp=3 * cell.ramp, tls=True) for cell in CELLS[:3]
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every cell needs: the client's program, room for body files, and whether to be quick."""

    program: Path
    scratch: Path
    quick: bool
    sims: Mapping[str, Server | Together]
    direct: Mapping[str, Place]
    warm: float = 1.0


def stretch(cell: Cell, seconds: float | None) -> Cell:
    """The cell of first tokens over so many seconds; every other cell as it is."""
    if seconds is None or not cell.raw:
        return cell
    return replace(cell, seconds=(seconds, seconds))


def pacings(cells: Sequence[Cell]) -> list[Pacing]:
    """One simulated provider per cell. A paced stream is long enough that none ends inside the
    window, so that the cost of a chunk is not mixed with the cost of a request."""
    found = []
    for cell in cells:
        longest = cell.ramp + Bench.__dataclass_fields__["warm"].default + cell.seconds[0] + 4.0
        tokens = cell.tokens or math.ceil(longest * 1000 / cell.gap_ms)
        found.append(Pacing(cell.name, cell.first_ms, cell.gap_ms, tokens, cell.tls))
    return found


def compile_load() -> Path:
    """bench/bin/load, compiled when a source is newer. Raises BenchError with what cc said."""
    program = HERE / "bin" / "load"
    sources = [HERE / "load.c", *HERE.glob("*.h")]
    if program.exists() and program.stat().st_mtime > max(s.stat().st_mtime for s in sources):
        return program
    program.parent.mkdir(exist_ok=True)
    command = ["cc", "-O2", "-std=c11", "-Wall", "-Wextra", "-o", str(program), str(sources[0])]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BenchError("no C compiler: cc (Debian: apt-get install gcc libc6-dev)") from None
    if made.returncode != 0:
        raise BenchError(f"cc ended with {made.returncode}\n{made.stderr}")
    return program


def measure(bench: Bench, cell: Cell, target: Target) -> dict[str, Any]:
    """Runs the cell once. Raises BenchError when a server or the client ends early."""
    server, sim = target.servers[cell.name], bench.sims[cell.name]
    watched = {"target": server, "sim": sim}
    for one in watched.values():
        one.follow()
    marks, report = _drive(_command(bench, cell, target), watched, cell.seconds[bench.quick])
    server.check()
    sim.check()
    found: dict[str, Any] = {"errors": report["errors"], "first_error": report["first_error"]}
    seconds = report["seconds"]
    found["load_share"] = report["cpu_seconds"] / seconds
    if cell.mode == "hangup":
        return found | _match(report["closed_ns"], bench.direct[cell.name].port)
    begin, end = marks["begin"], marks["end"]
    cpu = {name: end[name].cpu - begin[name].cpu for name in watched}
    found["target_share"], found["sim_share"] = cpu["target"] / seconds, cpu["sim"] / seconds
    found["rss_mb"] = end["target"].rss / 1e6
    found["memory_mb"] = marks["memory"]["target"] / 1e6
    found["connections"] = report["connections"]
    # A connection of the mode `idle` has asked once.
    found["answered"] = report["connections" if cell.mode == "idle" else "requests"]
    latency = report["latency_us"]
    if cell.mode == "json":
        found["per_second"] = report["rps"]
        found["cpu_us"] = cpu["target"] * 1e6 / max(report["requests"], 1)
        found |= {f"latency_{mark}_us": latency.get(mark) for mark in ("p50", "p99")}
    if cell.mode == "sse":
        found["per_second"] = report["events"] / seconds
        found["cpu_us"] = cpu["target"] * 1e6 / max(report["events"], 1)
        found["streams"], found["unsent"] = report["streams"], report["unsent"]
        found["answered"] = report["streams"] + report["ended"]
        if cell.rate == 0:
            found["pace"] = found["per_second"] / (cell.connections * 1000 / cell.gap_ms)
        if cell.raw:
            found["ttft_all_us"] = report["ttft_us"].get("all", [])
        found |= {f"ttft_{mark}_us": report["ttft_us"].get(mark) for mark in ("p50", "p99")}
    judge(cell, found)
    return found


def judge(cell: Cell, found: dict[str, Any]) -> None:
    """Takes the cost of a chunk away from a line that did not hold the pace, memory from one that
    did not hold the connections, and everything from one that did not answer, or often not."""
    errors, answered = found.get("errors", 0), found.get("answered", 0)
    silent = cell.mode in ("json", "sse") and found["per_second"] == 0
    if silent or errors > MOST_ERRORS * (errors + answered):
        found["failed"] = found["first_error"] or "no answer"
        _take_away(found, *COSTS, *MEMORY)
        return
    held = found.get("connections" if cell.mode == "idle" else "streams", math.inf)
    if cell.mode != "json" and cell.rate == 0 and held < KEPT * cell.connections:
        found["few"] = True
        _take_away(found, *MEMORY)
    missing = cell.rate > 0 and found.get("unsent", 0) > 2
    paced = found.get("pace", 1.0) >= HELD and not missing
    wanted = found.get("ttft_p50_us") if cell.rate else True
    if cell.mode == "sse" and not (paced and wanted):
        found["saturated"] = True
        _take_away(found, "cpu_us", *FIRST_TOKENS)


def _take_away(found: dict[str, Any], *keys: str) -> None:
    for key in keys:
        found.pop(key, None)


def _command(bench: Bench, cell: Cell, target: Target) -> list[str]:
    place = target.places[cell.name]
    body = bench.scratch / f"body-{cell.name}-{target.name}.json"
    words = "In one paragraph, say why the sea is salt and the rivers that feed it are not."
    question: dict[str, Any] = {"model": place.model}
    question["messages"] = [{"role": "user", "content": words}]
    if cell.mode in ("sse", "hangup"):
        question["stream"] = True
    body.write_text(json.dumps(question))
    command = [str(bench.program), cell.mode, "--port", str(place.port), "--body", str(body)]
    command += [f"--connections={cell.connections}", f"--seconds={cell.seconds[bench.quick]}"]
    command += [f"--warm={bench.warm}", f"--ramp={cell.ramp}", f"--rate={cell.rate}"]
    command += [
        f"--times={cell.times[bench.quick]}",
        *["--before"] * cell.before,
        *["--raw"] * cell.raw,
    ]
    for header in (*target.headers, *place.headers):
        command += ["--header", header]
    return command


def _drive(
    command: Sequence[str], watched: Mapping[str, Any], seconds: float
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Runs the client; what the watched servers had used at each mark, and its report."""
    marks: dict[str, dict[str, Any]] = {}
    report: dict[str, Any] | None = None
    client = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    # The client bounds itself; this is for the day when it does not.
    limit = threading.Timer(seconds + 60.0, client.kill)
    limit.start()
    try:
        assert client.stdout is not None
        assert client.stderr is not None
        for line in client.stdout:
            said = json.loads(line)
            if "mark" in said:
                marks[said["mark"]] = {name: one.usage() for name, one in watched.items()}
                if said["mark"] == "end":  # its connections are held a little longer
                    marks["memory"] = {"target": watched["target"].memory()}
            else:
                report = said
        problem = client.stderr.read()
        if client.wait() != 0 or report is None:
            raise BenchError(f"{' '.join(command)}\nended with {client.returncode}: {problem}")
    finally:
        limit.cancel()
        client.kill()
        client.wait()
        for pipe in (client.stdout, client.stderr):
            if pipe is not None:
                pipe.close()
    return marks, report


def _match(closed: Sequence[int], sim_port: int) -> dict[str, Any]:
    """Milliseconds from each of the caller's closes to the provider seeing its own caller leave.

    Closes come one at a time. When the provider saw as many as there were, they are matched in
    order; else each close takes what was seen before the next one, and the rest counts as lost.
    """
    until = time.monotonic() + 2.0
    seen: list[int] = []
    while len(seen) < len(closed) and time.monotonic() < until:
        time.sleep(0.02)
        status, body = get(sim_port, "/sim/hangups")
        if status != 200:
            raise BenchError(f"GET /sim/hangups at the simulated provider: {status}")
        seen = sorted(at for at in json.loads(body) if at >= closed[0])
    if len(seen) == len(closed):
        pairs = list(zip(closed, seen, strict=True))
    else:
        ends = [*closed[1:], math.inf]
        firsts = [
            (close, next((at for at in seen if close <= at < end), None))
            for close, end in zip(closed, ends, strict=True)
        ]
        pairs = [(close, at) for close, at in firsts if at is not None]
    taken = [(at - close) / 1e6 for close, at in pairs]
    found: dict[str, Any] = {"lost": len(closed) - len(pairs), "hangups": len(closed)}
    return found | {"p50_ms": quantile(taken, 0.5), "p95_ms": quantile(taken, 0.95)}


def quantile(values: Sequence[float], at: float) -> float | None:
    """The value at that rank, rounded to the nearest one that occurred; None without values."""
    return sorted(values)[math.floor((len(values) - 1) * at + 0.5)] if values else None
