"""Cells are means drawn to the model's whole, of the chosen lines only."""

import numpy as np
import pytest

from kproxy.routing.learning.tabulate import label_lines, tabulate
from kproxy.routing.table import Novelty, Rate
from tests.fakes.answered import corpus

NOVELTY = Novelty(offset=1.0, slope=1.0, limit=0.5, trust=0.5)
LABELS = label_lines(corpus(), {"sums": "counts+sums", "counts": "counts+sums"})
ALL = np.ones(len(corpus().lines), bool)


def test_labels_are_sorted_and_merged():
    assert LABELS.names == ("capitals", "counts+sums", "loops", "verses")
    assert [LABELS.names[one] for one in LABELS.of_line[[0, -1]]] == ["counts+sums", "capitals"]


def test_a_cell_is_drawn_to_the_mean():
    table = tabulate(corpus(), LABELS, ALL, NOVELTY, {"south": (Rate(0.98, 0.1),)})
    south = next(pool for pool in table.pools if pool.name == "south")
    small = south.models[1]
    score = corpus().pools["south"].score[:, 1]
    expected = (score[60:120].sum() + 10 * score.mean()) / 70
    assert small.cells["verses"].quality == pytest.approx(expected, abs=1e-4)
    assert south.prompts == {"counts+sums": 60, "loops": 60, "verses": 60}
    assert (small.usd_per_mtok_in, small.usd_per_mtok_out) == (1, 3)
    assert south.rates == (Rate(0.98, 0.1),)


def test_lines_that_were_not_chosen_are_not_counted():
    chosen = np.array([line.bench != "verses" for line in corpus().lines])
    table = tabulate(corpus(), LABELS, chosen, NOVELTY, {})
    assert len(table.categories) == 4
    assert all("verses" not in pool.prompts for pool in table.pools)
    chosen = np.array([line.pool == "north" for line in corpus().lines])
    assert [pool.name for pool in tabulate(corpus(), LABELS, chosen, NOVELTY, {}).pools] == [
        "north"
    ]


def test_families_become_categories_for_people():
    table = tabulate(corpus(), LABELS, ALL, NOVELTY, {})
    assert {one.name: one.people for one in table.categories} == {
        "capitals": "analysis",
        "counts+sums": "reasoning",
        "loops": "code",
        "verses": "creative",
    }
