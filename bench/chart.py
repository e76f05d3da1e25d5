"""Draws what bench/peers.py has measured: figures in, an SVG as text out.

One panel per measure, a dot per line on a logarithmic axis, for the lines lie a hundredfold apart;
a stroke goes from the least to the greatest round. It follows the reader's light or dark setting.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape

from bench.ratios import MEASURES, Figure, Measure, Span, figures

__all__ = ["chart"]

PANELS = ("rps", "json", "s64", "s1000", "first", "idle_mb")
COLUMNS, WIDTH, LABEL, VALUES, ROW, TOP, GAP = 2, 500, 92, 150, 22, 78, 40
OURS = "kproxy"
STYLE = """
  svg { color-scheme: light dark }
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 }
  .panel { font-size: 13px; font-weight: 600 }
  .small { font-size: 11px; fill: #59636e }
  .ground { fill: #ffffff }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .rail { stroke: #d1d9e0; stroke-width: 1; stroke-dasharray: 1 3 }
  .range { stroke: #59636e; stroke-width: 3; stroke-linecap: round }
  .dot { fill: #59636e }
  .ours .range { stroke: #0969da }
  .ours .dot { fill: #0969da }
  .ours text { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .small { fill: #9198a1 }
    .ground { fill: #0d1117 }
    .grid, .rail { stroke: #3d444d }
    .range { stroke: #9198a1 }
    .dot { fill: #9198a1 }
    .ours .range { stroke: #4493f8 }
    .ours .dot { fill: #4493f8 }
  }
"""


def chart(stored: Mapping[str, Any]) -> str:
    """The whole picture. `stored`: what `bench/peers.py` writes as JSON."""
    known = figures(stored)
    measures = [m for m in MEASURES if m.name in PANELS and m.name in known]
    rows = max((len(known[measure.name]) for measure in measures), default=0)
    panel = GAP + rows * ROW + 34
    width = COLUMNS * WIDTH + 20
    height = TOP + math.ceil(len(measures) / COLUMNS) * panel + 48
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-labelledby="title">',
        '<title id="title">kproxy beside other proxies</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{width}" height="{height}" rx="6"/>',
        _text(20, 32, "kproxy beside other proxies: the same load, the same provider", "title"),
        _text(20, 54, _subtitle(stored), "small"),
    ]
    for place, measure in enumerate(measures):
        x = 20 + (place % COLUMNS) * WIDTH
        y = TOP + (place // COLUMNS) * panel
        parts += _panel(measure, known[measure.name], x, y)
    parts.append(_text(20, height - 32, _machine(stored), "small"))
    parts.append(_text(20, height - 14, f"$ {stored['command']}", "small"))
    return "\n".join([*parts, "</svg>", ""])


def _subtitle(stored: Mapping[str, Any]) -> str:
    return (
        f"dot: median of {len(stored['rounds'])} interleaved rounds; stroke: least to greatest; "
        "in brackets: times nginx; one process each, kproxy-x2 with two workers"
    )


def _machine(stored: Mapping[str, Any]) -> str:
    about = stored["machine"]
    parts = [about.get("cpu", ""), f"{about['cores']} cores", f"Linux {about['kernel']}"]
    parts += [f"Python {about['python']}", stored.get("date", "")]
    return ", ".join(part for part in parts if part)


def _panel(measure: Measure, lines: Mapping[str, Figure], x: float, y: float) -> Iterator[str]:
    better = "more is better" if measure.more else "less is better"
    yield _text(x, y + 14, measure.title, "panel")
    yield _text(x, y + 29, better, "small")
    spans = [figure.value for figure in lines.values() if figure.value]
    low, high = _decades(spans)
    left, right = x + LABEL, x + WIDTH - VALUES

    def at(value: float) -> float:
        share = (math.log10(max(value, low)) - math.log10(low)) / math.log10(high / low)
        return left + share * (right - left)

    bottom = y + GAP + len(lines) * ROW
    for mark in _marks(low, high):
        yield f'<path class="grid" d="M{at(mark):.1f} {y + GAP - 4}V{bottom}"/>'
        yield _text(at(mark), bottom + 15, f"{mark:,g}", "small", "middle")
    for row, (line, figure) in enumerate(lines.items()):
        yield from _line(line, figure, measure, x, y + GAP + row * ROW + 11, (left, right), at)


def _line(
    line: str,
    figure: Figure,
    measure: Measure,
    x: float,
    y: float,
    rail: tuple[float, float],
    at: Any,
) -> Iterator[str]:
    yield f'<g class="{"ours" if line.startswith(OURS) else "other"}">'
    yield _text(x, y + 4, line)
    yield f'<path class="rail" d="M{rail[0]} {y}H{rail[1]}"/>'
    span = figure.shown
    if span is None:
        yield _text(rail[1] + 10, y + 4, figure.note or "not measured", "small")
    else:
        if span.most > span.least:
            yield f'<path class="range" d="M{at(span.least):.1f} {y}H{at(span.most):.1f}"/>'
        yield f'<circle class="dot" cx="{at(span.middle):.1f}" cy="{y}" r="4.5"/>'
        ratio = f" ({_short(figure.ratio.middle)} x)" if figure.ratio else ""
        note = f" {figure.note}" if figure.note else ""
        yield _text(rail[1] + 10, y + 4, f"{span.middle:,.{measure.digits}f}{ratio}{note}")
    yield "</g>"


def _short(ratio: float) -> str:
    """About three digits, and never an exponent."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}" if ratio >= 0.1 else f"{ratio:.3f}"


def _decades(spans: list[Span]) -> tuple[float, float]:
    """The powers of ten around everything; what is not above zero stands at the left end."""
    above = [value for span in spans for value in (span.least, span.most) if value > 0]
    low = 10.0 ** math.floor(math.log10(min(above, default=1.0)))
    high = 10.0 ** math.ceil(math.log10(max(above, default=10.0)))
    return low, max(high, low * 10)


def _marks(low: float, high: float) -> Iterator[float]:
    mark = low
    while mark <= high * 1.001:
        yield round(mark, 12)
        mark *= 10


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    place = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}{place}>{escape(text)}</text>'
