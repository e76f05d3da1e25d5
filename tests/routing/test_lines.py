"""The format that routers learn from."""

import json

import pytest

from kproxy.routing.lines import DataError, parse_lines

GOOD = {"id": "a/1", "pool": "p", "prompt": "hello", "s": [1, 0.5], "it": [3, None], "ot": [4, 5]}


def test_a_line_and_its_label():
    (one,) = parse_lines([json.dumps({**GOOD, "bench": "b", "cat": "c", "extra": 1}).encode()])
    assert (one.id, one.s, one.it, one.label) == ("a/1", (1.0, 0.5), (3.0, None), "b/c")


@pytest.mark.parametrize("cat", ["", "b"])
def test_a_label_is_not_said_twice(cat):
    (one,) = parse_lines([json.dumps({**GOOD, "bench": "b", "cat": cat}).encode()])
    assert one.label == "b"


def test_blank_lines_are_skipped_and_counted():
    wrong = [b"\n", json.dumps(GOOD).encode(), b"{"]
    assert len(parse_lines(wrong[:2])) == 1
    with pytest.raises(DataError, match="line 3: "):
        parse_lines(wrong)


@pytest.mark.parametrize(
    "change", [{"s": [1.5]}, {"it": [-1]}, {"prompt": None}, {"pool": 7}, {"s": None}]
)
def test_a_wrong_value_is_refused(change):
    with pytest.raises(DataError, match="line 1: "):
        parse_lines([json.dumps({**GOOD, **change}).encode()])
