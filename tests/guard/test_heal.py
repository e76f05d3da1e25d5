"""Healing: what is good stays, what is broken becomes what was meant, the hopeless stays too."""

import collections
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.guard.heal import MAX_TEXT, Form, Healed, check_work, heal, is_valid, merged
from kproxy.guard.schemas import read_schema
from tests.guard.corpus.cases import Case, corpus
from tests.guard.corpus.values import VALUES

ANY = Form()
CORPUS = corpus()
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "born": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "ok": {"type": "boolean"},
    },
    "required": ["name"],
    "additionalProperties": False,
}


def form(schema: object, **fields: bool) -> Form:
    return Form(read_schema(json.dumps(schema).encode(), "schema"), **fields)


def healed(text: str, shape: Form = ANY) -> Healed:
    return heal(text, "stop", shape)


# --- the corpus


def outcome(case: Case) -> str:
    found = healed(case.text)
    if found.healed is None:
        return "untouched"
    if not found.healed:
        assert found.text == case.text
        return "left"
    right = case.meant and json.loads(found.text) == case.value
    return "right" if right else "invented"


def test_the_corpus_is_large_and_broken() -> None:
    assert len(CORPUS) >= 300
    assert sum(not case.meant for case in CORPUS) >= 50
    assert [case.text for case in CORPUS if outcome(case) == "untouched"] == []


def test_at_least_95_percent_become_what_was_meant() -> None:
    found = collections.Counter(outcome(case) for case in CORPUS if case.meant)
    assert found["right"] >= 0.95 * found.total(), found


def test_nothing_is_invented() -> None:
    assert [case for case in CORPUS if outcome(case) == "invented"] == []


@pytest.mark.parametrize("number", range(len(VALUES)))
@pytest.mark.parametrize("indent", [None, 2])
def test_what_is_good_is_untouched(number: int, indent: int | None) -> None:
    text = json.dumps(VALUES[number], ensure_ascii=False, indent=indent)
    assert healed(text) == Healed(text)


@given(st.text(alphabet="{}[]\":,'\\ntrue1 \n/#`<think>\u201c", max_size=60))
def test_anything_becomes_json_or_stays(text: str) -> None:
    found = healed(text)
    if found.healed:
        assert isinstance(json.loads(found.text), dict | list)
    else:
        assert found.text == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=12,
    ).filter(lambda value: isinstance(value, dict | list) and value)
)
def test_any_value_in_a_fence_is_itself(value: object) -> None:
    text = json.dumps(value)
    found = healed(f"```json\n{text}\n```")
    assert (found.healed, found.text) == (True, text)


# --- what is told


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ('```json\n{"a": 1}\n```', ("fences",)),
        ('Here: {"a": 1}', ("prose",)),
        ('Here:\n```\n{"a": 1,}\n```', ("fences", "prose", "commas")),
        ('<think>x</think>{"a": 1}', ("thinking",)),
        ("{'a': None}", ("literals", "quotes")),
        ('{"a": 1', ("brackets",)),
        ('{"a": 1}}', ("brackets",)),
        ('"{\\"a\\": 1}"', ("escapes",)),
    ],
)
def test_what_was_done_is_named(text: str, done: tuple[str, ...]) -> None:
    assert healed(text).done == done


def test_digits_are_kept() -> None:
    text = '{"a": 0.10, "b": 12345678901234567890123, "c": 1E5,}'
    assert healed(text).text == text.replace(",}", "}")


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_cut_is_not_completed(finish: str) -> None:
    text = '{"a": [1, 2'
    assert heal(text, finish, ANY) == Healed(text, healed=False, why=finish)
    assert heal('{"a": 1}', finish, ANY) == Healed('{"a": 1}')


def test_a_value_that_is_no_document_is_not_what_was_asked_for() -> None:
    assert healed('"yes"').why == "schema"
    assert healed("42").why == "schema"
    assert healed("[1]") == Healed("[1]")


def test_several_values_are_nobody_s() -> None:
    assert healed('{"a": 1} or {"a": 2}').why == "ambiguous"
    assert healed('{"a": 1} or {"a": 1}').healed is True


def test_a_text_that_is_too_long_is_not_looked_at() -> None:
    text = "{" + " " * MAX_TEXT
    assert healed(text) == Healed(text, healed=False, why="too_large")


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"a": 1e999}', '{"a": ' + "1" * 5000 + "}"])
def test_odd_json_is_json(text: str) -> None:
    assert healed(text) == Healed(text)


# --- schemas


def test_a_schema_decides_which_value_is_meant() -> None:
    text = 'An example is {"x": 1}. The answer: {"name": "Ann", "age": 31}'
    found = healed(text, form(PERSON))
    assert json.loads(found.text) == {"name": "Ann", "age": 31}
    assert healed(text).why == "ambiguous"


def test_types_are_corrected_under_the_schema() -> None:
    found = healed('{"name": 7, "age": "31", "born": "1994", "ok": "true"}', form(PERSON))
    assert json.loads(found.text) == {"name": "7", "age": 31, "born": 1994, "ok": True}
    assert found.done == ("types",)


@pytest.mark.parametrize(
    "value", [{"age": 3}, {"name": "x", "age": "old"}, {"name": "x", "more": 1}, {"name": None}]
)
def test_what_the_schema_refuses_is_left(value: object) -> None:
    text = json.dumps(value)
    assert healed(text, form(PERSON)) == Healed(text, healed=False, why="schema")


def test_good_under_the_schema_is_untouched() -> None:
    text = '{ "name":"x" }\n'
    assert healed(text, form(PERSON)) == Healed(text)
    assert is_valid(text, form(PERSON))
    assert not is_valid("{}", form(PERSON))


def test_a_schema_may_ask_for_a_scalar() -> None:
    assert healed('"yes"', form({"enum": ["yes", "no"]})) == Healed('"yes"')


def test_no_arguments_are_an_empty_object() -> None:
    assert healed("", Form(arguments=True)) == Healed("{}", healed=True, done=("empty",))
    assert healed("", form(PERSON, arguments=True)).why == "schema"
    assert healed("[1]", Form(arguments=True)).healed is False


def test_work_is_known_before_it_is_done() -> None:
    assert check_work("x" * 1000, ANY) == 0
    assert check_work("[" * 1000, form(PERSON)) > 1000


# --- several texts


def test_reports_are_merged() -> None:
    good, mended = Healed("{}"), Healed("{}", healed=True, done=("commas",))
    left = Healed("x", healed=False, why="not_json")
    assert merged([good, good]) is None
    assert merged([good, mended]) == Healed("", healed=True, done=("commas",))
    assert merged([mended, left]) == Healed("", healed=False, done=("commas",), why="not_json")


# --- hostile texts: as many characters as are looked at, in linear time

MEGA = MAX_TEXT - 100


@pytest.mark.parametrize(
    "unit",
    [
        "[", "{", "[{", '{"a":', "[]", "{}", '"', "'", "\\", '\\"', '{"a": "x" ', "1", "-", ",",
        "/*", "#\n", " ", "\n", "\u00a0", "<think>", "</think>", "<think></think>", "```", "a:",
        "{x} ", ":", '" :', '"\n', "\x00", "[1]", "True,", '{"a":1}', "\u201c", "\U0001f642", "}]",
    ],
)  # fmt: skip
@pytest.mark.parametrize("head", ["", '{"a": "', "{'a': '", "[", '{"a": '])
def test_hostile_texts_end(unit: str, head: str) -> None:
    """Quadratic, one of these would take hours, and the runner's time limit would say so."""
    text = (head + unit * (MEGA // len(unit)))[:MEGA]
    found = healed(text)
    assert found.healed or found.text == text
