"""A rehearsal says what would happen to lines that were not there."""

import numpy as np
import pytest

from kproxy.routing.learning.crossfit import crossfit
from kproxy.routing.learning.records import parse_corpus
from kproxy.routing.learning.rehearsal import rehearse_known, rehearse_novel
from tests.fakes.answered import corpus, lines, pools_json


@pytest.fixture(scope="module")
def fitted():
    return crossfit(corpus(), 1)


def test_known_kinds_save_where_the_cheap_model_is_as_good(fitted):
    south = rehearse_known(corpus(), fitted, 0.95)["south"]
    assert (south.best == 0).all()
    assert south.chosen[:60].mean() > 0.9  # sums
    assert south.chosen[60:120].mean() < 0.1  # verses


def test_kinds_left_out_fall_back_to_the_best(fitted):
    south = rehearse_novel(corpus(), fitted, 0.95)["south"]
    assert south.novel[60:120].mean() > 0.9
    assert np.all(south.chosen[south.novel] == south.best[south.novel])


def test_a_pool_with_one_kind_is_not_rehearsed():
    some = [one for one in lines().splitlines() if b'"capitals"' not in one]
    small = parse_corpus(some, pools_json())
    north = rehearse_novel(small, crossfit(small, 1), 0.95)["north"]
    assert not north.novel.any()
    assert not north.quality.any()
