"""Who is calling, by the store and the wall clock of the service."""

import dataclasses
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from kproxy.store.keystore import open_keystore
from tests.fakes.house import House


@pytest.fixture
def house(autojump_clock: MockClock, nursery: trio.Nursery) -> House:
    return House(nursery)


async def test_a_key_until_it_expires(house: House) -> None:
    house.record = dataclasses.replace(house.record, expires_at=1_001)
    assert (await house.get("/v1/models")).status == 200
    house.record = dataclasses.replace(house.record, expires_at=1_000)
    answer = await house.get("/v1/models")
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert "expired" in answer.error["message"]


async def test_a_key_is_looked_up_for_each_request(house: House) -> None:
    assert (await house.get("/v1/models")).status == 200
    house.record = dataclasses.replace(house.record, digest=b"another")
    assert (await house.get("/v1/models")).status == 401


async def test_a_use_is_noted_and_a_refusal_is_not(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    store = open_keystore(tmp_path)
    store.create_account("acme", "team", 0)
    good, secret = store.create_key("acme", "good", None, 0)
    expired, late = store.create_key("acme", "expired", 1, 0)
    house = House(nursery, store=store, unix_now=lambda: 2_000.5)
    desk = house.service.desk
    assert desk is not None
    for key, status in ((secret, 200), (late, 401)):
        answer = await house.send("GET", "/v1/models", f"authorization: Bearer {key}")
        assert answer.status == status
    assert (desk.last_used(good), desk.last_used(expired)) == (2_000, None)
    store.close()


async def test_without_keys_everybody_on_this_machine_may_call(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, keyless=True)
    for field in ("x-other: 1", "authorization: Bearer sk-any", "origin: http://localhost:3000"):
        assert (await house.send("GET", "/v1/models", field)).status == 200
    answer = await house.send("GET", "/v1/models", "origin: https://example.org")
    assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
