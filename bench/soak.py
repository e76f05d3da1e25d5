"""Measures what 100,000 mixed calls leave behind in kproxy: descriptors, connections, memory.

    python bench/soak.py [--calls N] [--workers W]

Good, faulty, refused, cancelled, hedged, raced and rescued calls (bench/mixed.py) against one
kproxy over two simulated providers. Afterwards its descriptors (/proc), the sockets, callers and
leases that it counts itself (/metrics), and the answers that the providers still play, against what
they were; and its resident memory at 100 % of the calls against 20 %.
Exit code: 0, 1 when anything is left or a call ended as it may not, 2 when a part did not start.
"""

import argparse
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a file, not as a module

import trio

from bench.drive import Target
from bench.mixed import KINDS, Tally, config, run
from tests.fakes.server import Served, Simulated, serving, simulating, until

MOST_GROWTH = 1.05
"""Resident memory at the end over that after the first fifth (reliability.md R30)."""


def main() -> int:
    wanted = _arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with tempfile.TemporaryDirectory(prefix="kproxy-bench-") as scratch:
            return _soak(wanted, Path(scratch))
    except (AssertionError, OSError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 2


def _arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=32)
    return parser.parse_args()


def _soak(wanted: argparse.Namespace, scratch: Path) -> int:
    with ExitStack() as stack:
        sims = [
            stack.enter_context(simulating(scratch / name, "--seed", "1"))
            for name in ("acme", "good")
        ]
        urls = [sim.base_url for sim in sims]
        server = stack.enter_context(serving(scratch / "kproxy", config(*urls)))
        pid, resident = server.process.pid, [0, 0]
        # The first calls open what stays open: the store's files, the metrics' first page.
        trio.run(run, Target(server.address, server.key), len(KINDS), 1)
        until(lambda: at_rest(server, *sims), "nothing left of the warm-up")
        before = descriptors(server)

        def passed(done: int) -> None:
            if done == wanted.calls // 5:
                resident[0] = rss(pid)

        tally = trio.run(
            run, Target(server.address, server.key), wanted.calls, wanted.workers, passed
        )
        resident[1] = rss(pid)
        print("\n".join(_ends(tally)))
        problems = tally.unexpected()
        try:
            until(lambda: at_rest(server, *sims) and descriptors(server) == before)
        except AssertionError:
            problems.append("not at rest")
        print("\n".join(_left(server, sims, before)))
        growth = resident[1] / resident[0]
        megabytes = [round(size / 1e6, 1) for size in resident]
        print(f"resident at 20 % and 100 %: {megabytes} MB, {growth:.3f} x")
        if growth > MOST_GROWTH:
            problems.append(f"memory grew {growth:.3f} x, at most {MOST_GROWTH} x")
        print("\n".join(problems) or "nothing left")
        return 1 if problems else 0


def descriptors(server: Served) -> int:
    """Open files of kproxy, without the connections to providers that it keeps on purpose."""
    kept = sum(count for name, count in server.metrics().items() if 'state="idle"' in name)
    return len(os.listdir(f"/proc/{server.process.pid}/fd")) - int(kept)


def at_rest(server: Served, *sims: Simulated) -> bool:
    """No lease, no socket but the listener's and the kept ones, and no answer is being played."""
    return server.at_rest() and all(_playing(sim) == 0 for sim in sims)


def _playing(sim: Simulated) -> int:
    stats = sim.ask("/sim/stats")
    assert isinstance(stats, dict)
    return int(stats["streams"])


def rss(pid: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _ends(tally: Tally) -> Iterator[str]:
    yield f"{'kind':<16}{'attempts':>10}{'joined':>8}  ends"
    for kind in KINDS:
        ends = {end: count for (name, end), count in tally.ends.items() if name == kind.name}
        told = f"{tally.attempts[kind.name]:>10}{tally.joined[kind.name]:>8}"
        yield f"{kind.name:<16}{told}  {ends}"


def _left(server: Served, sims: list[Simulated], before: int) -> Iterator[str]:
    now = server.metrics()
    yield f"descriptors {before} before, {descriptors(server)} now"
    for name in ("kproxy_connections", "kproxy_sockets"):
        yield f"{name} {now[name]:g}"
    for state in ("leased", "idle"):
        count = sum(value for name, value in now.items() if f'state="{state}"' in name)
        yield f"upstream connections {state} {count:g}"
    yield f"answers being played {[_playing(sim) for sim in sims]}"


if __name__ == "__main__":
    raise SystemExit(main())
