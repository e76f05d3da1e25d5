"""Bodies of /api/auth: absent is not null, secrets do not print, listings are spelled exactly."""

import msgspec
import pytest
from msgspec import UNSET

from kproxy.errors import Rejected
from kproxy.schema.jsonlimits import JsonLimits
from kproxy.schema.keys import (
    CreatedKey,
    DeletedKey,
    GuardrailsObject,
    KeyList,
    KeyObject,
    decode_new_key,
    decode_patch,
    encode,
)

LIMITS = JsonLimits()
CANARY = "canary-canary"


def test_the_seeds_request() -> None:
    asked = decode_new_key(b'{ "name": "Production Key", "expires_in": 7776000 }', LIMITS)
    assert (asked.name, asked.expires_in) == ("Production Key", 7_776_000)
    assert decode_new_key(b'{"name": ""}', LIMITS).expires_in is None


def test_a_patch_in_the_contracts_spelling() -> None:
    patch = decode_patch(
        b'{"maxCostPerRequestUsd": 1, "allowedProviders": ["a"], "excludedProviders": [],'
        b' "minQualityThreshold": 1, "providerKeys": {"a": "k", "b": null}}',
        LIMITS,
    )
    assert patch.max_cost_per_request_usd == 1
    assert (patch.allowed_providers, patch.excluded_providers) == (["a"], [])
    assert patch.min_quality_threshold == 1
    assert patch.provider_keys == {"a": "k", "b": None}


def test_absent_and_null_are_two_things() -> None:
    nothing = decode_patch(b"{}", LIMITS)
    assert {getattr(nothing, name) for name in nothing.__struct_fields__} == {UNSET}
    fields = nothing.__struct_encode_fields__
    nulls = decode_patch(msgspec.json.encode(dict.fromkeys(fields)), LIMITS)
    assert {getattr(nulls, name) for name in nulls.__struct_fields__} == {None}


def test_the_ends_of_a_list_and_a_map() -> None:
    assert decode_patch(msgspec.json.encode({"allowedProviders": ["a"] * 256}), LIMITS)
    for field, value in (
        ("allowedProviders", ["a"] * 257),
        ("providerKeys", {str(number): "" for number in range(257)}),
    ):
        with pytest.raises(Rejected) as caught:
            decode_patch(msgspec.json.encode({field: value}), LIMITS)
        assert caught.value.param == field


def test_what_holds_a_secret_does_not_print_it() -> None:
    patch = decode_patch(b'{"providerKeys": {"a": "canary-canary"}}', LIMITS)
    made = CreatedKey("key_1", CANARY, "n", 1, None)
    for value in (patch, made, [patch, made], {"made": made}):
        assert CANARY not in f"{value!r} {value}"
    assert repr(patch) == "<KeyPatch provider_keys>"
    assert repr(made) == "<CreatedKey key_1>"


def test_the_answers() -> None:
    assert encode(CreatedKey("key_1", "kr-1", "n", 1, None)) == (
        b'{"id":"key_1","key":"kr-1","name":"n","created_at":1,"expires_at":null}'
    )
    assert encode(DeletedKey("key_1")) == b'{"id":"key_1","deleted":true}'
    guardrails = GuardrailsObject(msgspec.Raw(b"0.000000001"), ("a",), (), 0.5, ("b",))
    listed = encode(KeyList((KeyObject("key_1", "n", "kr-1", 1, 2, None, guardrails),)))
    assert msgspec.json.decode(listed) == {
        "object": "list",
        "data": [
            {
                "id": "key_1",
                "name": "n",
                "prefix": "kr-1",
                "created_at": 1,
                "expires_at": 2,
                "last_used_at": None,
                "guardrails": {
                    "maxCostPerRequestUsd": 1e-09,
                    "allowedProviders": ["a"],
                    "excludedProviders": [],
                    "minQualityThreshold": 0.5,
                    "providerKeys": ["b"],
                },
            }
        ],
    }
    assert b'"maxCostPerRequestUsd":0.000000001,' in listed
