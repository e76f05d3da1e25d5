"""Turns the rounds of bench/peers.py into figures, one table, and what became of the goals.

In: what bench/peers.py has stored. Out: for each measure and line the median with its least and
greatest round, and the same of its ratio to nginx inside each round (of what is added to the direct
line: one ratio, of the medians); and lines of text. A line that did not hold the pace of the
provider has no figure but says `saturated`; one that could not be measured says `failed`. A rate
says so when the provider or the load client had a whole core to do, and the goals of it are then
judged by the CPU per request.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from bench.report import Round, as_text, middle_of, pooled_p99, ratio_added, ratios_of

__all__ = ["MEASURES", "Figure", "Measure", "Span", "figures", "goals", "table"]

BASE = "nginx"
BUSY = {"sim_share": "provider busy", "load_share": "load busy"}
"""Notes of runs in which one of the two had no more to give. CPU per request is sound in them."""
FULL = 0.95  # of a core
TIMED = ("per_second", "ttft_p50_us", "p99")


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of a cell, or with no cell one that a line has alone. `added`: less the direct
    line's of the same round. `scale`: unit of the number over unit printed."""

    name: str
    title: str
    cell: str
    key: str
    digits: int = 1
    scale: float = 1.0
    added: bool = False
    more: bool = False  # the greater, the better


MEASURES = (
    Measure("rps", "JSON, 64 connections: requests/s", "json", "per_second", 0, more=True),
    Measure("json", "JSON: CPU us per request", "json", "cpu_us"),
    Measure("s64", "SSE, 64 streams at 20 ms: CPU us per chunk", "s64", "cpu_us"),
    Measure("s1000", "SSE, 1,000 streams at 50 ms: CPU us per chunk", "s1000", "cpu_us"),
    Measure("first", "first token at 20/s, added p50, ms", "first", "ttft_p50_us", 3, 1e3, True),
    Measure(
        "p99", "first token at 20/s, added p99 of all rounds, ms", "first", "p99", 3, 1e3, True
    ),
    Measure("streams_mb", "memory with 1,000 streams, MB", "s1000", "memory_mb"),
    Measure("idle_mb", "memory when idle, MB", "", "idle_mb"),
    Measure("after_mb", "memory after the run, MB", "", "after_mb"),
    Measure("start", "start until ready, s", "", "start_s", 2),
)
BY_NAME = {measure.name: measure for measure in MEASURES}


@dataclass(frozen=True, slots=True)
class Span:
    """A median, and the least and the greatest."""

    middle: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Figure:
    """What one line came to in one measure; `note` says why there is nothing, or what bound it."""

    value: Span | None
    ratio: Span | None
    note: str = ""

    @property
    def shown(self) -> Span | None:
        """The value, unless it is only that of the rounds that are left."""
        return self.value if not self.note or self.note in BUSY.values() else None


@dataclass(frozen=True, slots=True)
class Goal:
    """`line`'s measure is at least or at most `factor` times that of `against` in the same round;
    without `against`, `factor` itself."""

    title: str
    measure: str
    line: str
    factor: float
    against: str = BASE
    at_least: bool = False
    by_cpu: bool = True  # of rates: the CPU per request may stand in for them


GOALS = (
    Goal("SSE, 1,000 streams: CPU per chunk", "s1000", "kproxy", 1.2),
    Goal("SSE, 64 streams: CPU per chunk", "s64", "kproxy", 1.5),
    Goal("JSON: requests/s", "rps", "kproxy", 1 / 6, at_least=True),
    Goal("JSON: requests/s", "rps", "kproxy", 2, "aiohttp", at_least=True),
    Goal("JSON: requests/s", "rps", "kproxy", 12, "portkey", at_least=True),
    Goal("JSON: requests/s", "rps", "kproxy", 50, "litellm", at_least=True),
    Goal("JSON, auto: requests/s", "rps", "kproxy-auto", 6, "portkey", at_least=True),
    Goal("JSON, auto: requests/s", "rps", "kproxy-auto", 25, "litellm", at_least=True),
    Goal("JSON, two workers: requests/s", "rps", "kproxy-x2", 1.7, "kproxy", True, by_cpu=False),
    Goal("first token at 20/s: added p50", "first", "kproxy", 2),
    Goal("memory with 1,000 streams, MB", "streams_mb", "kproxy", 80, ""),
)


def figures(stored: Mapping[str, Any]) -> dict[str, dict[str, Figure]]:
    """By measure, then by line, in the order of the run; measures that nobody has are left out."""
    found: dict[str, dict[str, Figure]] = {}
    for measure in MEASURES:
        base = _values(stored, measure, BASE)
        lines = {}
        for line in stored["lines"]:
            values = _values(stored, measure, line)
            note = _note(stored["rounds"], measure, line)
            if note or any(value is not None for value in values):
                ratio = None if line == BASE else _span(_ratios(measure, values, base))
                lines[line] = Figure(_span(values), ratio, note)
        if any(figure.value for figure in lines.values()):
            found[measure.name] = lines
    return found


def _values(stored: Mapping[str, Any], measure: Measure, line: str) -> list[float | None]:
    """One per round, or just one where there are no rounds to it."""
    rounds: Sequence[Round] = stored["rounds"]
    if not measure.cell:
        return [stored["alone"].get(line, {}).get(measure.key)]
    if measure.key == "p99":
        taken = [pooled_p99(rounds, measure.cell, name) for name in (line, "direct")]
        return [_less(taken[0], taken[1], measure.scale)] if line != "direct" else [None]
    found = []
    for one in rounds:
        cell = one.get(measure.cell, {})
        value = cell.get(line, {}).get(measure.key)
        base = cell.get("direct", {}).get(measure.key) if measure.added else 0.0
        is_base = measure.added and line == "direct"
        found.append(None if is_base else _less(value, base, measure.scale))
    return found


def _less(value: float | None, base: float | None, scale: float) -> float | None:
    return None if value is None or base is None else (value - base) / scale


def _ratios(
    measure: Measure, values: Sequence[float | None], base: Sequence[float | None]
) -> Sequence[float]:
    return ratio_added(values, base) if measure.added else ratios_of(values, base)


def _span(values: Sequence[float | None]) -> Span | None:
    known = [value for value in values if value is not None]
    return Span(median(known), min(known), max(known)) if known else None


def _note(rounds: Sequence[Round], measure: Measure, line: str) -> str:
    """Why a line has no figure, or (one of `BUSY`) why its figure is rather somebody else's."""
    runs = [one.get(measure.cell, {}).get(line, {}) for one in rounds]
    if any(run.get("failed") for run in runs):
        return "failed"
    if measure.key == "memory_mb":
        return "too few streams" if any(run.get("few") for run in runs) else ""
    if any(run.get("saturated") for run in runs):
        return "saturated"
    if measure.key in TIMED:
        for who, note in BUSY.items():
            share = middle_of([run.get(who) for run in runs])
            if share is not None and share >= FULL:
                return note
    return ""


def table(stored: Mapping[str, Any]) -> Iterator[str]:
    """Measure by measure: medians and ratios to nginx, each with its least and greatest round."""
    yield f"{'medians (least to greatest), rounds:':<38}{len(stored['rounds']):<30}ratio to {BASE}"
    for name, lines in figures(stored).items():
        measure = BY_NAME[name]
        yield ""
        yield measure.title + (" (more is better)" if measure.more else "")
        for line, figure in lines.items():
            value = _with_range(figure.value, measure.digits)
            ratio = _with_range(figure.ratio, 2)
            yield f"  {line:<14}{value:<52}{ratio:<30}{figure.note}".rstrip()


def _with_range(span: Span | None, digits: int) -> str:
    if span is None:
        return f"{'-':>12}"
    texts = [as_text(value, digits) for value in (span.middle, span.least, span.most)]
    width = "" if span.least == span.most else f"  ({texts[1]} to {texts[2]})"
    return f"{texts[0]:>12}{width}"


def goals(stored: Mapping[str, Any]) -> Iterator[str]:
    """What became of each goal whose lines were in the run.

    A line that did not hold the pace or failed in one round has missed its goal: a median of the
    rounds in which it did would be of those that suit it.
    """
    for goal in GOALS:
        names = [name for name in (goal.line, goal.against) if name]
        out = [name for name in names if name in stored.get("left_out", {})]
        if out and BY_NAME[goal.measure].cell in _cells(stored):
            yield _told(goal, None, f"not measured ({out[0]} left out)")
        elif all(_took_part(stored, BY_NAME[goal.measure], name) for name in names):
            yield _judged(stored, goal)


def _cells(stored: Mapping[str, Any]) -> set[str]:
    return {cell for one in stored["rounds"] for cell in one}


def _took_part(stored: Mapping[str, Any], measure: Measure, line: str) -> bool:
    return any(line in one.get(measure.cell, {}) for one in stored["rounds"])


def _judged(stored: Mapping[str, Any], goal: Goal) -> str:
    measure = BY_NAME[goal.measure]
    bound = _note(stored["rounds"], measure, goal.line)
    if bound and bound not in BUSY.values():
        return _told(goal, None, f"MISSED ({bound})")
    note = _note(stored["rounds"], measure, goal.against) if goal.against else ""
    if note in BUSY.values() and goal.measure == "rps" and goal.by_cpu:
        who = note.removesuffix(" busy")
        return f"{_judged(stored, _by_cpu(goal))}, by CPU per request, the {who} was busy"
    if note:
        return _told(goal, None, f"not measured ({goal.against} {note})")
    values = _values(stored, measure, goal.line)
    if goal.against:
        values = list(_ratios(measure, values, _values(stored, measure, goal.against)))
    span = _span(values)
    if span is None:
        return _told(goal, None, "not measured")
    kept = span.middle >= goal.factor if goal.at_least else span.middle <= goal.factor
    return _told(goal, span, "kept" if kept else f"MISSED{f' ({bound})' if bound else ''}")


def _by_cpu(goal: Goal) -> Goal:
    """The same of the CPU per request: the goal of a rate turned round."""
    return replace(goal, measure="json", factor=1 / goal.factor, at_least=not goal.at_least)


def _told(goal: Goal, span: Span | None, verdict: str) -> str:
    unit = f" x {goal.against}" if goal.against else ""
    wanted = f"{'>=' if goal.at_least else '<='} {goal.factor:.3g}{unit}"
    return f"{goal.title:<36}{wanted:<22}{_with_range(span, 2):<32}{verdict}"
