"""Data in, artefact out: the same bytes again, and what was learned is what is used."""

import numpy as np
import pytest

from kproxy.routing.features import extract
from kproxy.routing.learning.crossfit import fit_weights
from kproxy.routing.learning.logistic import evidence, rows_of, weigh
from kproxy.routing.learning.records import parse_corpus
from kproxy.routing.learning.tabulate import label_lines
from kproxy.routing.learning.train import train
from kproxy.routing.lines import DataError
from kproxy.routing.panel import ModelRow
from kproxy.routing.router import load
from tests.fakes.answered import corpus, lines, pools_json, trained

SOUTH = [ModelRow("south/large"), ModelRow("south/small")]


def test_the_same_data_and_seed_are_the_same_bytes():
    assert train(corpus(), 1) == trained()
    assert train(corpus(), 2) != trained()


def test_integers_say_what_the_learned_numbers_say():
    router = load(trained())
    labels = label_lines(corpus(), {"sums": "counts+sums", "counts": "counts+sums"})
    assert labels.names == tuple(one.name for one in router.table.categories)
    rows = rows_of([extract(line.prompt) for line in corpus().lines])
    learned = fit_weights(rows, labels, np.ones(len(rows), bool), 1)
    expected = evidence(weigh(rows, learned.rarity), learned.weights)
    for number in (0, 70, 140, 200, 299):
        found = router.evidence(corpus().lines[number].prompt)
        assert found == pytest.approx(expected[number].tolist(), abs=0.01)


def test_it_knows_which_model_is_good_at_what():
    router = load(trained())
    sums = router.judge("add coins to apples and count pears in total 7?", SOUTH)
    verses = router.judge("sing moon verse of gentle sea in rhyme 7?", SOUTH)
    assert abs(sums.quality[0] - sums.quality[1]) < 0.1
    assert verses.quality[0] - verses.quality[1] > 0.3
    assert not sums.novel
    assert router.judge("quux fnord blorb; zyzzyva?", SOUTH).novel


def test_one_kind_is_not_enough():
    only = [one for one in lines().splitlines() if b'"bench": "sums"' in one]
    with pytest.raises(DataError, match="fewer than two kinds"):
        train(parse_corpus(only, pools_json()), 1)


def test_a_pool_of_one_kind_is_trained_too():
    some = [one for one in lines().splitlines() if b'"capitals"' not in one]
    router = load(train(parse_corpus(some, pools_json()), 1))
    assert [pool.name for pool in router.table.pools] == ["north", "south"]
