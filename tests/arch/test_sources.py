"""Every rule over the sources holds in the tree, and is able to fail.

The rules are in `tests/arch/rules`, each with its reason and with examples that it must refuse.
"""

import pytest

from tests.arch.rule import Rule
from tests.arch.rules import calls, cancellation, shape, state, waiting
from tests.arch.tree import PYTHON_DIRECTORIES, Source, sources

RULES: tuple[Rule, ...] = (
    *shape.RULES,
    *state.RULES,
    *cancellation.RULES,
    *calls.RULES,
    *waiting.RULES,
)
BAD = [
    pytest.param(rule, example, id=f"{rule.name}-{number}")
    for rule in RULES
    for number, example in enumerate(rule.bad)
]
GOOD = [
    pytest.param(rule, example, id=f"{rule.name}-{number}")
    for rule in RULES
    for number, example in enumerate(rule.good)
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_rule_holds(rule: Rule) -> None:
    found = [line for s in sources(*PYTHON_DIRECTORIES) for line in rule.findings(s)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(("rule", "example"), BAD)
def test_the_rule_refuses(rule: Rule, example: Source) -> None:
    assert rule.findings(example)


@pytest.mark.parametrize(("rule", "example"), GOOD)
def test_the_rule_lets_pass(rule: Rule, example: Source) -> None:
    assert rule.findings(example) == []


def test_every_rule_has_an_example_that_it_refuses() -> None:
    assert [rule.name for rule in RULES if not rule.bad] == []


def test_the_rules_see_the_package() -> None:
    """A rule over no files holds for ever."""
    seen = {source.path for source in sources(*PYTHON_DIRECTORIES)}
    assert {"kproxy/__init__.py", "kproxy/errors.py", "tests/arch/test_sources.py"} <= seen
