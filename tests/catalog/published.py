"""Published tables of scores go in; the quality of each scored model by category comes out, 0 to 1.

The problem: tables differ in tasks, in difficulty and in who was asked, and none of them is what a
router decides by, the share of everyday prompts that a model gets right. The obvious ways, a mean
over whatever numbers there are or a rank, make a model good by being in an easy table.

Our way, in log-odds throughout, where an easier test is a shift:
1. A category of a table is the mean of its columns there (`COLUMNS`).
2. LiveBench of 2026-06-25 is the scale. A table is moved onto it by the models that both have, so
   that their means agree, and, where ten or more are shared and the two tables agree about them,
   their spreads too. A table of another kind only moves: its spread is its own matter.
3. Where several tables speak of a category, the nearest LiveBench counts, and together with it, as
   one voice each, what measures another side of it: faithful summaries, preferred stories.
4. The result is moved onto the scale of the routing data's pools, by nine models that stand both
   there and in LiveBench of 2024-11-25 (`everyday`): hard tasks tell good models apart that serve
   everyday prompts alike. That today's LiveBench is harder than that of 2024 is left out, which
   keeps models further apart than they may be.

A row says its model exactly as the source spells it, and under `subject` whom we take it for; a
model that can be asked with more or less thinking is the one that answers when nothing is said,
as far as the table has it. `SOURCES` says where each number stands. Figures are percent.
"""

import argparse
import csv
import gzip
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import correlation, fmean, pstdev
from typing import NamedTuple

from kproxy.catalog.quality import CATEGORIES

SCORES = Path(__file__).parent / "scores"

_PAGES = "github LiveBench/livebench.github.io, public/"
_NEWER = "github LiveBench/new-livebench, "
SOURCES = {
    "livebench_2026_06_25": f"{_NEWER}table_2026_06_25.csv, commit 165029b",
    # A fork's copy of a later state of the same table, with models that came after.
    "livebench_2026_06_25_later": "github DeepSeaGazer/new-livebench, table_2026_06_25.csv, "
    "commit 7fcf8f0",
    "livebench_2026_01_08": f"{_PAGES}table_2026_01_08.csv, commits e6ff071 and 01fa310",
    "livebench_2025_05_30": f"{_PAGES}table_2025_05_30.csv, commit 3434689",
    "livebench_2024_11_25": "github LiveBench/livebench.github.io, table_2024_11_25.csv, "
    "commit 91a259f",
    # Share of summaries without anything that the text does not say.
    "vectara_2026_09_22": "github vectara/hallucination-leaderboard, README.md, commit f38409f",
    # Share of stories that were preferred to another model's for the same brief.
    "stories_2026_05_29": "github lechmazur/writing, README.md, commit 00064f0",
    "pools_2024": "the routing data: mean score over all prompts of the pool",
}

# A group of columns counts as one.
COLUMNS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "code": (("code_completion",), ("code_generation",), ("python", "javascript", "typescript")),
    "reasoning": (
        ("spatial",),
        ("zebra_puzzle",),
        ("logic_with_navigation",),
        ("theory_of_mind",),
        ("web_of_lies_v3",),
        ("AMPS_Hard",),
        ("math_comp",),
        ("olympiad",),
        ("integrals_with_game",),
    ),
    "analysis": (("consecutive_events",), ("connections",), ("theory_of_mind",)),
    "extraction": (("tablejoin",), ("tablereformat",), ("typos",)),
    "summarization": (("summarize",), ("simplify",), ("paraphrase",)),
    "creative": (("story_generation",), ("plot_unscrambling",)),
}
BESIDE = {
    "summarization": ("vectara_2026_09_22", "consistent"),
    "creative": ("stories_2026_05_29", "win_share"),
}
ENOUGH = 10  # shared models from which on a spread is one
AGREEING = 0.5  # correlation over the shared models, likewise

Scores = Mapping[str, float]  # log-odds by subject
Rows = Mapping[str, Mapping[str, float]]  # figures from 0 to 1 by subject and column


class Scale(NamedTuple):
    """From log-odds in a table to log-odds in the pools."""

    shift: float
    slope: float

    def quality(self, score: float) -> float:
        return chance(self.shift + self.slope * score)


class Figure(NamedTuple):
    """A model's quality in one category, and the tables that it comes from."""

    quality: float
    tables: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether the category itself was measured, and not only another side of it."""
        return self.tables[0].startswith("livebench")


def odds(share: float) -> float:
    """Log-odds; what is nearer than two in a hundred to an end is not told apart from it."""
    share = min(0.98, max(0.02, share))
    return math.log(share / (1 - share))


def chance(score: float) -> float:
    """The inverse of `odds`."""
    return 1 / (1 + math.exp(-score))


def read(name: str) -> Rows:
    """A table under `scores/`."""
    with (SCORES / f"{name}.csv").open(newline="") as file:
        return {
            row["subject"]: {
                column: float(figure) / 100
                for column, figure in row.items()
                if column not in ("subject", "model")
            }
            for row in csv.DictReader(file)
        }


def score(rows: Rows, groups: Sequence[Sequence[str]]) -> dict[str, float]:
    """Each subject's log-odds: the mean over the groups whose columns the table has."""
    found: dict[str, float] = {}
    for subject, row in rows.items():
        means = [fmean(row[one] for one in group) for group in groups if set(group) <= row.keys()]
        found[subject] = odds(fmean(means))
    return found


def moved(scores: Scores, onto: Scores, *, same_kind: bool) -> dict[str, float]:
    """The scores on the other table's scale, by what both have."""
    shared = sorted(scores.keys() & onto.keys())
    mine, theirs = [scores[one] for one in shared], [onto[one] for one in shared]
    told = same_kind and len(shared) >= ENOUGH and correlation(mine, theirs) >= AGREEING
    slope = pstdev(theirs) / pstdev(mine) if told else 1.0
    middle, target = fmean(mine), fmean(theirs)
    return {subject: target + slope * (one - middle) for subject, one in scores.items()}


def linked(category: str) -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
    """Each subject's log-odds on the scale of the newest table, and the tables it comes from."""
    found: dict[str, float] = {}
    tables: dict[str, tuple[str, ...]] = {}
    for name in list(SOURCES)[:4]:
        scores = score(read(name), COLUMNS[category])
        if found and not name.endswith("_later"):
            scores = moved(scores, found, same_kind=True)
        for subject in scores.keys() - found.keys():
            found[subject], tables[subject] = scores[subject], (name,)
    if category in BESIDE:
        name, column = BESIDE[category]
        for subject, one in moved(score(read(name), [[column]]), found, same_kind=False).items():
            found[subject] = fmean([found[subject], one]) if subject in found else one
            tables[subject] = (*tables.get(subject, ()), name)
    return found, tables


def everyday() -> Scale:
    """One slope for both pools, and the mean of their shifts."""
    old = score(read("livebench_2024_11_25"), [[one] for one in _OLD_COLUMNS])
    pools = defaultdict(list)
    with (SCORES / "pools_2024.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            pools[row["pool"]].append((old[row["subject"]], odds(float(row["mean"]) / 100)))
    middles = [(fmean(x for x, _ in pool), fmean(y for _, y in pool)) for pool in pools.values()]
    across = under = 0.0
    for (x0, y0), pool in zip(middles, pools.values(), strict=True):
        across += sum((x - x0) * (y - y0) for x, y in pool)
        under += sum((x - x0) ** 2 for x, _ in pool)
    slope = across / under
    return Scale(fmean(y0 - slope * x0 for x0, y0 in middles), slope)


_OLD_COLUMNS = ("AMPS_Hard", "math_comp", "olympiad", "spatial", "web_of_lies_v2", "zebra_puzzle")


def figures() -> dict[str, dict[str, Figure]]:
    """By category and subject."""
    scale = everyday()
    found = {}
    for category in CATEGORIES:
        scores, tables = linked(category)
        found[category] = {
            subject: Figure(scale.quality(one), tables[subject]) for subject, one in scores.items()
        }
    return found


def pool_means(data: Path, pools: Path) -> dict[tuple[str, str], float]:
    """Of each model of a pool over its prompts, in percent, from the routing data's two files."""
    models = {name: pool["models"] for name, pool in json.loads(pools.read_bytes()).items()}
    scores = defaultdict(list)
    with gzip.open(data, "rt") as lines:
        for line in map(json.loads, lines):
            for model, one in zip(models[line["pool"]], line["s"], strict=True):
                scores[line["pool"], model["id"]].append(one)
    return {key: round(100 * fmean(ones), 2) for key, ones in scores.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print what `scores/pools_2024.csv` is made of.")
    parser.add_argument("data", type=Path)
    parser.add_argument("pools", type=Path)
    for (pool, model), mean in pool_means(**vars(parser.parse_args())).items():
        print(f"{pool},{model},{mean}")
