"""A row of the table and its price go in; its six qualities and where they come from come out.

In this order, category by category:
1. The model's own published scores (`published.py`), under the subject that `SCORED` names.
2. A model without any that follows scored ones: the best that these have, or what its price says,
   whichever is more. That a new model is not measured yet is no sign that it is worse.
3. The prior of its list price (`kproxy/catalog/quality.py`), no higher than a larger model of the
   same family has, where `LARGER` names one.
Where only one side of a category was measured (faithful summaries, preferred stories) that is half
of it, and 2 or 3 the other half.

A name stands here or is not looked up; what is taken for whose predecessor is our reading of the
names. Two known faults: Claude from Sonnet 4.6 on is scored with thinking, for which a request has
to ask; and what a host's precision takes away is not seen.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import log, sqrt
from statistics import fmean

from kproxy.catalog.quality import CATEGORIES, PRIOR, Line
from tests.catalog.published import Figure, chance, odds

SCORED = {
    "gpt-4.1": "gpt-4.1",
    "claude-sonnet-4-20250514": "claude-sonnet-4",
    "grok-4.1-fast": "grok-4.1-fast",
    "deepseek-chat": "deepseek-v3.2",  # without thinking, as that name was served in 2025-12
    "minimax-m2.5": "minimax-m2.5",
    "gpt-4.1-mini": "gpt-4.1-mini",
    "gpt-5.5": "gpt-5.5",
    "claude-haiku-4-5": "claude-haiku-4-5",
    "claude-sonnet-4-6": "claude-sonnet-4-6",
    "gemini-2.5-flash": "gemini-2.5-flash",
    "gemini-3.1-pro-preview": "gemini-3.1-pro-preview",
    "gemini-3.5-flash": "gemini-3.5-flash",
    "gemini-3.5-flash-lite": "gemini-3.5-flash-lite",
    "mistral-large-2512": "mistral-large-2512",
    "mistral-medium-3.5": "mistral-medium-3.5",
    "gpt-oss-120b": "gpt-oss-120b",
    "minimax-m2.7": "minimax-m2.7",
    "minimax-m3": "minimax-m3",
    "deepseek-v4-pro": "deepseek-v4-pro",
    "grok-4.3": "grok-4.3",
    "grok-build-0.1": "grok-build-0.1",
}

# The scored models of earlier generations that it is not expected to fall behind: of its own line,
# and of smaller ones. The best of them counts in each category.
BEFORE = {
    "gpt-6-luna": ("gpt-5.6-luna",),
    "gpt-6.1-sol": ("gpt-5.6-sol", "gpt-5.5"),
    "gpt-6.1-terra": ("gpt-5.6-terra",),
    "claude-haiku-5-5": ("claude-haiku-4-5",),
    "claude-opus-5-5": ("claude-opus-5", "claude-opus-4-8", "claude-sonnet-5", "claude-sonnet-4-6"),
    "claude-sonnet-5-5": ("claude-sonnet-5", "claude-sonnet-4-6"),
    "gemini-3.8-flash": ("gemini-3.6-flash", "gemini-3.5-flash"),
    "gemini-4-argon": ("gemini-3.1-pro-preview", "gemini-3.6-flash", "gemini-3.5-flash"),
    "mistral-large-2512": ("mistral-large-2411",),
    "mistral-large-4": ("mistral-large-2512", "mistral-large-2411"),
    "mistral-medium-3.5": ("mistral-medium-2508", "mistral-medium-2505"),
    "mistral-small-2603": ("mistral-small-2503", "mistral-small-2501"),
    "qwen3.8-27b": ("qwen3.6-27b",),
    "glm-5.3": ("glm-5.2",),
    "glm-5.3-flash": ("glm-4.7-flash",),
    "kimi-k3.1-pro": ("kimi-k3",),
    "deepseek-v4.1-flash": ("deepseek-v4-flash",),
    "deepseek-flash": ("deepseek-v4-flash",),
    "grok-4.7": ("grok-4.5",),
    "minimax-m2.7": ("minimax-m2.5",),
}

# The subject of the larger one of the same generation.
LARGER = {"gpt-oss-20b": "gpt-oss-120b"}

Figures = Mapping[str, Mapping[str, Figure]]  # by category and subject


def fit(priced: Iterable[tuple[str, float]], known: Figures) -> dict[str, Line]:
    """The prior's lines, through the models that have scores, lowered by a standard error.

    `priced` are ids of the table with their blended prices in USD per million tokens. A slope is
    never below 0: that a dearer model is expected to be worse would be an accident of the sample.
    """
    sold = {SCORED[one]: usd for one, usd in priced if one in SCORED}
    return {
        category: _line([(log(usd), odds(known[category][one].quality)) for one, usd in listed])
        for category in CATEGORIES
        if (listed := [pair for pair in sold.items() if pair[0] in known[category]])
    }


def _line(points: Sequence[tuple[float, float]]) -> Line:
    middle, mean = fmean(x for x, _ in points), fmean(y for _, y in points)
    under = sum((x - middle) ** 2 for x, _ in points)
    slope = max(0.0, sum((x - middle) * (y - mean) for x, y in points) / under)
    missed = [y - mean - slope * (x - middle) for x, y in points]
    error = sqrt(sum(one**2 for one in missed) / (len(points) - 2))
    return Line(round(mean - slope * middle - error, 3), round(slope, 3))


def quality_of(model: str, prior: Sequence[float], known: Figures) -> tuple[dict[str, float], str]:
    """The qualities by category, and a text that says for each where it is from."""
    found: dict[str, float] = {}
    said: dict[str, list[str]] = {}
    for category, guess in zip(CATEGORIES, prior, strict=True):
        quality, source = _one(model, guess, known[category])
        found[category] = round(quality, 3)
        said.setdefault(source, []).append(category)
    if len(said) == 1:
        return found, next(iter(said))
    return found, "; ".join(f"{', '.join(names)}: {source}" for source, names in said.items())


def _one(model: str, prior: float, known: Mapping[str, Figure]) -> tuple[float, str]:
    own = known.get(SCORED.get(model, ""))
    if own is not None and own.whole:
        return own.quality, _tables(own)
    rest = _without(model, prior, known)
    return rest if own is None else _half(own, _tables(own), rest)


def _without(model: str, prior: float, known: Mapping[str, Figure]) -> tuple[float, str]:
    """What is expected of a model without a score of its own."""
    best = (prior, PRIOR)
    larger = known.get(LARGER.get(model, ""))
    if larger is not None and larger.quality < prior:
        best = (larger.quality, f"{PRIOR}, at most as {LARGER[model]}")
    earlier = [(known[one], one) for one in BEFORE.get(model, ()) if one in known]
    for figure, name in sorted(earlier, key=lambda pair: not pair[0].whole):
        source = f"as {name}, {_tables(figure)}"
        better = (figure.quality, source) if figure.whole else _half(figure, source, best)
        best = max(best, better, key=lambda pair: pair[0])
    return best


def _half(figure: Figure, source: str, rest: tuple[float, str]) -> tuple[float, str]:
    """Where another side of the category was measured: in the middle of that and the rest."""
    return chance((odds(figure.quality) + odds(rest[0])) / 2), f"{source} and {rest[1]}"


def _tables(figure: Figure) -> str:
    """`livebench_2026_06_25_later` is LiveBench 2026-06-25 as well."""
    parts = [name.removesuffix("_later").split("_") for name in figure.tables]
    return " and ".join(f"{_TITLES[name]} {'-'.join(day)}" for name, *day in parts)


_TITLES = {
    "livebench": "LiveBench",
    "vectara": "Vectara hallucination leaderboard",
    "stories": "LLM Creative Story-Writing Benchmark",
}
