"""A corpus and a choice of its lines go in; the category table of these lines comes out."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kproxy.routing.cues import DEFAULT_CUES
from kproxy.routing.learning.records import Corpus, Measured
from kproxy.routing.table import (
    Category,
    CategoryTable,
    Cell,
    MeasuredModel,
    Novelty,
    People,
    Pool,
    Rate,
)

__all__ = ["Labels", "label_lines", "tabulate"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# What a family of the data is for people; an operator may change it in the table.
_PEOPLE: tuple[tuple[str, People], ...] = (
    ("code", "code"),
    ("math", "reasoning"),
    ("logic", "reasoning"),
    ("commonsense", "reasoning"),
    ("writing", "creative"),
    ("creative", "creative"),
    ("summar", "summarization"),
    ("extract", "extraction"),
)

_PRIOR = 10.0
"""Prompts that a model's mean over all categories counts for in each cell (Beta shrinkage)."""

_SHARPNESS = 1.2
"""One against the rest is a little too modest: a softmax of its evidence is sharpened."""


class Labels(NamedTuple):
    """The names of the categories, and each line's number among them."""

    names: tuple[str, ...]
    of_line: Ints


def label_lines(corpus: Corpus, merged: Mapping[str, str]) -> Labels:
    """Number the categories; `merged` gives some labels another name. Names are sorted."""
    called = [merged.get(line.label, line.label) for line in corpus.lines]
    names = tuple(sorted(set(called)))
    number = {name: place for place, name in enumerate(names)}
    return Labels(names, np.array([number[name] for name in called], np.int64))


def tabulate(
    corpus: Corpus,
    labels: Labels,
    chosen: Bools,
    novelty: Novelty,
    rates: Mapping[str, Sequence[Rate]],
) -> CategoryTable:
    """The table of the chosen lines; a pool without any is left out."""
    share = np.bincount(labels.of_line[chosen], minlength=len(labels.names)) + 1.0
    bias = np.log(share / share.sum())
    families = {
        labels.names[number]: line.family
        for number, line in zip(labels.of_line, corpus.lines, strict=True)
    }
    return CategoryTable(
        categories=tuple(
            Category(name, _people(families[name]), round(float(weight), 4))
            for name, weight in zip(labels.names, bias, strict=True)
        ),
        pools=tuple(
            _pool(name, pool, labels, chosen, tuple(rates.get(name, ())))
            for name, pool in corpus.pools.items()
            if chosen[pool.lines].any()
        ),
        novelty=novelty,
        cues=dict(DEFAULT_CUES),
        sharpness=_SHARPNESS,
    )


def _people(family: str) -> People:
    return next((people for part, people in _PEOPLE if part in family), "analysis")


def _pool(
    name: str, pool: Measured, labels: Labels, chosen: Bools, rates: tuple[Rate, ...]
) -> Pool:
    keep = chosen[pool.lines]
    score, tokens = pool.score[keep], pool.output_tokens[keep]
    category = labels.of_line[pool.lines[keep]]
    cells: list[dict[str, Cell]] = [{} for _ in pool.ids]
    prompts: dict[str, int] = {}
    for number in np.unique(category):
        rows = category == number
        count = int(rows.sum())
        prompts[labels.names[number]] = count
        quality = (score[rows].sum(0) + _PRIOR * score.mean(0)) / (count + _PRIOR)
        length = (tokens[rows].sum(0) + _PRIOR * tokens.mean(0)) / (count + _PRIOR)
        for place, cell in enumerate(cells):
            cell[labels.names[number]] = Cell(
                round(float(quality[place]), 4), round(float(length[place]), 1)
            )
    models = tuple(
        MeasuredModel(model, _usd(pool.price_in[place]), _usd(pool.price_out[place]), cell)
        for place, (model, cell) in enumerate(zip(pool.ids, cells, strict=True))
    )
    return Pool(name, prompts, models, rates)


def _usd(per_token: float) -> float:
    return round(float(per_token) * 1e6, 6)
