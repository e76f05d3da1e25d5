"""Data and price lists go in; costs are right, and what does not fit is refused by name."""

import json

import numpy as np
import pytest

from kproxy.routing.learning.records import parse_corpus
from kproxy.routing.lines import DataError
from tests.fakes.answered import POOLS, corpus, pools_json

LINE = {"id": "a", "pool": "south", "prompt": "hi", "s": [1, 0], "it": [10, 20], "ot": [5, None]}


def parsed(*changes):
    data = [json.dumps({**LINE, **change}).encode() for change in changes]
    return parse_corpus(data, pools_json())


def test_cost_is_tokens_by_list_prices():
    pool = parsed({}).pools["south"]
    assert pool.cost[0, 0] == pytest.approx((10 * 10 + 5 * 30) / 1e6)
    assert pool.ids == ("large", "small")


def test_what_was_not_recorded_is_the_mean_of_what_was():
    pool = parsed({}, {"ot": [None, 8]}, {"ot": [7, 4]}).pools["south"]
    assert pool.output_tokens.tolist() == [[5, 6], [6, 8], [7, 4]]


def test_a_nominal_length_replaces_all():
    pool = corpus().pools["north"]
    assert np.all(pool.output_tokens == 50)


def test_lines_keep_their_numbers():
    found = corpus()
    for name, pool in found.pools.items():
        assert all(found.lines[number].pool == name for number in pool.lines)
    assert sum(len(pool.lines) for pool in found.pools.values()) == len(found.lines)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"s": [1]}, "a: not one value for each of the pool's 2"), ({"pool": "east"}, "pool east")],
)
def test_what_does_not_fit_is_refused(change, said):
    with pytest.raises(DataError, match=said):
        parsed(change)


def test_no_lines_and_no_list_are_refused():
    with pytest.raises(DataError, match="no lines"):
        parse_corpus([], pools_json())
    with pytest.raises(DataError, match="the list of pools"):
        parse_corpus([json.dumps(LINE).encode()], b"[]")
    assert set(POOLS) == set(corpus().pools)
