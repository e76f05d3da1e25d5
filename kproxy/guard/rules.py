"""An operator's rules go in, once; what they do to texts comes out (contract section 9, house 4.3).

1. `allow` comes first: what lies within an allowed match is no match of another rule.
2. `block` ends the request, naming the rule and never the text. `redact` puts `<NAME>` in the
   place of a match for good; `mask` puts `<NAME_1>` there, and the answer gets the text back.
3. Matches that overlap are replaced as one, by the strongest of their actions: a part of a secret
   is never left because another rule has taken the rest.
4. A rule's match is bounded (`LONGEST`), so that a stream need not wait for long (`scan.py`).
"""

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kproxy.guard.beginnings import ENDLESS, reach
from kproxy.guard.builtin import BUILTIN, Builtin
from kproxy.guard.patterns import BadPattern, PatternSet, Search, compile_search

__all__ = ["LONGEST", "Action", "Rule", "Ruleset", "make_rule", "rulesets"]

LONGEST = 256
"""Characters of the longest match: what a stream may have to withhold."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")


class Action(enum.Enum):
    """What a rule does with a match."""

    ALLOW = "allow"
    MASK = "mask"
    REDACT = "redact"
    BLOCK = "block"


STRENGTH = (Action.MASK, Action.REDACT, Action.BLOCK)
"""The last is the strongest."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `label` stands in placeholders; `on` is of "request" and "response"."""

    name: str
    action: Action
    source: Builtin
    on: frozenset[str]

    @property
    def label(self) -> str:
        """The name as it stands in a placeholder."""
        return self.name.upper().replace("-", "_")


def make_rule(
    action: str, on: Sequence[str], *, name: str, builtin: str | None, pattern: str | None
) -> Rule:
    """A rule in its final form. Raises ValueError `field: reason`; without compiling anything."""
    name = name or builtin or ""
    if not _NAME.fullmatch(name):
        raise ValueError(
            "name: must be a letter, then letters, digits, '-', '_', at most 32 in all"
        )
    if (builtin is None) == (pattern is None):
        raise ValueError(f'builtin: rule "{name}" needs either a builtin or a pattern')
    if builtin is not None and builtin not in BUILTIN:
        raise ValueError(f'builtin: rule "{name}": there are {", ".join(BUILTIN)}')
    chosen = Action(action)
    sides = frozenset(on or (("request",) if chosen is Action.MASK else ("request", "response")))
    if chosen is Action.MASK and "response" in sides:
        raise ValueError(f'on: rule "{name}" masks, which is for requests: answers get it back')
    source = BUILTIN[builtin] if builtin is not None else Builtin(pattern or "")
    return Rule(name, chosen, source, sides)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The rules of one side, compiled. `begun` finds where the last text may begin a match."""

    rules: tuple[Rule, ...]
    searches: tuple[Search, ...]
    occurring: PatternSet
    begun: Search


def rulesets(rules: Sequence[Rule]) -> tuple[Ruleset | None, Ruleset | None]:
    """For requests and for answers; None where nothing is to be done there.

    Raises BadPattern, whose `args` are the reason and the number of the rule, and EngineMissing.
    """
    searches, begun = [], []
    for number, rule in enumerate(rules):
        try:
            searches.append(compile_search(rule.source.pattern))
            begun.append(_beginnings(rule.source.pattern))
        except ValueError as error:
            raise BadPattern(f'rule "{rule.name}": {error}', number) from None
    return _side("request", rules, searches, begun), _side("response", rules, searches, begun)


def _side(
    side: str, rules: Sequence[Rule], searches: Sequence[Search], begun: Sequence[str]
) -> Ruleset | None:
    chosen = [number for number, rule in enumerate(rules) if side in rule.on]
    if all(rules[number].action is Action.ALLOW for number in chosen):
        return None
    try:
        return Ruleset(
            tuple(rules[number] for number in chosen),
            tuple(searches[number] for number in chosen),
            PatternSet([rules[number].source.pattern for number in chosen]),
            compile_search("(?:" + "|".join(begun[number] for number in chosen) + r")\z"),
        )
    except BadPattern:
        raise BadPattern("the rules are too large together", chosen[-1]) from None


def _beginnings(pattern: str) -> str:
    """B(pattern), once its length is right. Raises ValueError."""
    found = reach(pattern)
    if not found.shortest:
        raise ValueError("may match nothing at all")
    if found.longest >= ENDLESS:
        raise ValueError("has no longest match: write x{1,64} for x+ and x{0,64} for x*")
    if found.longest > LONGEST:
        raise ValueError(f"may match more than {LONGEST} characters")
    return found.beginnings
