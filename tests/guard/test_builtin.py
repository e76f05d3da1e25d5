"""The ready-made rules on what they are for, and on what they must leave alone."""

from collections import Counter

import pytest

from kproxy.guard.builtin import BUILTIN
from kproxy.guard.rules import make_rule, rulesets
from kproxy.guard.scan import rewrite


def redacted(builtin: str, text: str) -> str:
    rule = make_rule("redact", (), name="X", builtin=builtin, pattern=None)
    ruleset, _ = rulesets([rule])
    assert ruleset is not None
    return rewrite(ruleset, text, lambda rule, found: "#", Counter())


FOUND = [
    ("card", "pay 4111 1111 1111 1111, now", "pay #, now"),
    ("card", "4111111111111111 123", "# 123"),
    ("card", "2235 4111 1111 1111 1111", "2235 #"),  # the wrong beginning does not hide it
    ("card", "id4111111111111111", "id4111111111111111"),
    ("card", "4111111111111112", "4111111111111112"),
    ("iban", "to DE89 3704 0044 0532 0130 00 BY noon", "to # BY noon"),
    ("iban", "AB12 CDEF 3456 GHIJ 7890", "AB12 CDEF 3456 GHIJ 7890"),
    ("email", "mail ann.b+c@mail.example.org.", "mail #."),
    ("email", "<ann@example.org>, ann@", "<#>, ann@"),
    ("email", "x@y at 12:00@noon", "x@y at 12:00@noon"),
    ("phone", "call +49 30 1234567 or (212) 555-0123", "call # or #"),
    ("phone", "212-555-0123; 2024-05-06; 1.2.3", "#; 2024-05-06; 1.2.3"),
    ("openai-key", "sk-proj-" + "aB3_" * 40 + " sk-ant-" + "a" * 40, "# sk-ant-" + "a" * 40),
    ("anthropic-key", "sk-ant-api03-" + "aB3-" * 24, "#"),
    ("aws-key", "AKIAIOSFODNN7EXAMPLE AKIASHORT", "# AKIASHORT"),
    ("github-token", "ghp_" + "a1" * 18 + " github_pat_" + "a_" * 20, "# #"),
    ("slack-token", "xoxb-1234567890-abcdef", "#"),
    ("google-key", "AIza" + "a" * 35, "#"),
    ("stripe-key", "sk_live_" + "a" * 24 + " pk_live_" + "a" * 24, "# pk_live_" + "a" * 24),
    ("kproxy-key", "kr-" + "k" * 43 + " kr-your-key", "# kr-your-key"),
    ("private-key", "-----BEGIN RSA PRIVATE KEY-----\nMII", "#\nMII"),
    ("private-key", "-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----"),
    ("api-key", "AKIAIOSFODNN7EXAMPLE, sk-ant-" + "a" * 40, "#, #"),
]  # fmt: skip


@pytest.mark.parametrize(("builtin", "text", "left"), FOUND)
def test_what_it_finds(builtin: str, text: str, left: str) -> None:
    assert redacted(builtin, text) == left


def test_each_has_an_example() -> None:
    assert {builtin for builtin, _, _ in FOUND} == set(BUILTIN)
