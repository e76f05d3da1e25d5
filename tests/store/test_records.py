"""Rows become values; a row that limits a key and cannot be read is never taken for no limit."""

from typing import Any

import pytest

from kproxy.admission.guardrails import NO_GUARDRAILS, Guardrails
from kproxy.store.database import StoreError
from kproxy.store.records import (
    encode_guardrails,
    encode_sealed,
    sealed_keys,
    to_account,
    to_record,
    to_stored,
)

ACCOUNT = ("acct_1", "acme", "team", 5)


def row(**columns: Any) -> tuple[Any, ...]:
    usual = {
        "id": "key_1", "digest": bytes(32), "name": "n", "prefix": "kr-abcde", "created_at": 6,
        "expires_at": None, "revoked": 0, "last_used_at": None, "guardrails": None,
        "provider_keys": None,
    }  # fmt: skip
    return (*ACCOUNT, *{**usual, **columns}.values())


def test_a_row_with_nothing_optional() -> None:
    record = to_record(row())
    assert record.account == to_account(ACCOUNT)
    assert (record.key_id, record.created_at, record.expires_at) == ("key_1", 6, None)
    assert (record.revoked, record.last_used_at) == (False, None)
    assert (record.guardrails, record.locked, dict(record.provider_keys)) == (
        NO_GUARDRAILS, frozenset(), {},
    )  # fmt: skip


def test_a_whole_row() -> None:
    guardrails = Guardrails(5, frozenset("ab"), frozenset("c"), 0.5)
    sealed = {"openai": b"\x01\xff", "groq": b""}
    stored = to_stored(
        row(
            expires_at=7,
            revoked=1,
            last_used_at=8,
            guardrails=encode_guardrails(guardrails),
            provider_keys=encode_sealed(sealed),
        )
    )
    record = stored.record
    assert (record.expires_at, record.revoked, record.last_used_at) == (7, True, 8)
    assert record.guardrails == guardrails
    assert (record.locked, stored.sealed) == ({"openai", "groq"}, sealed)


def test_nothing_is_stored_as_nothing() -> None:
    assert encode_guardrails(NO_GUARDRAILS) is None
    assert encode_sealed({}) is None
    assert sealed_keys("key_1", None) == {}


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("digest", None, "the key 'key_1' has no digest"),
        ("created_at", "soon", "holds 'soon' where a time belongs"),
        ("last_used_at", "soon", "holds 'soon' where a time belongs"),
        ("guardrails", "", "the guardrails of 'key_1' cannot be read"),
        ("guardrails", '{"max_cost": "5"}', "the guardrails of 'key_1' cannot be read"),
        ("guardrails", '{"of_a_newer_kproxy": 1}', "the guardrails of 'key_1' cannot be read"),
        ("provider_keys", "[]", "the provider keys of 'key_1' cannot be read"),
        ("provider_keys", '{"a": "not base64!"}', "the provider keys of 'key_1' cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(column: str, value: object, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        to_record(row(**{column: value}))
