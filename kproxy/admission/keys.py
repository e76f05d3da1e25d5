"""Entropy in, keys and their digests out; and what kproxy remembers of a key.

1. A key is `kr-` and url-safe random characters; it is shown once and never stored.
2. What is stored is its SHA-256. A random key of 192 bits or more needs no slow hash: there is
   nothing to guess from, and the digest is computed on every request (1.4 us).
3. A secret that has to be kept in memory is a `Secret`, which prints as `***`.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from kproxy.admission.guardrails import NO_GUARDRAILS, Guardrails

__all__ = [
    "KEY_PREFIX",
    "NO_PROVIDER_KEYS",
    "Account",
    "KeyRecord",
    "Secret",
    "check_expiry",
    "check_name",
    "digest",
    "format_key",
    "key_id",
    "prefix",
]

KEY_PREFIX = "kr-"  # the seed's spelling; lets secret scanners know a key when they see one
_MIN_ENTROPY = 24  # bytes: 32 characters and 192 bits, above the 160 of reliability.md R14
_MIN_ID_ENTROPY = 8  # bytes: an identifier is public, it only has to be unique
_SHOWN = len(KEY_PREFIX) + 5  # 30 of at least 192 bits: tells keys apart, helps nobody guess
_NAME_LIMIT = 200  # characters: a name is for people
_EXPIRY_LIMIT = 100 * 366 * 86_400  # seconds: a century; more is a mistake of unit


class Secret:
    """A string that does not print. `reveal()` is the one way to its value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself: for the one place that puts it on a wire."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret is not pickled")


NO_PROVIDER_KEYS: Mapping[str, Secret] = MappingProxyType({})
"""Of a key whose requests go out with the operator's."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who owns keys. `tier` is a name that the configuration may no longer have; `created_at` is
    Unix seconds."""

    id: str
    name: str
    tier: str
    created_at: int


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What kproxy knows of a key: everything but the key. Times are Unix seconds.

    `provider_keys` are the caller's own, by slug. `locked` are the providers whose own key is
    stored and was not opened: a listing opens none, and a server cannot without its seal key. Such
    a provider is closed to the key, for the operator's would be used against the caller's word.
    """

    account: Account
    key_id: str
    digest: bytes = field(repr=False)
    name: str
    prefix: str
    created_at: int
    expires_at: int | None = None  # None: never
    revoked: bool = False
    last_used_at: int | None = None  # as stored, so some seconds late; None: never
    guardrails: Guardrails = NO_GUARDRAILS
    provider_keys: Mapping[str, Secret] = field(default_factory=lambda: NO_PROVIDER_KEYS)
    locked: frozenset[str] = frozenset()

    @property
    def own_providers(self) -> frozenset[str]:
        """The providers for which the key has a provider key of its own."""
        return self.locked.union(self.provider_keys)


def format_key(entropy: bytes) -> str:
    """The key that these random bytes spell. Raises ValueError for fewer than 24 bytes."""
    if len(entropy) < _MIN_ENTROPY:
        raise ValueError(f"a key needs {_MIN_ENTROPY} random bytes, not {len(entropy)}")
    return KEY_PREFIX + _spell(entropy)


def key_id(entropy: bytes) -> str:
    """The public identifier that these bytes spell, `key_...`; never a key's own bytes.

    Hexadecimal, so that it can stand in a path and be chosen by a double click. Raises ValueError
    for fewer than 8 bytes.
    """
    if len(entropy) < _MIN_ID_ENTROPY:
        raise ValueError(f"an identifier needs {_MIN_ID_ENTROPY} random bytes, not {len(entropy)}")
    return f"key_{entropy.hex()}"


def digest(secret: bytes) -> bytes:
    """SHA-256 of a key as it came on the wire: 32 bytes, by which the key is found."""
    return hashlib.sha256(secret).digest()


def prefix(secret: str) -> str:
    """The beginning of a key that may be shown in a listing (contract section 11)."""
    return secret[:_SHOWN]


def check_name(name: str) -> None:
    """Pass a name of a key or an account, or raise ValueError that says what one is.

    Names stand in listings and logs: no line breaks, no terminal sequences (reliability.md R10),
    and no lone surrogates, which SQLite cannot store.
    """
    if not name.strip() or len(name) > _NAME_LIMIT or not name.isprintable():
        raise ValueError(f"1 to {_NAME_LIMIT} printable characters")


def check_expiry(seconds: int) -> None:
    """Pass a key's seconds to live, or raise ValueError that says how many there may be."""
    if not 0 < seconds <= _EXPIRY_LIMIT:
        raise ValueError(f"1 to {_EXPIRY_LIMIT} seconds")


def _spell(entropy: bytes) -> str:
    return base64.urlsafe_b64encode(entropy).rstrip(b"=").decode("ascii")
