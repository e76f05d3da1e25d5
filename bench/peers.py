"""Measures kproxy beside nginx, HAProxy, other gateways and proxies written by hand, in one run.

    python bench/peers.py                        every peer and cell, five rounds: about an hour
    python bench/peers.py --quick                one short round, to see that all of it works
    python bench/peers.py --peers nginx,kproxy   some peers (bench/gateways.py lists them)
    python bench/peers.py --cells json,s1000     some cells
    python bench/peers.py --rounds 3 --out NAME  writes bench/results/NAME.json and NAME.svg
    python bench/peers.py --first-seconds 100    more first tokens; p99 needs 10,000 of each line
    python bench/peers.py --chart FILE.json      draws and prints a stored run again

Each peer is installed on first use under bench/.venv-peers (bench/install.py), in the version that
bench/gateways.py pins; nginx, HAProxy, node and npm are taken from PATH, and who is not there is
left out with a line that says so. All of them stand before the same simulated providers (`kproxy
sim`), get the same requests from bench/load.c, and take turns inside each round. The cells:

    json    64 connections, closed loop, 10 s: requests/s, CPU per request
    s64     64 streams, a chunk every 20 ms each: CPU per chunk
    s1000   1,000 streams, a chunk every 50 ms each: CPU per chunk, memory
    first   20 streams a second: time to the first token, added to the direct line's

Besides: memory when idle and after the run (pages that processes share count once), and time until
ready. Run it from the project's root on an otherwise idle machine. Linux only. Ports are free
ones, what it writes is temporary, and whatever was started is stopped, also on Ctrl-C.
Exit code: 0, also when a peer fails; 2 when a part that all need did not start or died.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a file, not as a module

from bench.cells import CELLS, Bench, compile_load, pacings, stretch
from bench.chart import chart
from bench.contest import field_of, play
from bench.gateways import PEERS, Peer
from bench.install import Missing
from bench.processes import BenchError, prepare
from bench.ratios import goals, table
from bench.report import machine, shares, write
from bench.targets import Target, open_sims

RESULTS = Path(__file__).parent / "results"
CHANGED: dict[str, dict[str, Any]] = {
    "json": {"connections": 64, "seconds": (10.0, 2.0)},
    "s64": {},
    "s1000": {},
    "first": {"seconds": (25.0, 3.0)},
}
PEER_CELLS = tuple(replace(cell, **CHANGED[cell.name]) for cell in CELLS if cell.name in CHANGED)


def main() -> int:
    wanted = _arguments()
    if wanted.chart:
        return _redraw(wanted.chart)
    prepare()
    try:
        with tempfile.TemporaryDirectory(prefix="kproxy-peers-") as scratch:
            stored = _run(wanted, Path(scratch))
    except BenchError as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    _show(stored)
    path = RESULTS / f"{wanted.out}.json"
    write(path, stored)
    path.with_suffix(".svg").write_text(chart(stored))
    print(f"\nwritten to {path} and {path.with_suffix('.svg').name}")
    return 0


def _arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [peer.name for peer in PEERS]
    parser.add_argument("--rounds", type=int, help="default 5, with --quick 1")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", default=",".join(names))
    parser.add_argument("--cells", default=",".join(CHANGED))
    parser.add_argument("--first-seconds", type=float)
    parser.add_argument("--out", metavar="NAME", help="default peers, with --quick peers-quick")
    parser.add_argument("--chart", type=Path, metavar="FILE.json")
    wanted = parser.parse_args()
    asked, cells = wanted.peers.split(","), wanted.cells.split(",")
    if unknown := (set(asked) - set(names)) | (set(cells) - set(CHANGED)):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    wanted.peers = [peer for peer in PEERS if peer.name in asked]
    wanted.cells = [
        stretch(cell, wanted.first_seconds) for cell in PEER_CELLS if cell.name in cells
    ]
    wanted.rounds = wanted.rounds or (1 if wanted.quick else 5)
    wanted.out = wanted.out or ("peers-quick" if wanted.quick else "peers")
    return wanted


def _run(wanted: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Everything that was measured, as it is stored."""
    program = compile_load()
    stored: dict[str, Any] = {
        "command": f"python bench/peers.py {' '.join(sys.argv[1:])}".strip(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": {},
        "left_out": {},
    }
    peers = [peer for peer in wanted.peers if _is_had(peer, stored)]
    with open_sims(scratch, pacings(wanted.cells)) as (sims, places):
        direct = Target("direct", places, sims)
        starts = 1 if wanted.quick else 3
        with field_of(peers, direct, scratch, starts) as (lines, left_out):
            for name, why in left_out.items():
                print(f"{name}: left out, {why}", file=sys.stderr)
            stored["left_out"] |= left_out
            bench = Bench(program, scratch, wanted.quick, sims, places)
            rounds = []
            for turn in range(wanted.rounds):
                rounds.append(play(bench, wanted.cells, lines, turn))
                print(f"round {turn + 1} of {wanted.rounds}", file=sys.stderr)
            for line in lines:
                if line.running:
                    line.alone["after_mb"] = line.memory()
            stored["lines"] = [line.name for line in lines]
            stored["alone"] = {line.name: line.alone for line in lines}
            stored["rounds"] = rounds
    return stored


def _is_had(peer: Peer, stored: dict[str, Any]) -> bool:
    try:
        stored["versions"][peer.name] = peer.had()
    except Missing as problem:
        stored["left_out"][peer.name] = str(problem)
        print(f"{peer.name}: not installed, left out: {problem}", file=sys.stderr)
        return False
    return True


def _show(stored: dict[str, Any]) -> None:
    print(", ".join(f"{name} {value}" for name, value in stored["machine"].items()))
    for name, version in stored["versions"].items():
        print(f"  {name:<14}{version}")
    for name, why in stored["left_out"].items():
        print(f"  {name:<14}left out: {why.splitlines()[0]}")
    print()
    print("\n".join(table(stored)))
    print("\ngoals")
    print("\n".join(f"  {line}" for line in goals(stored)))
    print()
    print("\n".join(shares(stored["rounds"])))


def _redraw(path: Path) -> int:
    try:
        stored = json.loads(path.read_text())
        drawn = chart(stored)
    except (OSError, ValueError, KeyError) as problem:
        print(f"bench: {path}: {problem!r}", file=sys.stderr)
        return 2
    _show(stored)
    path.with_suffix(".svg").write_text(drawn)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
