"""The name of a ready-made rule goes in; its pattern, and what checks a match, come out.

1. Every match is bounded, so that a stream is withheld for a word and never for a paragraph.
2. A pattern takes what may be one; where there is a checksum, it decides (checksums.py).
3. Keys are known by the prefixes that their makers print on them. What is longer than any key
   of that maker is no key of it.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

from kproxy.guard.checksums import card, iban, phone

__all__ = ["BUILTIN", "Builtin"]

Check = Callable[[bytes], int]


class Builtin(NamedTuple):
    """`check` says how many bytes of a match count, 0 for none; None: all of them."""

    pattern: str
    check: Check | None = None


_KEYS = {
    "anthropic-key": r"\bsk-ant-[A-Za-z0-9_-]{20,245}",
    "openai-key": r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,240}",
    "aws-key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "github-token": r"\b(?:gh[oprsu]_[A-Za-z0-9]{36,245}|github_pat_[A-Za-z0-9_]{22,240})",
    "slack-token": r"\b(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,245}",
    "google-key": r"\bAIza[A-Za-z0-9_-]{35}",
    "stripe-key": r"\b(?:[rs]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,240}",
    "kproxy-key": r"\bkr-[A-Za-z0-9_-]{32,245}",
    "private-key": r"-----BEGIN (?:[A-Z]{2,12} ){0,2}PRIVATE KEY-----",
}

_CARD = (
    r"\b[2-6][0-9]{12,18}\b"
    r"|\b[2-6][0-9]{3}(?:[ -][0-9]{4}){3}(?:[ -][0-9]{1,3})?\b"
    r"|\b3[47][0-9]{2}[ -][0-9]{6}[ -][0-9]{5}\b"  # American Express
    r"|\b3[068][0-9]{2}[ -][0-9]{6}[ -][0-9]{4}\b"  # Diners Club
)
_IBAN = r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"
# RFC 5321 section 4.5.3.1.1: 64 characters before the at sign. Behind it real names are short.
_EMAIL = r"\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,40}\.){1,4}[A-Za-z]{2,24}\b"
_PHONE = (
    r"\+[0-9]{1,3}(?:[ .-]?\(?[0-9]{1,5}\)?){2,6}\b"  # international
    r"|\([0-9]{3}\) ?[0-9]{3}-[0-9]{4}\b"  # North America
    r"|\b[0-9]{3}[-.][0-9]{3}[-.][0-9]{4}\b"
)


def _of_openai(found: bytes) -> int:
    return 0 if found.startswith(b"sk-ant-") else len(found)


BUILTIN = MappingProxyType(
    {
        "card": Builtin(_CARD, card),
        "iban": Builtin(_IBAN, iban),
        "email": Builtin(_EMAIL),
        "phone": Builtin(_PHONE, phone),
        "api-key": Builtin("|".join(_KEYS.values())),
    }
    | {name: Builtin(pattern) for name, pattern in _KEYS.items()}
    | {"openai-key": Builtin(_KEYS["openai-key"], _of_openai)}
)
"""Ready-made rules by name; `api-key` is all keys in one."""
