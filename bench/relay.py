"""Measures kproxy against nginx and the direct line: CPU, latency, memory, start-up, hang-ups.

    python bench/relay.py                      every cell, five rounds, about a quarter of an hour
    python bench/relay.py --quick              two short rounds, to see that all of it works
    python bench/relay.py --cells s64,s1000    some cells (bench/cells.py lists them)
    python bench/relay.py --targets direct,nginx
    python bench/relay.py --workers 2          kproxy with so many worker processes
    python bench/relay.py --first-seconds 100  more first tokens; p99 needs 10,000 of each target
    python bench/relay.py --out NAME           also writes bench/results/NAME.json

It starts simulated providers (`kproxy sim`), nginx and kproxy, each one process, and drives them
with bench/load.c, compiled on first use. The targets take turns inside each round, in an order
that rotates. Run it from the project's root on an otherwise idle machine. Linux only.
Ports are free ones, files are temporary, and whatever was started is stopped, also on Ctrl-C.
Exit code: 0, or 2 when a part did not start or died.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a file, not as a module

from bench.cells import CELLS, Bench, Cell, compile_load, measure, pacings, stretch
from bench.processes import BenchError, prepare
from bench.report import TARGETS, Alone, Round, machine, pooled_p99, shares, table, write
from bench.targets import open_targets, time_starts
from bench.tls import can_make

RESULTS = Path(__file__).parent / "results"
IMPORT = "import time; t = time.perf_counter(); import kproxy; print(time.perf_counter() - t)"


def main() -> int:
    wanted = _arguments()
    prepare()
    try:
        with tempfile.TemporaryDirectory(prefix="kproxy-bench-") as scratch:
            _run(wanted, Path(scratch))
    except BenchError as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    return 0


def _arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, help="default 5, with --quick 2")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cells", default=",".join(cell.name for cell in CELLS))
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--first-seconds", type=float)
    parser.add_argument("--out", metavar="NAME")
    wanted = parser.parse_args()
    names = wanted.cells.split(",")
    unknown = set(names) - {cell.name for cell in CELLS}
    unknown |= set(wanted.targets.split(",")) - set(TARGETS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    wanted.cells = [stretch(cell, wanted.first_seconds) for cell in CELLS if cell.name in names]
    wanted.targets = [name for name in TARGETS if name in wanted.targets.split(",")]
    wanted.rounds = wanted.rounds or (2 if wanted.quick else 5)
    return wanted


def _run(wanted: argparse.Namespace, scratch: Path) -> None:
    program = compile_load()
    if not can_make() and any(cell.tls for cell in wanted.cells):
        print("TLS cells: left out, trustme is not installed (the extra dev has it)")
        wanted.cells = [cell for cell in wanted.cells if not cell.tls]
    about = machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    alone = _starts(scratch, wanted.rounds) if "kproxy" in wanted.targets else []
    cells: Sequence[Cell] = wanted.cells
    opening = open_targets(scratch, pacings(cells), wanted.targets, wanted.workers)
    with opening as (targets, sims, direct):
        time.sleep(1.0)  # start-up work is over, so the memory is that of an idle process
        resident = {one.name: next(iter(one.servers.values())).usage().rss / 1e6 for one in targets}
        alone.insert(0, Alone("resident when idle, MB", resident, 1, most=50))
        bench = Bench(program, scratch, wanted.quick, sims, direct)
        rounds: list[dict[str, dict[str, Any]]] = []
        for turn in range(wanted.rounds):
            start = turn % len(targets)
            order = targets[start:] + targets[:start]
            found: dict[str, dict[str, Any]] = {}
            for cell in cells:
                taking = [one for one in order if cell.name in one.places]
                found[cell.name] = {one.name: measure(bench, cell, one) for one in taking}
                time.sleep(0.3)  # the streams that were left behind are torn down
            rounds.append(found)
            print(f"round {turn + 1} of {wanted.rounds}", file=sys.stderr)
    print()
    alone += _slowest(rounds)
    print("\n".join(table(rounds, alone)))
    print()
    print("\n".join(shares(rounds)))
    if wanted.out:
        path = RESULTS / f"{wanted.out}.json"
        values = {one.title: dict(one.values) for one in alone}
        write(path, {"machine": about, "alone": values, "rounds": rounds})
        print(f"\nwritten to {path}")


def _slowest(rounds: Sequence[Round]) -> list[Alone]:
    """The p99 of the first token, less the direct line's, where there are samples enough."""
    direct = pooled_p99(rounds, "first", "direct")
    found = {name: pooled_p99(rounds, "first", name) for name in TARGETS[1:]}
    if direct is None or None in found.values():
        return []
    added = {name: (value - direct) / 1e3 for name, value in found.items() if value is not None}
    return [Alone("first token p99, added to direct, ms", added, 3)]


def _starts(scratch: Path, times: int) -> list[Alone]:
    """Import and start-up: medians of processes of their own."""
    imports = []
    for _ in range(times + 1):
        command = [sys.executable, "-c", IMPORT]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise BenchError(f"import kproxy\n{made.stderr}")
        imports.append(float(made.stdout))
    ready = median(time_starts(scratch, times))
    return [
        # The first import may have had to compile.
        Alone("import kproxy, s", {"kproxy": median(imports[1:])}, 3, most=0.15),
        Alone("start to /readyz, s", {"kproxy": ready}, 3, most=0.7),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
