"""The table that people edit: it comes back as it was, and a wrong edit is refused by name."""

import json

import pytest

from kproxy.routing.artefact import unpack
from kproxy.routing.table import PEOPLE, decode_table, encode_table
from tests.fakes.answered import trained


@pytest.fixture
def table():
    return unpack(trained()).table


@pytest.fixture
def edit(table):
    """Decode the table after a change to its JSON."""

    def change(changed):
        value = json.loads(encode_table(table))
        changed(value)
        return decode_table(json.dumps(value).encode())

    return change


def test_it_comes_back(table):
    assert decode_table(encode_table(table)) == table


def test_it_is_written_for_people(table):
    assert len(encode_table(table).splitlines()) > 100


def test_a_cell_can_be_changed(edit):
    def better(value):
        value["pools"][0]["models"][0]["cells"]["capitals"]["quality"] = 0.5

    assert edit(better).pools[0].models[0].cells["capitals"].quality == 0.5


WRONG = {
    "a quality above 1": (
        lambda v: v["pools"][0]["models"][0]["cells"]["capitals"].update(quality=1.2),
        "<= 1",
    ),
    "a cell is missing": (
        lambda v: v["pools"][0]["models"][0]["cells"].pop("capitals"),
        "north/wide: not one cell for each category",
    ),
    "an unknown category": (
        lambda v: v["pools"][0]["prompts"].update(riddles=1),
        "pool north: .*unknown category",
    ),
    "a model twice": (
        lambda v: v["pools"][0]["models"].append(v["pools"][0]["models"][0]),
        "lists a model twice",
    ),
    "a category twice": (
        lambda v: v["categories"].append(v["categories"][0]),
        "listed twice",
    ),
    "a misspelled field": (lambda v: v.update(novelties={}), "unknown field"),
    "no category of ours": (
        lambda v: v["categories"][0].update(people="poetry"),
        "Invalid enum value 'poetry'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_edit_is_refused(edit, name):
    changed, said = WRONG[name]
    with pytest.raises(ValueError, match=said):
        edit(changed)


def test_the_six_of_the_contract():
    assert set(PEOPLE) == {
        "code", "reasoning", "analysis", "extraction", "summarization", "creative",
    }  # fmt: skip
