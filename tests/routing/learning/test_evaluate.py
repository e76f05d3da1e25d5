"""The table of measures."""

import numpy as np
import pytest

from kproxy.errors import KproxyError
from kproxy.routing.learning.evaluate import HEADER, cross_predict, evaluate, measures
from kproxy.routing.learning.records import parse_corpus
from kproxy.routing.router import load
from tests.fakes.answered import corpus, lines, pools_json, trained


def test_a_router_beside_its_baselines():
    rows = [dict(zip(HEADER, row, strict=True)) for row in evaluate(load(trained()), corpus())]
    south = {row["policy"]: row for row in rows if row["pool"] == "south"}
    assert list(south) == [
        "router", "best: large", "zero router", "length", "true label", "oracle",
    ]  # fmt: skip
    assert south["router"]["quality/best"] >= 0.98
    assert south["router"]["cost/best"] < 1
    assert south["zero router"]["AIQ"] <= south["router"]["AIQ"] <= south["oracle"]["AIQ"]
    assert south["best: large"]["quality"] == pytest.approx(
        corpus().pools["south"].score[:, 0].mean()
    )
    assert south["oracle"]["ECE"] == 0


def test_another_list_of_models_is_refused():
    other = parse_corpus(lines().splitlines(), pools_json().replace(b'"large"', b'"huge"'))
    with pytest.raises(KproxyError, match="pool south: not the models"):
        evaluate(load(trained()), other)


def test_measures_of_the_best_model_alone():
    score, cost = np.array([[1.0, 0.0]] * 3), np.array([[2.0, 1.0]] * 3)
    assert measures([(2.0, 1.0)], score, cost, 0) == (1.0, 0.0, 0.0, 0.0)


def test_a_block_is_predicted_by_the_others():
    block = np.array([0, 1, 0])
    found = cross_predict(lambda chosen: np.tile(chosen, (1, 1)).T.astype(float), block, (3, 1))
    assert found.ravel().tolist() == [0, 0, 0]
