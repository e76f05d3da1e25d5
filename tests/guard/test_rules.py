"""Rules of an operator: what is taken, and what is refused by name."""

import pytest

from kproxy.guard.patterns import BadPattern
from kproxy.guard.rules import Action, Rule, make_rule, rulesets


def rule(action: str = "redact", *on: str, name: str = "r", pattern: str = "secret") -> Rule:
    return make_rule(action, on, name=name, builtin=None, pattern=pattern)


def test_a_builtin_names_itself() -> None:
    made = make_rule("mask", (), name="", builtin="api-key", pattern=None)
    assert (made.name, made.label, made.action, made.on) == (
        "api-key", "API_KEY", Action.MASK, {"request"},
    )  # fmt: skip
    assert rule().on == {"request", "response"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "1st", "builtin": "card"}, "name: must be a letter"),
        ({"name": "x" * 33, "builtin": "card"}, "name: must be a letter"),
        ({"name": "a"}, 'builtin: rule "a" needs either'),
        ({"name": "a", "builtin": "card", "pattern": "x"}, 'builtin: rule "a" needs either'),
        ({"name": "a", "builtin": "cards"}, 'builtin: rule "a": there are card, iban'),
    ],
)
def test_a_rule_that_is_none(fields: dict[str, str], reason: str) -> None:
    given = {"name": "", "builtin": None, "pattern": None} | fields
    with pytest.raises(ValueError, match=r".") as caught:
        make_rule("redact", (), **given)
    assert str(caught.value).startswith(reason)


def test_what_is_masked_is_masked_in_requests() -> None:
    with pytest.raises(ValueError, match=r'^on: rule "r" masks'):
        rule("mask", "request", "response")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(a", 'rule "bad": missing )'),
        ("[b-a]", 'rule "bad": invalid character class range'),
        ("a?", 'rule "bad": may match nothing at all'),
        (r"key-\w+", 'rule "bad": has no longest match: write x{1,64} for x+'),
        ("a{257}", 'rule "bad": may match more than 256 characters'),
    ],
)
def test_a_bad_pattern_is_named_by_its_rule_and_its_number(pattern: str, reason: str) -> None:
    with pytest.raises(BadPattern) as caught:
        rulesets([rule(), rule(name="bad", pattern=pattern)])
    said, number = caught.value.args
    assert said.startswith(reason)
    assert number == 1


def test_each_side_has_its_own_rules() -> None:
    asked, answered = rulesets([rule("block", "request"), rule(name="s", pattern="x")])
    assert asked is not None
    assert answered is not None
    assert [one.name for one in asked.rules] == ["r", "s"]
    assert [one.name for one in answered.rules] == ["s"]


def test_exceptions_alone_are_nothing_to_do() -> None:
    assert rulesets([rule("allow")]) == (None, None)
    assert rulesets([rule("mask"), rule("allow", name="ok")])[1] is None
