"""The beginnings of a pattern's matches, judged by the engine itself."""

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from kproxy.guard.beginnings import ENDLESS, MOST, reach
from kproxy.guard.builtin import BUILTIN

PATTERNS = [
    "abc",
    "a|bc|",
    r"ab?c{2,3}d",
    r"(?:ab|cd){1,3}e",
    r"x(?:y|(?:z[0-9]{2}){1,2})?w",
    r"\bcat\b",
    r"[^a-c]{2}\.[]x]",
    r"[[:alpha:]]{1,3}-\pL\x41\x{42}",
    r"a{2}b{0}c",
    r"(?i)Ab|c(?s:.)d",
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})",
    r"a{,2}b",  # no repetition: these braces are characters
    r"((a|b)(c|d)){2}",
    r"é{1,2}ü",
    *(one.pattern for one in BUILTIN.values()),
]
OPTIONS = re2.Options()
OPTIONS.log_errors = False


def of_python(pattern: str) -> str:
    """The same for Python's engine, which makes the examples."""
    pattern = pattern.replace("[[:alpha:]]", "[A-Za-z]").replace(r"\pL", "[A-Za-z]")
    pattern = pattern.replace(r"\x{42}", "B").replace("[]x]", r"[\]x]")
    return re2_words(pattern)


def re2_words(pattern: str) -> str:
    return pattern.replace(r"\b", "").replace("a{,2}b", r"a\{,2\}b")


@pytest.mark.parametrize("pattern", PATTERNS)
@given(data=st.data())
def test_every_beginning_of_every_match_is_one(pattern: str, data: st.DataObject) -> None:
    text = data.draw(
        st.from_regex(
            f"(?a:{of_python(pattern)})" if "(?i)" not in pattern else of_python(pattern),
            fullmatch=True,
        )
    )
    found = reach(pattern)
    if re2.fullmatch(pattern, text, OPTIONS) is None:
        return  # an assertion that the example does not keep
    assert found.shortest <= len(text) <= found.longest
    begun = re2.compile(f"(?:{found.beginnings})", OPTIONS)
    for end in range(len(text) + 1):
        assert begun.fullmatch(text[:end]) is not None, text[:end]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("abc", "ac"),
        ("abc", "b"),
        (r"\bcat", "xca"),
        (r"(?:ab){1,2}c", "ababa"),
        (r"[0-9]{3}-", "12-"),
        (r"a|bc", "ab"),
        (r"a{2}b{0}c", "aab"),
    ],
)
def test_what_is_no_beginning_is_none(pattern: str, text: str) -> None:
    begun = re2.compile(f"(?:{reach(pattern).beginnings})\\z", OPTIONS)
    assert begun.search(text).group() != text


@pytest.mark.parametrize(
    ("pattern", "shortest", "longest"),
    [
        ("abc", 3, 3),
        ("a|bcd", 1, 3),
        ("a?", 0, 1),
        (r"\bx\b", 1, 1),
        ("(?:ab){2,5}", 4, 10),
        ("a+", 1, ENDLESS),
        ("a*", 0, ENDLESS),
        ("(?:a{3,}b)?", 0, ENDLESS),
        ("(?:^|$)*", 0, 0),
        ("x{2}{3}", 6, 6),
    ],
)
def test_lengths(pattern: str, shortest: int, longest: int) -> None:
    found = reach(pattern)
    assert (found.shortest, found.longest) == (shortest, longest)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(a", "does not close the bracket at character 1"),
        ("a)", "a bracket too many at character 2"),
        ("*a", "repeats nothing at character 1"),
        (r"a\1", "is not understood"),
        (r"\Cx", "is not understood"),
        (r"\Qa.b\E", "is not understood"),
        ("[ab", "is not understood"),
        ("(?=a)b", "a group at character 1 that RE2 does not know"),
        ("a{3,2}", "no range"),
        ("a" * (MOST + 1), "is longer than"),
    ],
)
def test_what_is_not_understood_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        reach(pattern)
    assert reason in str(caught.value)
