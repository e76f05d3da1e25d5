"""Placeholders: given, avoided, and put back, also where a stream cuts them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.guard.placeholders import Placeholders, looks_written


def given_two() -> Placeholders:
    placeholders = Placeholders()
    assert placeholders.give("EMAIL", "ann@example.org") == "<EMAIL_1>"
    assert placeholders.give("EMAIL", "bob@example.org") == "<EMAIL_2>"
    return placeholders


def test_the_same_text_has_the_same_placeholder() -> None:
    placeholders = given_two()
    assert placeholders.give("EMAIL", "ann@example.org") == "<EMAIL_1>"
    assert placeholders.give("NAME", "ann@example.org") == "<NAME_1>"


def test_what_the_caller_has_written_is_not_given() -> None:
    placeholders = Placeholders()
    placeholders.avoid("as <EMAIL_1> and <EMAIL_3> say")
    assert placeholders.give("EMAIL", "a") == "<EMAIL_2>"
    assert placeholders.give("EMAIL", "b") == "<EMAIL_4>"
    assert placeholders.restore("<EMAIL_1> <EMAIL_2>") == "<EMAIL_1> a"


@pytest.mark.parametrize(
    ("messages", "may"),
    [(b"<A_1>", True), (rb"\u003cA_1>", True), (b"a_b", False), (b"<a>", False)],
)
def test_where_one_may_have_been_written(messages: bytes, may: bool) -> None:
    assert looks_written(messages) is may


def test_a_whole_text() -> None:
    text = "no placeholder"
    placeholders = given_two()
    assert placeholders.restore(text) is text
    assert placeholders.restore("<EMAIL_2>, <EMAIL_9>, <b>, <EMAIL_1") == (
        "bob@example.org, <EMAIL_9>, <b>, <EMAIL_1"
    )


WORDS = [
    "<EMAIL_1>",
    "<EMAIL_2>",
    "<",
    "<EMAIL_",
    "EMAIL_1>",
    "<A_1",
    ">",
    "<b>",
    " text ",
    "<" * 3,
]


@given(st.lists(st.sampled_from(WORDS), max_size=12), st.lists(st.integers(0, 99)))
def test_cut_anywhere_gives_the_same(words: list[str], places: list[int]) -> None:
    placeholders, text = given_two(), "".join(words)
    ends = sorted({place % (len(text) + 1) for place in places})
    restorer = placeholders.restorer()
    left = [restorer.feed(text[a:b]) for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]
    assert "".join(left) + restorer.end() == placeholders.restore(text)


def test_only_what_may_become_one_is_held() -> None:
    restorer = given_two().restorer()
    said = ["Dear ", "<", "EMA", "IL_1", ">, 1 <", " 2 <d", "iv>"]
    left = [restorer.feed(piece) for piece in said]
    assert left == ["Dear ", "", "", "", "ann@example.org, 1 ", "< 2 <d", "iv>"]
    assert restorer.end() == ""


def test_in_a_stream_of_json_originals_are_quoted() -> None:
    placeholders = Placeholders()
    placeholder = placeholders.give("NAME", 'a "b" \\ é\n')
    for in_json in (True, False):
        restorer = placeholders.restorer(in_json=in_json).fork()
        pieces = [restorer.feed(piece) for piece in '{"n": "' + placeholder + '"}']
        text = "".join(pieces) + restorer.end()
        if in_json:
            assert json.loads(text) == {"n": 'a "b" \\ é\n'}
        else:
            assert text == '{"n": "a "b" \\ é\n"}'
