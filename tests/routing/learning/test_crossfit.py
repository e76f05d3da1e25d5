"""No line is judged by weights that saw it, and the same thing under two names is one."""

import json

import numpy as np
import pytest

from kproxy.routing.features import extract
from kproxy.routing.learning.crossfit import FOLDS, crossfit, fit_weights, merge_labels
from kproxy.routing.learning.logistic import rows_of
from kproxy.routing.learning.records import parse_corpus
from kproxy.routing.learning.tabulate import label_lines
from tests.fakes.answered import corpus, lines, pools_json


@pytest.fixture(scope="module")
def fitted():
    return crossfit(corpus(), 1)


def test_the_same_under_two_names_is_merged(fitted):
    assert fitted.labels.names == ("capitals", "counts+sums", "loops", "verses")


def test_alike_kinds_of_two_families_stay_apart():
    changed = [json.loads(one) for one in lines().splitlines()]
    for one in changed:
        if one["bench"] == "counts":
            one["family"] = "logic"
    other = parse_corpus([json.dumps(one).encode() for one in changed], pools_json())
    rows = rows_of([extract(line.prompt) for line in other.lines])
    fold = np.arange(len(other.lines)) % FOLDS
    assert merge_labels(other, rows, fold, 1) == {}


def test_every_kind_of_every_pool_is_left_out_once(fitted):
    assert fitted.kinds == (
        "north/capitals", "north/counts", "south/loops", "south/sums", "south/verses",
    )  # fmt: skip
    assert set(fitted.fold) == set(range(FOLDS))


def test_known_kinds_are_recognised(fitted):
    right = fitted.known.argmax(1) == fitted.labels.of_line
    assert right.mean() > 0.95


def test_a_kind_left_out_has_no_evidence_of_its_own(fitted):
    verses = fitted.kind == fitted.kinds.index("south/verses")
    own = fitted.labels.names.index("verses")
    assert fitted.novel[verses][:, own].max() < fitted.known[verses][:, own].min()


def test_a_line_that_is_left_out_changes_nothing():
    rows = rows_of([extract(line.prompt) for line in corpus().lines])
    labels = label_lines(corpus(), {})
    chosen = np.arange(len(rows)) != 7
    one = fit_weights(rows, labels, chosen, 1)
    labels.of_line[7] = 0
    other = fit_weights(rows, labels, chosen, 1)
    assert np.array_equal(one.weights, other.weights)
    assert np.array_equal(one.rarity, other.rarity)


def test_prompts_of_the_same_text_share_a_fold():
    doubled = parse_corpus(lines().splitlines() * 2, pools_json())
    found = crossfit(doubled, 1)
    half = len(doubled.lines) // 2
    assert np.array_equal(found.fold[:half], found.fold[half:])
