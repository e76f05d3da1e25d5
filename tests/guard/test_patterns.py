"""The one owner of google-re2: what it says, and what it never says."""

import sys

import pytest

from kproxy.guard.patterns import BadPattern, EngineMissing, PatternSet, compile_search


def test_a_search_begins_where_it_is_told_and_sees_what_stands_before() -> None:
    search = compile_search(r"\bcat")
    assert search(b"a cat", 0) == (2, 5)
    assert search(b"cat cat", 1) == (4, 7)
    assert search(b"xcat", 1) is None
    assert compile_search("^a")(b"aa", 1) is None


def test_places_are_bytes() -> None:
    assert compile_search("ü.")("äüö".encode(), 0) == (2, 6)


@pytest.mark.parametrize("pattern", ["(a", "[b-a]", "a{2000}", r"(?=secret)", r"\8"])
def test_a_bad_pattern_is_an_error_and_nothing_on_standard_error(
    pattern: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadPattern) as caught:
        compile_search(pattern)
    assert pattern not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_set_names_those_that_occur() -> None:
    patterns = PatternSet(["cat", "dog", r"[0-9]{3}"])
    assert list(patterns.which(b"a dog, 123")) == [1, 2]
    assert list(patterns.which(b"")) == []


def test_a_set_that_has_not_looked_names_all() -> None:
    patterns = PatternSet(["cat", "dog"])
    patterns._set = type("Deaf", (), {"Match": lambda self, text: None})()
    assert list(patterns.which(b"nothing")) == [0, 1]


def test_a_missing_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(EngineMissing, match=r"pip install 'kproxy\[guardrails\]'"):
        compile_search("a")
