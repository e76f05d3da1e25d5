"""Strings that are nearly JSON: where they end, and what stands in them."""

import json

import pytest

from kproxy.guard.quoted import InKey, InList, InObject, TooManyEdits, Unclear, read_quoted


def read(text: str, place: type = InObject, expected: str = "}", most: int = 100) -> object:
    return json.loads(read_quoted(text, 0, place, expected, most).json)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a", "b": 1}', "a"),
        ("'a'}", "a"),
        ("'it\\'s'}", "it's"),
        ("'it's'}", "it's"),
        ("'say \"x\"'}", 'say "x"'),
        ("\u201ca\u201d}", "a"),
        ("`a`}", "a"),
        ('"he said "hi" then"}', 'he said "hi" then'),
        ('"a\nb\tc"}', "a\nb\tc"),
        ('"C:\\Users\\ann"}', "C:\\Users\\ann"),
        ('"\\d+ \\u00e4 \\x41 \\u12"}', "\\d+ \u00e4 A \\u12"),
        ('"two \\\nlines"}', "two lines"),
        ('"a" "b": 1}', "a"),
        ('"hello}', "hello"),
    ],
)
def test_read(text: str, value: str) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    "text",
    ['"a, "b": 1}', '"a', '"a\n', '"b" + "c"}', '"12}', '\'12, "b": 1}', '"a" | "b"}', '"a```'],
)
def test_unclear(text: str) -> None:
    with pytest.raises(Unclear):
        read(text)


def test_what_ends_a_string_depends_on_its_place() -> None:
    assert read('"a": 1', InKey) == "a"
    assert read('"a", 1]', InList, "]") == "a"
    with pytest.raises(Unclear):
        read('"a", 1]', InObject)


def test_where_it_ends_and_what_was_done() -> None:
    found = read_quoted("'a\n'}", 0, InObject, "}", 9)
    assert (found.json, found.end, found.done) == ('"a\\n"', 4, ("quotes", "escapes"))


def test_edits_are_bounded() -> None:
    with pytest.raises(TooManyEdits):
        read('"' + "\\x " * 10 + '"}', most=5)
