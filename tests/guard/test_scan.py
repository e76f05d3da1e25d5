"""One scan for whole texts and for streams: however a text is cut, the same comes out."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.guard.rules import LONGEST, Rule, Ruleset, make_rule, rulesets
from kproxy.guard.scan import Blocked, Scanner, rewrite

BUILTINS = ("card", "iban", "email", "phone", "api-key")


def ruleset(*rules: Rule) -> Ruleset:
    asked, _ = rulesets(rules)
    assert asked is not None
    return asked


def own(action: str, name: str, pattern: str) -> Rule:
    return make_rule(action, ("request",), name=name, builtin=None, pattern=pattern)


def builtin(name: str, action: str = "redact") -> Rule:
    return make_rule(action, ("request",), name="", builtin=name, pattern=None)


def shown(rule: Rule, found: str) -> str:
    return f"<{rule.name} {found}>"


def named(rule: Rule, found: str) -> str:
    return f"<{rule.name}>"


ALL = ruleset(
    *map(builtin, BUILTINS),
    own("allow", "ours", r"[a-z]{1,20}@acme\.org"),
    own("redact", "cat", r"\bcats?\b"),
    own("redact", "start", r"(?m)^note: \w{1,9}$"),
    own("redact", "umlaut", "ä.ü|ü{2}"),
    own("redact", "aa", "aab?"),
)
ALPHABET = [
    "4111 1111 1111 1111",
    "4111",
    "11",
    "1",
    " ",
    "-",
    "\n",
    "DE89 3704 0044 0532 0130 00",
    "DE89",
    "ann@acme.org",
    "x@acme.org.uk",
    "@",
    "a",
    "b",
    "cat",
    "s",
    "note: ",
    "ä",
    "ü",
    "😀",
    ".",
    "+49 30 ",
    "1234567",
    "sk-ant-",
    "a" * 25,
    "AKIAIOSFODNN7EXAMPLE",
]


def in_pieces(rules: Ruleset, pieces: Sequence[str]) -> tuple[str, Counter[Rule]]:
    counts: Counter[Rule] = Counter()
    scanner = Scanner(rules, named, counts)
    return "".join([scanner.feed(piece) for piece in pieces]) + scanner.end(), counts


def whole(rules: Ruleset, text: str) -> tuple[str, Counter[Rule]]:
    counts: Counter[Rule] = Counter()
    return rewrite(rules, text, named, counts), counts


def cut(text: str, places: Sequence[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places})
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


@given(st.lists(st.sampled_from(ALPHABET), max_size=30), st.lists(st.integers(0, 10_000)))
def test_cut_anywhere_gives_the_same(words: list[str], places: list[int]) -> None:
    text = "".join(words)
    assert in_pieces(ALL, cut(text, places)) == whole(ALL, text)


@given(st.lists(st.sampled_from(ALPHABET), max_size=30))
def test_one_character_at_a_time_gives_the_same(words: list[str]) -> None:
    text = "".join(words)
    assert in_pieces(ALL, list(text)) == whole(ALL, text)


@given(
    st.lists(
        st.sampled_from(["ab", "a?b", "[ab]{2}c", r"\bb", "b$", "a|bc", "c{1,3}", "^a"]),
        min_size=1,
        max_size=4,
    ),
    st.text("abc ", max_size=24),
    st.lists(st.integers(0, 24)),
)
def test_any_rules_give_the_same(patterns: list[str], text: str, places: list[int]) -> None:
    actions = ["redact", "allow", "redact", "redact"]
    rules = [own(*one) for one in zip(actions, "stuv", patterns, strict=False)]
    chosen = ruleset(*rules)
    assert in_pieces(chosen, cut(text, places)) == whole(chosen, text)


def test_what_cannot_become_a_match_leaves_at_once() -> None:
    scanner = Scanner(ruleset(builtin("card")), named, Counter())
    said = ["Hello, ", "the number", " is 41", "11 1111", " 1111 1112", " or ", "4x."]
    left = [scanner.feed(piece) for piece in said]
    assert left == ["Hello, ", "the number", " is ", "", "", "4111 1111 1111 1112 or ", "4x."]
    assert scanner.end() == ""


def test_no_more_is_withheld_than_the_longest_match() -> None:
    scanner = Scanner(ALL, named, Counter())
    fed = left = 0
    for piece in ["sk-ant-" + "x" * 9_000, *"é" * 2_000, *"sk-" * 500]:
        fed += len(piece)
        left += len(scanner.feed(piece).replace("<api-key>", "k" * 252))
        assert fed - left <= LONGEST


def test_what_is_allowed_is_left_where_it_covers_all_of_a_match() -> None:
    rules = ruleset(builtin("email"), own("allow", "ours", r"\b[a-z]{1,20}@acme\.org\b"))
    assert whole(rules, "ann@acme.org")[0] == "ann@acme.org"
    assert whole(rules, "x.ann@acme.org")[0] == "<email>"
    assert whole(rules, "ann@acme.org.uk")[0] == "<email>"


def test_matches_that_overlap_are_one_and_the_strongest_action_is_taken() -> None:
    rules = ruleset(own("mask", "left", "abc"), own("redact", "right", "cde"))
    counts: Counter[Rule] = Counter()
    assert rewrite(rules, "-abcde-", shown, counts) == "-<right abcde>-"
    assert sorted(counts.values()) == [1, 1]


@pytest.mark.parametrize("pieces", [["a secret!"], [*"a secret!"], ["a sec", "ret!"]])
def test_a_blocking_rule_is_named(pieces: list[str]) -> None:
    rules = ruleset(own("block", "words", "secret"))
    with pytest.raises(Blocked) as caught:
        in_pieces(rules, pieces)
    assert caught.value.rule.name == "words"


def test_the_strongest_action_is_taken_whoever_is_first() -> None:
    rules = ruleset(own("redact", "a", "abcd"), own("block", "b", "cde"))
    with pytest.raises(Blocked, match="b"):
        rewrite(rules, "abcde", named, Counter())


def test_a_text_without_a_match_is_the_same_object() -> None:
    text = "nothing to see"
    assert rewrite(ALL, text, named, Counter()) is text


@pytest.mark.parametrize(
    "unit", ["4444 ", "a@b.co ", "sk-", "+1(2)3", "DE44 4444 ", "aab", "((", "x"]
)
def test_a_megabyte_is_looked_at_in_as_many_steps_as_it_has_bytes(unit: str) -> None:
    """Counted, not timed: how often the engine is asked grows with the text and no faster."""

    def asked(size: int) -> int:
        rules, count = ALL, 0

        def counting(search):
            def count_one(text: bytes, start: int) -> tuple[int, int] | None:
                nonlocal count
                count += 1
                return search(text, start)

            return count_one

        searches = tuple(counting(search) for search in rules.searches)
        slow = Ruleset(rules.rules, searches, rules.occurring, rules.begun)
        rewrite(slow, unit * (size // len(unit)), named, Counter())
        return count

    few, many = asked(100_000), asked(1_000_000)
    assert many <= 11 * few


def test_behind_its_end_another_text_begins() -> None:
    scanner = Scanner(ALL, named, Counter())
    assert scanner.feed("a cat") + scanner.end() == "a <cat>"
    assert scanner.feed("cat ") == "<cat> "
