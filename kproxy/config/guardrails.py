"""`[guardrails]` in; its rules in their final form and compiled out, or what is wrong and where."""

from collections.abc import Sequence

import msgspec

from kproxy.config.checks import check_base_url
from kproxy.config.document import PlacedError
from kproxy.config.model import GuardrailsConfig, ModerationConfig
from kproxy.guard.patterns import BadPattern, EngineMissing
from kproxy.guard.rules import Rule, Ruleset, make_rule, rulesets

__all__ = ["build_rules", "check_guardrails", "describe_rules"]


def check_guardrails(given: GuardrailsConfig) -> GuardrailsConfig:
    """The same, once it is known to be good. Raises PlacedError, which names the rule."""
    build_rules(given)
    moderation = given.moderation
    if moderation is None:
        return given
    return msgspec.structs.replace(given, moderation=_checked(moderation))


def build_rules(given: GuardrailsConfig) -> tuple[Ruleset | None, Ruleset | None]:
    """For requests and for answers; None where nothing is to be done there. Raises PlacedError."""
    rules = _rules(given)
    if not rules:
        return None, None
    try:
        return rulesets(rules)
    except BadPattern as error:
        reason, number = error.args
        raise PlacedError(("guardrails", "rules", number, "pattern"), reason) from error
    except EngineMissing as error:
        raise PlacedError(("guardrails", "rules"), str(error)) from error


def describe_rules(given: GuardrailsConfig) -> list[str]:
    """One line for each rule and for the classifier."""
    lines = [f"{rule.name} ({rule.action.value} {_sides(rule)})" for rule in _rules(given)]
    if given.moderation is not None:
        lines.append(f"moderation ({given.moderation.url}, fails {given.moderation.fail})")
    return lines


def _sides(rule: Rule) -> str:
    return " and ".join(sorted(rule.on))


def _rules(given: GuardrailsConfig) -> Sequence[Rule]:
    rules: dict[str, Rule] = {}
    for at, one in enumerate(given.rules):
        steps = ("guardrails", "rules", at)
        try:
            rule = make_rule(
                one.action, one.on, name=one.name, builtin=one.builtin, pattern=one.pattern
            )
        except ValueError as error:
            field, _, reason = str(error).partition(": ")
            raise PlacedError((*steps, field), reason) from error
        if rules.setdefault(rule.label, rule) is not rule:
            raise PlacedError((*steps, "name"), f'there are two rules named "{rule.name}"')
    return tuple(rules.values())


def _checked(given: ModerationConfig) -> ModerationConfig:
    try:
        return msgspec.structs.replace(given, url=check_base_url(given.url))
    except ValueError as error:
        raise PlacedError(("guardrails", "moderation", "url"), str(error)) from error
