"""Who is calling, by the store and the wall clock of the service."""

import dataclasses

import pytest
import trio
from trio.testing import MockClock

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
