"""One question per category: learned from words, exact in its sums, and the same every time."""

from zlib import crc32

import numpy as np
import pytest

from kproxy.routing.features import ROWS, WORD_ROWS, extract
from kproxy.routing.learning.logistic import (
    SHAPE_WEIGHT,
    evidence,
    fit,
    rarity,
    rows_of,
    weigh,
)

SUMS = [f"add apples to pears {number}" for number in range(40)]
VERSES = [f"sing of moon and sea {number}" for number in range(40)]


LABELS = np.repeat([0, 1], 40)


@pytest.fixture
def rows():
    return rows_of([extract(prompt) for prompt in SUMS + VERSES])


def test_rows_are_the_features(rows):
    assert len(rows) == 80
    found = extract(SUMS[3])
    one = rows.take(np.array([3]))
    assert set(one.column.tolist()) == found.words | found.shape
    assert np.all(one.value == 1)


def test_rare_words_weigh_more_and_unseen_ones_most(rows):
    idf = rarity(rows)
    apples, unseen = (crc32(word) % WORD_ROWS for word in (b"apples", b"quux"))
    everywhere = max(np.bincount(rows.column, minlength=ROWS)[:WORD_ROWS])
    assert idf.shape == (WORD_ROWS,)
    assert idf.min() == pytest.approx(np.log(81 / (everywhere + 1)))
    assert 0 < idf[apples] < idf[unseen] == idf.max() == pytest.approx(np.log(81))


def test_what_one_prompt_has_is_not_learned(rows):
    weights = fit(weigh(rows, rarity(rows)), LABELS, 2, seed=1)
    counts = np.bincount(rows.column, minlength=ROWS)
    assert not weights[counts < 2].any()
    assert weights[counts > 30].any()


def test_the_words_of_a_prompt_have_length_1(rows):
    weighed = weigh(rows, rarity(rows))
    for number in (0, 79):
        one = weighed.take(np.array([number]))
        words = one.column < WORD_ROWS
        assert np.sum(one.value[words] ** 2) == pytest.approx(1)
        assert np.all(one.value[~words] == np.float32(SHAPE_WEIGHT))


def test_it_learns_and_can_say_no_to_all(rows):
    idf = rarity(rows)
    weights = fit(weigh(rows, idf), LABELS, 2, seed=1)
    asked = rows_of([extract(one) for one in ("add pears to apples", "sing of sea", "quux fnord")])
    found = evidence(weigh(asked, idf), weights)
    assert found[0, 0] > 0.5 > found[0, 1]
    assert found[1, 1] > 0.5 > found[1, 0]
    assert found[2].max() < found[:2].max(1).min()


def test_a_seed_is_a_result(rows):
    weighed = weigh(rows, rarity(rows))
    one, same, other = (fit(weighed, LABELS, 2, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
