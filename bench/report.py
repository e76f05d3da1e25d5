"""Measures nothing: turns the rounds of bench/relay.py into a table, with ratios inside each round.

In: for each round, cell and target a mapping of numbers. Out: lines of text, and a JSON file.
A ratio is kproxy's number over nginx's of the same round; the median is taken over the rounds, so
a slow minute of the machine touches both sides of it. What is added to the direct line has one
ratio, of the medians.
"""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

__all__ = [
    "Alone",
    "Round",
    "Row",
    "as_text",
    "machine",
    "middle_of",
    "pooled_p99",
    "ratio_added",
    "ratios_of",
    "shares",
    "table",
    "write",
]

Round = Mapping[str, Mapping[str, Mapping[str, Any]]]  # cell -> target -> number's name -> number
PROBLEMS = ("errors", "lost", "unsent", "saturated", "few")
SPOILT = ("failed", "saturated", "few")
SAMPLES = 10_000
"""A p99 of fewer is not printed: it would rest on the slowest hundred at most."""
NOISE = 0.02
"""ms. An added time below it is none that these clocks can tell, so nothing is a multiple of it."""
TARGETS = ("direct", "nginx", "kproxy")


@dataclass(frozen=True, slots=True)
class Row:
    """One line: which number of which cell, and what the project promises at most.

    `ratio`: at most that many times nginx. `most`: at most that much. `scale`: unit of the number
    over unit printed. `added`: the direct line of the same round is subtracted.
    """

    title: str
    cell: str
    key: str
    digits: int = 1
    ratio: float | None = None
    most: float | None = None
    scale: float = 1.0
    added: bool = False


ROWS = (
    Row("JSON, 16 connections: requests/s", "json", "per_second", 0),
    Row("JSON: CPU us per request", "json", "cpu_us", ratio=8),
    Row("JSON: latency p50, us", "json", "latency_p50_us", 0),
    Row("SSE, 64 streams at 20 ms: chunks/s", "s64", "per_second", 0),
    Row("SSE, 64 streams: CPU us per chunk", "s64", "cpu_us", ratio=1.5),
    Row("SSE, 1,000 streams at 50 ms: chunks/s", "s1000", "per_second", 0),
    Row("SSE, 1,000 streams: CPU us per chunk", "s1000", "cpu_us", ratio=1.2),
    Row("TLS provider, JSON: CPU us per request", "tjson", "cpu_us"),
    Row("TLS provider, 64 streams: us per chunk", "ts64", "cpu_us", ratio=1.7),
    Row("TLS provider, 1,000: CPU us per chunk", "ts1000", "cpu_us", ratio=1.5),
    Row("first token p50 at 20/s, ms", "first", "ttft_p50_us", 3, scale=1e3),
    Row(
        "first token p50, added to direct, ms",
        "first",
        "ttft_p50_us",
        3,
        ratio=2,
        scale=1e3,
        added=True,
    ),
    Row("hang-up in a stream to provider, p50 ms", "hang", "p50_ms", 2),
    Row("hang-up in a stream to provider, p95 ms", "hang", "p95_ms", 2, most=20),
    Row("hang-up before a token, p50 ms", "late", "p50_ms", 2),
    Row("hang-up before a token, p95 ms", "late", "p95_ms", 2, most=20),
    Row("resident with 1,000 streams, MB", "s1000", "rss_mb", most=80),
    Row("resident with 1,000 kept connections, MB", "idle", "rss_mb"),
)


@dataclass(frozen=True, slots=True)
class Alone:
    """A number that is measured outside the rounds: by target, and what is promised for kproxy."""

    title: str
    values: Mapping[str, float]
    digits: int = 1
    most: float | None = None


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cpu": _processor(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")


def pooled_p99(rounds: Sequence[Round], cell: str, target: str) -> float | None:
    """Of the first-token times of all rounds together, in us; None when they are too few."""
    runs = [one.get(cell, {}).get(target, {}) for one in rounds]
    taken = sorted(time for run in runs for time in run.get("ttft_all_us", ()))
    return taken[round((len(taken) - 1) * 0.99)] if len(taken) >= SAMPLES else None


def _values(row: Row, rounds: Sequence[Round], target: str) -> list[float | None]:
    """The row's number in each round; None where it was not measured."""
    found: list[float | None] = []
    for one in rounds:
        cell = one.get(row.cell, {})
        value, base = cell.get(target, {}).get(row.key), 0.0
        if row.added:
            base = None if target == "direct" else cell.get("direct", {}).get(row.key)
        found.append(None if value is None or base is None else (value - base) / row.scale)
    return found


def ratios_of(top: Sequence[float | None], bottom: Sequence[float | None]) -> list[float]:
    """Of each round that has both."""
    pairs = zip(top, bottom, strict=True)
    return [a / b for a, b in pairs if a is not None and b is not None and b > 0]


def ratio_added(top: Sequence[float | None], bottom: Sequence[float | None]) -> list[float]:
    """One, of the medians, of times in ms that two lines add to a third; or none.

    What is added in one round is a small difference of large numbers. Ratios inside the rounds
    would swing with it, and to leave out the rounds with the smallest would choose those that suit
    the upper line.
    """
    pairs = [(a, b) for a, b in zip(top, bottom, strict=True) if a is not None and b is not None]
    base = median(b for _, b in pairs) if pairs else 0.0
    return [median(a for a, _ in pairs) / base] if base >= NOISE else []


def middle_of(values: Sequence[float | None]) -> float | None:
    """The median of what was measured."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def as_text(value: float | None, digits: int) -> str:
    """A dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def _promise(row: Row | Alone, value: float | None, ratio: float | None) -> str:
    """What is promised, and whether it is kept."""
    limit = row.ratio if isinstance(row, Row) and row.ratio is not None else row.most
    is_ratio = isinstance(row, Row) and row.ratio is not None
    measured = ratio if is_ratio else value
    if limit is None:
        return ""
    text = f"{limit:g}{' x' if is_ratio else ''}"
    if measured is None:
        return text
    return f"{text} kept" if measured <= limit else f"{text} MISSED by {measured / limit:.2f} x"


def _gone(row: Row, rounds: Sequence[Round]) -> str:
    """What a promise comes to when bench/cells.py took the number away in a round."""
    if row.ratio is None and row.most is None:
        return ""
    for target in ("kproxy", "nginx") if row.ratio is not None else ("kproxy",):
        for one in rounds:
            run = one.get(row.cell, {}).get(target, {})
            why = next((key for key in SPOILT if run.get(key)), None)
            if why is not None and run.get(row.key) is None:
                return f"MISSED ({why})" if target == "kproxy" else f"not measured ({target} {why})"
    return ""


def table(rounds: Sequence[Round], alone: Sequence[Alone]) -> Iterator[str]:
    """Medians by target, the ratio to nginx with its least and greatest round, and the promise."""
    heads = "".join(f"{name:>10}" for name in TARGETS)
    yield f"{f'medians, rounds: {len(rounds)}':<43}{heads}  {'kproxy/nginx':<26}at most"
    for row in ROWS:
        values = {name: _values(row, rounds, name) for name in TARGETS}
        middles = {name: middle_of(values[name]) for name in TARGETS}
        if all(value is None for value in middles.values()) and not _gone(row, rounds):
            continue
        pair = (values["kproxy"], values["nginx"])
        ratios = ratio_added(*pair) if row.added else ratios_of(*pair)
        ratio = median(ratios) if ratios else None
        span = f"{ratio:.2f}" if ratio is not None else ""
        if ratios and not row.added:
            span += f" ({min(ratios):.2f} to {max(ratios):.2f})"
        cells = "".join(f"{as_text(middles[name], row.digits):>10}" for name in TARGETS)
        promise = _gone(row, rounds) or _promise(row, middles["kproxy"], ratio)
        yield f"{row.title:<43}{cells}  {span:<26}{promise}".rstrip()
    for one in alone:
        numbers = {name: one.values.get(name) for name in TARGETS}
        cells = "".join(f"{as_text(numbers[name], one.digits):>10}" for name in TARGETS)
        nginx, kproxy = numbers["nginx"], numbers["kproxy"]
        span = f"{kproxy / nginx:.2f}" if nginx and kproxy is not None else ""
        yield f"{one.title:<43}{cells}  {span:<26}{_promise(one, kproxy, None)}".rstrip()


def shares(rounds: Sequence[Round]) -> Iterator[str]:
    """Who was busy: shares of one core by cell and target, and what went wrong.

    A cell in which the load client or the provider comes near 100 % measures them, not the proxy.
    """
    yield f"{'busy, % of one core (medians)':<32}{'load':>8}{'provider':>10}{'target':>8}  problems"
    cells = list(rounds[0]) if rounds else []
    for cell in cells:
        for target in rounds[0][cell]:
            runs = [one[cell][target] for one in rounds if target in one.get(cell, {})]
            texts = []
            for key in ("load_share", "sim_share", "target_share"):
                middle = middle_of([run.get(key) for run in runs])
                texts.append("-" if middle is None else f"{middle:.1%}"[:-1])
            sums = {key: sum(run.get(key) or 0 for run in runs) for key in PROBLEMS}
            problems = [f"{count:.0f} {key}" for key, count in sums.items() if count]
            said = next((text for run in runs if (text := _said(run))), "")
            line = f"{cell:<8}{target:<24}{texts[0]:>8}{texts[1]:>10}{texts[2]:>8}"
            yield f"{line}  {', '.join(problems)} {said}".rstrip()


def _said(run: Mapping[str, Any]) -> str:
    """The last line of what went wrong in a run."""
    text = run.get("failed") or run.get("first_error") or ""
    return str(text).strip().rpartition("\n")[2][:100]


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Everything that was measured, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
