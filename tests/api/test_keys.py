"""`/api/auth` over a real store: what is answered, what is refused with the field's name."""

import dataclasses
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kproxy.admission.keys import digest
from kproxy.api import keys
from kproxy.catalog.load import Catalog, Provider
from kproxy.store.keystore import KeyStore, open_keystore
from tests.fakes.caller import Answer
from tests.fakes.house import House, model

CANARY = "sk-canary-canary-canary"
UNSET = {
    "maxCostPerRequestUsd": None,
    "allowedProviders": [],
    "excludedProviders": [],
    "minQualityThreshold": None,
    "providerKeys": [],
}
PROVIDERS = {"openai": "OpenAI", "together": "Together AI", "deepseek": "DeepSeek"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    store = open_keystore(tmp_path)
    yield store
    store.close()


@pytest.fixture
def house(autojump_clock: MockClock, nursery: trio.Nursery, store: KeyStore) -> House:
    house = House(nursery, models=[model("openai/m")], store=store)
    facts = {slug: Provider(slug, display) for slug, display in PROVIDERS.items()}
    catalog = Catalog(facts, house.service.catalog.models)
    house.router._service = dataclasses.replace(house.service, catalog=catalog)
    return house


class Owner:
    """Somebody with a key, who asks."""

    def __init__(self, house: House, store: KeyStore, account: str = "acme") -> None:
        store.create_account(account, "team", 900)
        self.record, self.key = store.create_key(account, "first", None, 900)
        self.house = house

    async def __call__(self, method: str, path: str, body: Any = None) -> Answer:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return await self.house.send(method, path, f"authorization: Bearer {self.key}", body=data)

    async def patch(self, **fields: Any) -> Answer:
        return await self("PATCH", f"/api/auth/{self.record.key_id}", fields)


def stored(folder: Path) -> bytes:
    """Everything in the files of a data directory."""
    return b"".join(file.read_bytes() for file in folder.iterdir())


@pytest.fixture
def ask(house: House, store: KeyStore) -> Owner:
    return Owner(house, store)


# --- create, list, delete


async def test_a_created_key_is_told_once_and_works_at_once(ask: Owner, store: KeyStore) -> None:
    answer = await ask("POST", "/api/auth", {"name": "Production Key", "expires_in": 7_776_000})
    assert answer.status == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert list(made) == ["id", "key", "name", "created_at", "expires_at"]
    assert re.fullmatch(r"key_[0-9a-f]{24}", made["id"])
    assert re.fullmatch(r"kr-[A-Za-z0-9_-]{32,}", made["key"])
    assert (made["name"], made["created_at"]) == ("Production Key", 1_000)
    assert made["expires_at"] == 1_000 + 7_776_000
    assert store.lookup(digest(made["key"].encode())).account == ask.record.account
    ask.key = made["key"]
    listed = await ask("GET", "/api/auth")
    assert listed.status == 200
    assert made["key"] not in listed.body.decode()


async def test_without_expires_in_a_key_never_expires(ask: Owner) -> None:
    for body in ({"name": "a"}, {"name": "a", "expires_in": None}):
        answer = await ask("POST", "/api/auth", body)
        assert (answer.status, answer.json()["expires_at"]) == (201, None)


async def test_the_list_is_the_accounts_keys_that_are_not_revoked(
    ask: Owner, house: House, store: KeyStore
) -> None:
    Owner(house, store, "other")
    revoked, _ = store.create_key("acme", "revoked", None, 950)
    store.revoke(revoked.key_id)
    expired, _ = store.create_key("acme", "expired", 10, 960)
    listed = (await ask("GET", "/api/auth")).json()
    assert listed["object"] == "list"
    assert listed["data"] == [
        {
            "id": ask.record.key_id,
            "name": "first",
            "prefix": ask.key[:8],
            "created_at": 900,
            "expires_at": None,
            "last_used_at": 1_000,
            "guardrails": UNSET,
        },
        {
            "id": expired.key_id,
            "name": "expired",
            "prefix": expired.prefix,
            "created_at": 960,
            "expires_at": 970,
            "last_used_at": None,
            "guardrails": UNSET,
        },
    ]


async def test_a_deleted_key_is_refused_from_the_next_request_on(
    ask: Owner, store: KeyStore
) -> None:
    record, secret = store.create_key("acme", "leaked", None, 900)
    path = f"/api/auth/{record.key_id}"
    assert (await ask("DELETE", path)).json() == {"id": record.key_id, "deleted": True}
    again = await ask("DELETE", path)
    assert (again.status, again.error["code"]) == (404, "key_not_found")
    own = await ask("DELETE", f"/api/auth/{ask.record.key_id}")
    assert own.status == 200, "a caller may revoke the key it calls with"
    for key in (secret, ask.key):
        ask.key = key
        assert (await ask("GET", "/api/auth")).status == 401


@pytest.mark.parametrize("name", ["key_0", "nobody/{id}", "%00", "%ff", "..", "{id}%20", "{ID}"])
async def test_an_unknown_key(ask: Owner, name: str) -> None:
    path = "/api/auth/" + name.format(id=ask.record.key_id, ID=ask.record.key_id.upper())
    for method, body in (("DELETE", None), ("PATCH", {})):
        answer = await ask(method, path, body)
        assert (answer.status, answer.error["code"]) == (404, "key_not_found")


async def test_a_query_and_an_escape_are_no_part_of_the_id(ask: Owner) -> None:
    escaped = ask.record.key_id.replace("key", "%6bey")
    assert (await ask("DELETE", f"/api/auth/{escaped}?now=1")).status == 200


async def test_an_account_has_a_bounded_number_of_keys(
    ask: Owner, store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MOST_KEYS", 2)
    assert (await ask("POST", "/api/auth", {"name": "second"})).status == 201
    third = await ask("POST", "/api/auth", {"name": "third"})
    assert (third.status, third.error["code"]) == (400, "too_many_keys")
    assert len(store.list("acme")) == 2
    second = store.list("acme")[1].key_id
    assert (await ask("DELETE", f"/api/auth/{second}")).status == 200
    assert (await ask("POST", "/api/auth", {"name": "third"})).status == 201


# --- refused


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"\xff", None),
        ({}, "name"),
        ({"name": None}, "name"),
        ({"name": 1}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a" * 201}, "name"),
        (b'{"name": "a", "name": "b"}', "name"),
        ({"name": "a", "expires_in": 0}, "expires_in"),
        ({"name": "a", "expires_in": -1}, "expires_in"),
        ({"name": "a", "expires_in": 1.5}, "expires_in"),
        ({"name": "a", "expires_in": "60"}, "expires_in"),
        ({"name": "a", "expires_in": True}, "expires_in"),
        ({"name": "a", "expires_in": 10**12}, "expires_in"),
        ({"name": "a", "expires_in": 10**40}, "expires_in"),
        ({"name": "a", "tier": "unlimited"}, "tier"),
        ({"name": "a", "account": "other"}, "account"),
    ],
)
async def test_a_wrong_key_is_refused(ask: Owner, store: KeyStore, body: Any, param: str) -> None:
    answer = await ask("POST", "/api/auth", body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_request_error")
    assert answer.error["param"] == param
    assert len(store.list()) == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"maxCostPerRequestUsd": -1}, "maxCostPerRequestUsd"),
        ({"maxCostPerRequestUsd": "1"}, "maxCostPerRequestUsd"),
        ({"maxCostPerRequestUsd": True}, "maxCostPerRequestUsd"),
        ({"maxCostPerRequestUsd": 1_000_001}, "maxCostPerRequestUsd"),
        ({"maxCostPerRequestUsd": 0.0000000001}, "maxCostPerRequestUsd"),
        ({"minQualityThreshold": -0.1}, "minQualityThreshold"),
        ({"minQualityThreshold": 1.1}, "minQualityThreshold"),
        ({"minQualityThreshold": "high"}, "minQualityThreshold"),
        ({"allowedProviders": "openai"}, "allowedProviders"),
        ({"allowedProviders": ["openai", "nobody"]}, "allowedProviders[1]"),
        ({"allowedProviders": ["openai", 1]}, "allowedProviders[1]"),
        ({"allowedProviders": ["openai"] * 257}, "allowedProviders"),
        ({"excludedProviders": [CANARY]}, "excludedProviders[0]"),
        ({"excludedProviders": [""]}, "excludedProviders[0]"),
        ({"excludedProviders": {}}, "excludedProviders"),
        ({"providerKeys": [CANARY]}, "providerKeys"),
        ({"providerKeys": CANARY}, "providerKeys"),
        ({"providerKeys": {CANARY: "openai"}}, "providerKeys"),
        ({"providerKeys": {"openai": {"key": CANARY}}}, "providerKeys"),
        ({"providerKeys": {"openai": CANARY + " " + CANARY}}, "providerKeys.openai"),
        ({"providerKeys": {"openai": CANARY + "\r\nhost: x"}}, "providerKeys.openai"),
        ({"providerKeys": {"openai": "é" + CANARY}}, "providerKeys.openai"),
        ({"providerKeys": {"openai": CANARY * 200}}, "providerKeys.openai"),
        ({"providerKeys": {"openai": CANARY, "OpenAI": CANARY}}, "providerKeys.openai"),
        ({"name": "new"}, "name"),
        ({"max_cost_per_request_usd": 1}, "max_cost_per_request_usd"),
    ],
)
async def test_a_wrong_patch_changes_nothing_and_repeats_nothing(
    ask: Owner, store: KeyStore, fields: dict[str, Any], param: str
) -> None:
    answer = await ask.patch(**{"maxCostPerRequestUsd": 1, **fields})
    assert (answer.status, answer.error["code"]) == (400, "invalid_request_error")
    assert answer.error["param"] == param
    assert b"canary" not in answer.body
    assert store.list() == [ask.record]


# --- guardrails


async def test_guardrails_are_set_kept_and_cleared(ask: Owner, store: KeyStore) -> None:
    answer = await ask.patch(
        maxCostPerRequestUsd=0.05,
        allowedProviders=["OPENAI", "Together ai", "together"],
        excludedProviders=[" deepseek "],
        minQualityThreshold=0.5,
    )
    wanted = {
        "maxCostPerRequestUsd": 0.05,
        "allowedProviders": ["openai", "together"],
        "excludedProviders": ["deepseek"],
        "minQualityThreshold": 0.5,
        "providerKeys": [],
    }
    assert (answer.status, answer.json()["guardrails"]) == (200, wanted)
    assert b'"maxCostPerRequestUsd":0.05,' in answer.body
    found = store.lookup(ask.record.digest).guardrails
    assert (found.max_cost, found.min_quality) == (50_000_000, 0.5)
    assert (found.allowed, found.excluded) == ({"openai", "together"}, {"deepseek"})

    answer = await ask.patch(allowedProviders=None, excludedProviders=[])
    wanted |= {"allowedProviders": [], "excludedProviders": []}
    assert answer.json()["guardrails"] == wanted
    assert (await ask.patch()).json()["guardrails"] == wanted
    assert (await ask("GET", "/api/auth")).json()["data"][0]["guardrails"] == wanted

    answer = await ask.patch(maxCostPerRequestUsd=None, minQualityThreshold=None)
    assert answer.json()["guardrails"] == UNSET
    assert store.list() == [ask.record]


async def test_provider_keys_go_in_and_never_come_out(
    ask: Owner, store: KeyStore, tmp_path: Path
) -> None:
    answers = [
        await ask.patch(providerKeys={"OpenAI": f" {CANARY}-1\n", "together": f"{CANARY}-2"}),
        await ask("GET", "/api/auth"),
    ]
    for answer in answers:
        assert answer.status == 200
        assert b"canary" not in answer.body
        assert b'"providerKeys":["openai","together"]' in answer.body
    found = store.lookup(ask.record.digest)
    assert found.provider_keys["openai"].reveal() == f"{CANARY}-1"
    assert b"canary" not in stored(tmp_path)

    await ask.patch(providerKeys={"OPENAI": "", "deepseek": f"{CANARY}-3"})
    kept = store.lookup(ask.record.digest).provider_keys
    assert {slug: key.reveal()[-1] for slug, key in kept.items()} == {
        "together": "2",
        "deepseek": "3",
    }
    await ask.patch(providerKeys={"deepseek": None})
    assert set(store.lookup(ask.record.digest).provider_keys) == {"together"}
    await ask.patch(maxCostPerRequestUsd=1)
    assert set(store.lookup(ask.record.digest).provider_keys) == {"together"}
    for empty in (None, {}):
        await ask.patch(providerKeys={"together": CANARY})
        answer = await ask.patch(providerKeys=empty)
        assert answer.json()["guardrails"]["providerKeys"] == []
        assert store.lookup(ask.record.digest).provider_keys == {}


async def test_without_the_extra_provider_keys_are_refused_by_its_name(
    ask: Owner, store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    answer = await ask.patch(providerKeys={"openai": CANARY}, maxCostPerRequestUsd=1)
    assert (answer.status, answer.error["code"]) == (501, "provider_keys_unavailable")
    assert answer.error["param"] == "providerKeys"
    assert "kproxy[vault]" in answer.error["message"]
    assert store.list() == [ask.record]
    assert (await ask.patch(maxCostPerRequestUsd=1)).status == 200
    assert (await ask.patch(providerKeys=None)).status == 200


async def test_a_seal_key_that_is_gone_is_the_operators_to_mend(
    ask: Owner, store: KeyStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await ask.patch(providerKeys={"openai": CANARY})).status == 200
    (tmp_path / "kproxy.seal").unlink()
    store._vault._file = None  # as after a restart
    with caplog.at_level(logging.DEBUG):
        answer = await ask.patch(providerKeys={"together": CANARY})
    assert (answer.status, answer.error["code"]) == (503, "provider_keys_unavailable")
    assert str(tmp_path) not in answer.body.decode()
    assert f"{tmp_path}/kproxy.seal does not exist" in caplog.text
    assert "canary" not in caplog.text + answer.body.decode()
    assert (await ask.patch(providerKeys={})).status == 200
    assert (await ask.patch(providerKeys={"together": CANARY})).status == 200, "begun anew"


# --- elsewhere


async def test_a_store_that_is_busy_says_so(
    autojump_clock: MockClock, ask: Owner, house: House
) -> None:
    desk = house.service.desk
    assert desk is not None
    async with desk._turn:  # somebody else's turn
        answer = await ask("GET", "/api/auth")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.error["code"] == "store_busy"


async def test_a_server_without_keys_has_none_to_manage(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, keyless=True)
    for method, path in (
        ("GET", "/api/auth"),
        ("POST", "/api/auth"),
        ("DELETE", "/api/auth/key_1"),
        ("PATCH", "/api/auth/key_1"),
    ):
        answer = await house.send(method, path)
        assert (answer.status, answer.error["code"]) == (404, "keys_disabled")
