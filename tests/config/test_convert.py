"""What msgspec says of a tree, as a place in the file and a reason in the file's words."""

from collections.abc import Mapping
from typing import Literal

import msgspec
import pytest

from kproxy.admission.keys import Secret
from kproxy.config.convert import convert
from kproxy.config.document import PlacedError


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some of what rows are made of."""

    name: str
    many: tuple[int, ...] = ()
    secret: Secret | None = None
    mode: Literal["slow", "fast"] | None = None
    least: Mapping[Literal["a"], float] = {}


def refused(tree):
    with pytest.raises(PlacedError) as caught:
        convert(tree, Row, ("rows", 2))
    return caught.value.steps, caught.value.reason


def test_a_tree_becomes_its_kind():
    row = convert({"name": "a", "secret": "sk-1", "mode": "slow"}, Row, ())
    assert (row.name, row.secret, row.mode) == ("a", Secret("sk-1"), "slow")


@pytest.mark.parametrize(
    ("tree", "place", "reason"),
    [
        ({}, (), "name is missing"),
        (7, (), "expected `table`, got `int`"),
        ({"name": "a", "nom": 1}, ("nom",), "unknown key"),
        ({"name": 1}, ("name",), "expected `str`, got `int`"),
        ({"name": "a", "many": [1, "x"]}, ("many", 1), "expected `int`, got `str`"),
        ({"name": "a", "secret": 1}, ("secret",), "expected `str`"),
        ({"name": "a", "mode": "sk-1"}, ("mode",), 'must be "fast" or "slow"'),
        ({"name": "a", "mode": " - at `$.name`"}, ("mode",), 'must be "fast" or "slow"'),
        ({"name": "a", "least": {"b": 1}}, ("least",), 'must be "a"'),
    ],
)
def test_what_is_wrong_is_placed(tree, place, reason):
    assert refused(tree) == (("rows", 2, *place), reason)
