"""`[guardrails]`: rules that are taken, and what is wrong with others, by line and by name."""

import sys
from pathlib import Path

import pytest

from kproxy.config import Config, ConfigError, Overrides, load
from kproxy.config.guardrails import build_rules, describe_rules

RULES = """\
[[guardrails.rules]]
builtin = "email"
action = "mask"
[[guardrails.rules]]
name = "ours"
pattern = '\\b\\w{1,32}@acme\\.org\\b'
action = "allow"
[guardrails.moderation]
url = "http://127.0.0.1:9100/v1/moderations/"
api_key = "${env:MODERATION_KEY}"
"""


def loaded(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "kproxy.toml"
    file.write_text(text)
    return load(Overrides(config=file), {"HOME": "/home", "MODERATION_KEY": "sk-canary"})


def test_none_are_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)  # it is not asked for
    config = loaded(tmp_path, "")
    assert describe_rules(config.guardrails) == []
    assert build_rules(config.guardrails) == (None, None)


def test_rules_and_a_classifier(tmp_path: Path) -> None:
    config = loaded(tmp_path, RULES)
    asked, answered = build_rules(config.guardrails)
    assert asked is not None
    assert answered is None
    assert [rule.name for rule in asked.rules] == ["email", "ours"]
    given = config.guardrails.moderation
    assert given is not None
    assert given.url == "http://127.0.0.1:9100/v1/moderations"
    assert given.api_key is not None
    assert given.api_key.reveal() == "sk-canary"
    assert (given.deadline, given.max_bytes, given.fail) == (2.0, 1_048_576, "closed")
    assert describe_rules(config.guardrails) == [
        "email (mask request)",
        "ours (allow request and response)",
        "moderation (http://127.0.0.1:9100/v1/moderations, fails closed)",
    ]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('builtin = "emial"\naction = "mask"', 2, 'rule "emial": there are card,'),
        ('name = "a"\npattern = "(a"\naction = "block"', 3, 'rule "a": missing )'),
        ('name = "a"\npattern = "a+"\naction = "block"', 3, 'rule "a": has no longest match'),
        ('builtin = "card"\naction = "mask"\non = ["response"]', 4, 'rule "card" masks'),
        ('builtin = "card"\naction = "hide"', 3, 'must be "allow", "block", "mask" or "redact"'),
        ('builtin = "card"\naction = "mask"\ncolour = 1', 4, "unknown key"),
        ('builtin = "card"', 1, "action is missing"),
    ],
)
def test_a_bad_rule(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"[[guardrails.rules]]\n{text}\n")
    assert caught.value.line == line
    assert says in caught.value.reason


def test_two_rules_of_one_name(tmp_path: Path) -> None:
    one = '[[guardrails.rules]]\nbuiltin = "card"\naction = "mask"\n'
    with pytest.raises(ConfigError, match=r'two rules named "Card"'):
        loaded(tmp_path, one + one.replace("builtin", 'name = "Card"\nbuiltin'))


def test_a_bad_address(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, '[guardrails.moderation]\nurl = "http://me:secret@x/v1"\n')
    assert (caught.value.line, caught.value.path) == (2, "guardrails.moderation.url")
    assert "secret" not in str(caught.value)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(ConfigError, match=r"pip install 'kproxy\[guardrails\]'"):
        loaded(tmp_path, RULES)
