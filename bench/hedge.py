"""Measures what hedging gains on a long tail, and what racing and failing over cost.

    python bench/hedge.py              first-token times: one attempt against hedging
    python bench/hedge.py --race       kproxy's CPU for a race of two, above that of one attempt
    python bench/hedge.py --failover   time that a fallback adds, and the winner's first token
    ... --requests N --rate R          how many of each kind, and how many a second

The providers are simulated: a median of 50 ms to the first token, log-normal with sigma 0.25, and
one request in 20 that takes ten times as long; which one is decided by its words and by the
provider. For hedging two kproxy processes, equal but for the strategy, get the same prompts at
alternating times, at a fixed rate. The other two parts use exact times, so that what is above them
is kproxy's; for races bench/load.c keeps one kproxy busy with either strategy by turns. Run it on
an otherwise idle machine.
Exit code: 0, or 2 when a part did not start.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a file, not as a module

import trio

from bench.cells import compile_load
from bench.drive import Reply, Target, ask, at_rate, percentile
from bench.processes import BenchError, cpu_seconds
from tests.fakes.server import Served, Simulated, serving, simulating

TAIL = (
    "--first-token-ms", "50", "--jitter", "0.25", "--tail", "20x10", "--token-ms", "1",
    "--tokens", "8",
)  # fmt: skip
EXACT = ("--first-token-ms", "20", "--jitter", "0", "--token-ms", "1", "--tokens", "8")
MODEL = "tail"
WARM = 200
"""Requests before those that count: hedging waits until it knows the provider's times."""

_SLOWER = [f"acme/{MODEL}", f"good/{MODEL}!slow-first-token=1"]
_RACES: dict[str, dict[str, Any]] = {
    "single": {"x_kairosroute": {"strategy": "single"}},
    "race": {"model": "auto", "x_kairosroute": {"strategy": "race", "models": _SLOWER}},
    "race, both at once": {"x_kairosroute": {"strategy": "race"}},
}
"""Where both win at the same moment, two providers and the caller share the cores with kproxy."""

SPAN = re.compile(rb";dur=([0-9.]+)")
"""Of a Server-Timing field: parse, route, queue, connect and first token, one after the other."""

FAULTS = ("503", "reset", "cut=0", "error-event", "html")
"""Faults that a caller of the provider itself sees at once."""

SLOW_MS = 100
"""A silent provider is given up after this many milliseconds."""

AT_ONCE = ("--first-token-ms", "2", "--jitter", "0", "--token-ms", "0", "--tokens", "8")
"""Both providers at the same moment, and an answer in one piece: nothing but the race is left."""


def main() -> int:
    wanted = _arguments()
    part = _race if wanted.race else _failover if wanted.failover else _hedge
    try:
        with tempfile.TemporaryDirectory(prefix="kproxy-bench-") as scratch, ExitStack() as stack:
            for line in part(wanted, Path(scratch), stack):
                print(line, flush=True)
    except (AssertionError, BenchError, OSError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    return 0


def _arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--race", action="store_true")
    parts.add_argument("--failover", action="store_true")
    parser.add_argument("--requests", type=int, help="of each kind")
    parser.add_argument("--rate", type=float, default=40.0, help="a second; default 40")
    parser.add_argument("--blocks", type=int, default=7, help="of a race, two seconds each")
    wanted = parser.parse_args()
    wanted.requests = wanted.requests or (200 if wanted.failover else 2_000)
    return wanted


def _config(strategy: str, *sims: Simulated) -> str:
    """A kproxy with these providers for one model, and for any other name."""
    lines = ["[attempts]", f'strategy = "{strategy}"']
    slugs = ("acme", "good")
    for slug, sim in zip(slugs, sims, strict=True):
        lines += [f"[providers.{slug}]", f'base_url = "{sim.base_url}"', 'models = "any"']
    for slug, price in zip(slugs, ("2.00", "3.00"), strict=True):
        lines += ["[[models]]", f'id = "{MODEL}"', f'provider = "{slug}"']
        lines.append(f"price = {{ input = {price}, output = 8.00 }}")
    return "\n".join(lines) + "\n"


def _providers(scratch: Path, stack: ExitStack, *given: str) -> tuple[Simulated, Simulated]:
    """Two, of different seeds: what is slow at one is not at the other."""
    first, second = (
        stack.enter_context(simulating(scratch / f"sim-{seed}", "--seed", str(seed), *given))
        for seed in (1, 2)
    )
    return first, second


def _target(server: Served) -> Target:
    return Target(server.address, server.key)


def _stream(number: int, **fields: Any) -> dict[str, Any]:
    """A streamed request that nobody else makes."""
    words = f"Say in one sentence why {number} is an interesting number."
    messages = [{"role": "user", "content": words}]
    return {"model": MODEL, "stream": True, "messages": messages, **fields}


def _verdict(value: float, limit: float, *, least: bool = False) -> str:
    kept = value >= limit if least else value <= limit
    return f"{'at least' if least else 'at most'} {limit:g}: {'kept' if kept else 'MISSED'}"


# --- hedging


def _hedge(wanted: argparse.Namespace, scratch: Path, stack: ExitStack) -> Iterator[str]:
    sims = _providers(scratch, stack, *TAIL)
    strategies = ("single", "hedge")
    targets = {
        name: _target(stack.enter_context(serving(scratch / name, _config(name, *sims))))
        for name in strategies
    }
    replies: dict[str, list[Reply]] = {name: [] for name in strategies}

    async def one(number: int, due: float) -> None:
        name = strategies[number % 2]
        reply = await ask(targets[name], _stream(number // 2), due)
        if number >= 2 * WARM:
            replies[name].append(reply)

    trio.run(at_rate, 2 * wanted.rate, 2 * (WARM + wanted.requests), one)
    yield f"{'first token, ms':<24}{'single':>10}{'hedge':>10}{'ratio':>8}"
    times = {name: _first_ms(replies[name]) for name in strategies}
    for percent in (50, 95, 99):
        single, hedge = (percentile(times[name], percent) for name in strategies)
        goal = _verdict(single / hedge, 3, least=True) if percent == 99 else ""
        yield f"{f'P{percent}':<24}{single:>10.1f}{hedge:>10.1f}{single / hedge:>8.2f}  {goal}"
    single, hedge = (_attempts(replies[name]) for name in strategies)
    more = hedge / single
    goal = _verdict(round(more, 4), 1.06)
    yield f"{'attempts per request':<24}{single:>10.3f}{hedge:>10.3f}{more:>8.3f}  {goal}"
    yield from _others(replies)


def _first_ms(replies: Sequence[Reply]) -> list[float]:
    return [1000 * (one.first - one.due) for one in replies if one.first is not None]


def _after_winner_ms(replies: Sequence[Reply]) -> list[float]:
    """From the winner's first token in kproxy to the caller's, and the caller's way to kproxy: the
    caller's own time without what the Server-Timing field tells of until then."""
    spans = [SPAN.findall(one.data.partition(b"\r\n\r\n")[0]) for one in replies]
    return [
        time - sum(map(float, told)) for time, told in zip(_first_ms(replies), spans, strict=True)
    ]


def _attempts(replies: Sequence[Reply]) -> float:
    told = [one.extension["attempts"] for one in replies if one.extension]
    return mean(told) if told else math.nan


def _others(replies: dict[str, list[Reply]]) -> Iterator[str]:
    """What was not whole: it is in no time above, or in one that means little."""
    for name, some in replies.items():
        broken = [one for one in some if not one.whole or one.status != 200]
        if broken:
            counts = Counter(one.status for one in broken)
            yield f"{name}: {len(broken)} of {len(some)} not whole, by status {dict(counts)}"


# --- racing


def _race(wanted: argparse.Namespace, scratch: Path, stack: ExitStack) -> Iterator[str]:
    """As many connections as keep kproxy busy: what it costs to wake up would hide the rest."""
    program = compile_load()
    sims = _providers(scratch, stack, *AT_ONCE)
    server = stack.enter_context(serving(scratch / "kproxy", _config("single", *sims)))
    yield f"{'CPU us per request':<24}{'single':>10}{'race':>10}{'added':>8}"
    for mode, stream in (("sse", True), ("json", False)):
        costs: dict[str, list[float]] = {"single": [], "race": []}
        for turn in range(-1, wanted.blocks):  # one that does not count
            for strategy in ("single", "race") if turn % 2 else ("race", "single"):
                body = scratch / f"{mode}-{strategy}.json"
                extension = {"x_kairosroute": {"strategy": strategy}}
                body.write_text(json.dumps(_stream(1, **extension, stream=stream)))
                cost = _block(program, mode, body, server)
                if turn >= 0:
                    costs[strategy].append(cost)
        added = median([race - single for single, race in zip(*costs.values(), strict=True)])
        single, race = (median(costs[name]) for name in ("single", "race"))
        name = "streamed" if stream else "whole"
        yield f"{name:<24}{single:>10.0f}{race:>10.0f}{added:>8.0f}  {_verdict(added, 300)}"


def _block(program: Path, mode: str, body: Path, server: Served) -> float:
    """One strategy for a while: kproxy's CPU in us per request between the client's marks."""
    command = [str(program), mode, "--port", str(server.address[1]), "--body", str(body)]
    command += ["--connections=8", "--seconds=2", "--warm=0.3"]
    command += ["--header", f"Authorization: Bearer {server.key}"]
    marks: list[float] = []
    report: dict[str, Any] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        for line in client.stdout:
            said = json.loads(line)
            if "mark" in said:
                marks.append(cpu_seconds(server.process.pid))
            else:
                report = said
    answers = report["ended" if mode == "sse" else "requests"]
    if report["errors"]:
        raise BenchError(f"{report['errors']} errors: {report['first_error']}")
    return 1e6 * (marks[1] - marks[0]) / max(1, answers)


# --- failing over


def _failover(wanted: argparse.Namespace, scratch: Path, stack: ExitStack) -> Iterator[str]:
    sims = _providers(scratch, stack, *EXACT)
    server = stack.enter_context(serving(scratch / "kproxy", _config("single", *sims)))
    target, count = _target(server), wanted.requests
    provider = Target(sims[1].address)
    direct = trio.run(_each, provider, count, _stream)
    good = median(_first_ms(direct))
    yield f"{'first token, ms':<44}{'p50':>8}{'p99':>8}"
    for name, fields in _RACES.items():
        replies = trio.run(_each, target, count, lambda n, fields=fields: _stream(n, **fields))
        yield _added(f"above the direct one, {name}", _first_ms(replies), good)
        yield _added(f"winner to caller, {name}", _after_winner_ms(replies), 0, 2)
    yield f"{'added by a fallback above the fault, ms':<44}{'p50':>8}{'p99':>8}"
    for fault in FAULTS:
        failed = trio.run(_each, Target(sims[0].address), count, _failing(fault))
        own = median([1000 * (one.end - one.due) for one in failed])
        replies = trio.run(_each, target, count, _failing(fault, over=True))
        yield _added(f"{fault} (by itself {own:.1f})", _twice(replies), good + own, 50)
    replies = trio.run(_each, target, count, _failing("silence", over=True))
    label = f"silence, given up after {SLOW_MS}"
    yield _added(label, _twice(replies), good + SLOW_MS, 50)


def _failing(fault: str, *, over: bool = False) -> Callable[[int], dict[str, Any]]:
    """Requests for a faulty model; `over`: with a good one behind it.

    Each has a name that was never asked for, so that no breaker keeps the provider from failing.
    """

    def fields(number: int) -> dict[str, Any]:
        name = f"{fault.partition('=')[0]}-{number}!{fault}"
        if not over:
            return _stream(number, model=name)
        models = [f"acme/{name}", f"good/{MODEL}"]
        extension = {"models": models, "strategy": "single", "first_token_ms": SLOW_MS}
        return _stream(number, model="auto", x_kairosroute=extension)

    return fields


async def _each(target: Target, count: int, fields: Callable[[int], dict[str, Any]]) -> list[Reply]:
    """One request after the other: nothing waits for anything but the provider. Ten are warm-up."""
    return [await ask(target, fields(number)) for number in range(-10, count)][10:]


def _twice(replies: Sequence[Reply]) -> list[float]:
    """First-token times of the answers that took two attempts."""
    return _first_ms([one for one in replies if one.extension.get("attempts") == 2])


def _added(label: str, times: Sequence[float], base: float, limit: float | None = None) -> str:
    if not times:
        return f"{label:<44}       -       -  no such answer"
    above = [time - base for time in times]
    p50, p99 = percentile(above, 50), percentile(above, 99)
    verdict = "" if limit is None else f"{_verdict(p99, limit)}  "
    return f"{label:<44}{p50:>8.2f}{p99:>8.2f}  {verdict}({len(times)} requests)"


if __name__ == "__main__":
    raise SystemExit(main())
