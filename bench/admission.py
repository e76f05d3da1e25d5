"""Measures what admission costs: CPU per request for the key, the rate and the quota.

    python bench/admission.py                  200,000 requests in each cell
    python bench/admission.py --requests N     so many instead

A request is what the proxy does for each one: find the key's field, digest it and look it up;
`take` one request of the rate; `reserve`; `settle`; and write the six x-ratelimit fields. The
cells: one process alone; two processes with an account each; two processes on one account. The
last line is what taking and leaving a lock costs with each call that the kernel has for it, which
is why store/cells.py has the one it has. CPU time is the process's own, of both kinds, divided by
its requests; the median of five parts. Run it on an otherwise idle machine. Linux only.
"""

import argparse
import dataclasses
import fcntl
import multiprocessing
import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

from kproxy.admission.identity import bearer, identify
from kproxy.admission.keys import Account, KeyRecord, digest
from kproxy.admission.quota import Amount, counted
from kproxy.admission.standing import limit_fields
from kproxy.admission.tiers import TIERS
from kproxy.store.counters import Counters, open_counters

PARTS = 5
KEY = b"kr-" + b"k" * 43
HEADERS = [
    (b"host", b"127.0.0.1:4000"),
    (b"accept", b"application/json"),
    (b"content-type", b"application/json"),
    (b"authorization", b"Bearer " + KEY),
    (b"user-agent", b"OpenAI/Python 2.0.0"),
    (b"content-length", b"100"),
]
# Never refused: what is measured is the path of a request that goes on.
BUSINESS = dataclasses.replace(
    TIERS["business"], requests_per_minute=10_000_000, burst=10_000_000, tokens_per_month=10**15
)
SHARED = {"business": BUSINESS}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=200_000)
    requests: int = parser.parse_args().requests
    cells = {
        "one process": ["acct_1"],
        "two processes, two accounts": ["acct_1", "acct_2"],
        "two processes, one account": ["acct_1", "acct_1"],
    }
    print("CPU per request, us: " + ", ".join(step for step, _ in steps(None, "")))
    for name, accounts in cells.items():
        with tempfile.TemporaryDirectory(prefix="kproxy-bench-") as directory:
            for figures in together(Path(directory), accounts, requests):
                print(f"{name}: " + ", ".join(f"{figure:.1f}" for figure in figures))
    with tempfile.TemporaryFile() as file:
        alone = [(name, cpu_us(run, requests // PARTS)) for name, run in locks(file.fileno())]
    print("a lock, us: " + ", ".join(f"{name} {figure:.2f}" for name, figure in alone))
    return 0


def together(directory: Path, accounts: list[str], requests: int) -> list[list[float]]:
    """The figures of as many processes as there are accounts, measured at the same time."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(len(accounts))
    pipes, processes = [], []
    for account in accounts:
        mine, theirs = context.Pipe()
        process = context.Process(target=measure, args=(directory, account, requests, gate, theirs))
        process.start()
        pipes.append(mine)
        processes.append(process)
    figures: list[list[float]] = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    return figures


def measure(directory: Path, account: str, requests: int, gate: object, result: Connection) -> None:
    """In a process of its own: each step's CPU time per request, in microseconds."""
    counters = open_counters(directory, lambda _: (), time.time())
    figures = []
    for _, run in steps(counters, account):
        gate.wait()  # type: ignore[attr-defined]
        figures.append(cpu_us(run, requests // PARTS))
    result.send(figures)
    gate.wait()  # type: ignore[attr-defined]
    counters.close()


def cpu_us(run: Callable[[], object], times: int) -> float:
    parts = []
    for _ in range(PARTS):
        before = time.process_time_ns()
        for _ in range(times):
            run()
        parts.append((time.process_time_ns() - before) / times / 1_000)
    return median(parts)


def locks(file: int) -> list[tuple[str, Callable[[], object]]]:
    held = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 4_096, 64, 0)
    let_go = struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, 4_096, 64, 0)

    def description() -> object:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, held)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, let_go)

    def process() -> object:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 64, 4_096)
        fcntl.lockf(file, fcntl.LOCK_UN, 64, 4_096)

    def whole_file() -> object:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)

    return [("F_OFD_SETLK", description), ("lockf", process), ("flock", whole_file)]


def steps(counters: Counters | None, account: str) -> list[tuple[str, Callable[[], object]]]:
    record = KeyRecord(
        Account(account, account, "business", 0), "key_1", digest(KEY), "n", "kr-k", 0
    )
    known = {record.digest: record}.get
    boot, wall = time.CLOCK_BOOTTIME, time.time
    rate = BUSINESS.rate

    def key() -> object:
        return identify(bearer(HEADERS), known, SHARED, wall())

    def take() -> object:
        return counters.take(account, rate, time.clock_gettime_ns(boot))

    def reserve() -> object:
        asked = counted(BUSINESS, 1_000, 10_000, managed=True)
        counters.reserve(account, BUSINESS, asked, wall()).settle(Amount(500, 5_000))

    def everything() -> object:
        caller = identify(bearer(HEADERS), known, SHARED, wall())
        verdict = counters.take(caller.account.id, caller.tier.rate, time.clock_gettime_ns(boot))
        asked = counted(caller.tier, 1_000, 10_000, managed=True)
        held = counters.reserve(caller.account.id, caller.tier, asked, wall())
        limit_fields(verdict.standing, held.standing)
        held.settle(counted(caller.tier, 500, 5_000, managed=True))

    return [("key", key), ("take", take), ("reserve and settle", reserve), ("all", everything)]


if __name__ == "__main__":
    sys.exit(main())
