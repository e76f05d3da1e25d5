"""Rows of accounts and keys in, values of `admission.keys` out; and the SELECTs that give the rows.

A row that this kproxy cannot read raises StoreError: what limits a key is never guessed.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from kproxy.admission.guardrails import NO_GUARDRAILS, Guardrails
from kproxy.admission.keys import Account, KeyRecord
from kproxy.store.database import Row, StoreError, Value

__all__ = [
    "ACCOUNT",
    "RECORD",
    "Stored",
    "encode_guardrails",
    "encode_sealed",
    "sealed_keys",
    "to_account",
    "to_record",
    "to_stored",
]

ACCOUNT = "SELECT id, name, tier, created_at FROM account"
RECORD = (
    "SELECT a.id, a.name, a.tier, a.created_at,"
    " k.id, k.digest, k.name, k.prefix, k.created_at, k.expires_at, k.revoked,"
    " k.last_used_at, k.guardrails, k.provider_keys"
    " FROM api_key AS k JOIN account AS a ON a.id = k.account_id"
)

_encode = msgspec.json.Encoder(order="sorted").encode
_decode_guardrails = msgspec.json.Decoder(Guardrails).decode
_decode_sealed = msgspec.json.Decoder(dict[str, bytes]).decode


class Stored(NamedTuple):
    """A key as it lies in the store: its provider keys are sealed bytes by slug."""

    record: KeyRecord
    sealed: Mapping[str, bytes]


def to_account(row: Row) -> Account:
    """A row of ACCOUNT."""
    identifier, name, tier, created_at = row
    return Account(str(identifier), str(name), str(tier), _whole(created_at))


def to_record(row: Row) -> KeyRecord:
    """A row of RECORD, every provider key still locked."""
    return to_stored(row).record


def to_stored(row: Row) -> Stored:
    """A row of RECORD with its sealed provider keys."""
    identifier, found, name, shown, created_at, expires_at, revoked = row[4:11]
    used, guardrails, keys = row[11:]
    if not isinstance(found, bytes):
        raise StoreError(f"the key {identifier!r} has no digest")
    sealed = sealed_keys(identifier, keys)
    record = KeyRecord(
        account=to_account(row[:4]),
        key_id=str(identifier),
        digest=found,
        name=str(name),
        prefix=str(shown),
        created_at=_whole(created_at),
        expires_at=None if expires_at is None else _whole(expires_at),
        revoked=bool(revoked),
        last_used_at=None if used is None else _whole(used),
        guardrails=_guardrails(identifier, guardrails),
        locked=frozenset(sealed),
    )
    return Stored(record, sealed)


def sealed_keys(key_id: object, column: Value) -> Mapping[str, bytes]:
    """The column `provider_keys` of one key: slug to sealed bytes."""
    if column is None:
        return {}
    try:
        return _decode_sealed(str(column))
    except msgspec.DecodeError as error:
        raise StoreError(f"the provider keys of {key_id!r} cannot be read") from error


def encode_sealed(keys: Mapping[str, bytes]) -> str | None:
    """The column that `sealed_keys` reads."""
    return _encode(dict(keys)).decode() if keys else None


def encode_guardrails(guardrails: Guardrails) -> str | None:
    """The column `guardrails`."""
    return None if guardrails == NO_GUARDRAILS else _encode(guardrails).decode()


def _guardrails(key_id: object, column: Value) -> Guardrails:
    if column is None:
        return NO_GUARDRAILS
    try:
        return _decode_guardrails(str(column))
    except msgspec.DecodeError as error:
        # Of a newer kproxy, perhaps: a limit that is not understood must not be dropped.
        raise StoreError(f"the guardrails of {key_id!r} cannot be read") from error


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise StoreError(f"the store holds {value!r} where a time belongs")
    return value
