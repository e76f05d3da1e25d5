"""Receipts over the API: the account's own, in pages, as soon as they are written."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from kproxy.store.journal import Journal, JournalParams, open_journal
from kproxy.store.receipts import open_receipts
from tests.fakes.house import House
from tests.fakes.receipts import NOON, receipt


@pytest.fixture
def journal(tmp_path: Path):
    made = open_journal(tmp_path, JournalParams(segment=65_536))
    yield made
    made.close()


@pytest.fixture
def house(autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path, journal: Journal):
    receipts = open_receipts(tmp_path)
    yield House(nursery, shelf=receipts)
    receipts.close()


def write(journal: Journal, count: int, **fields: str) -> None:
    for number in range(count):
        journal.append(receipt(number, arrived=NOON + number, **fields))


def name(number: int) -> str:
    return receipt(number).receipt_id


async def test_one(house: House, journal: Journal) -> None:
    write(journal, 2)
    answer = await house.get(f"/v1/receipts/{name(1)}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    shown = answer.json()
    assert (shown["receipt_id"], shown["created"]) == (name(1), NOON + 1)
    assert shown["execution"]["actual_cost_usd"] == 0.000364


async def test_that_of_another_account_does_not_exist(house: House, journal: Journal) -> None:
    write(journal, 1, account_id="acct_2")
    for wanted in (name(0), "rcpt_0", "%FF", "a/b", "x" * 5_000):
        answer = await house.get(f"/v1/receipts/{wanted}")
        assert (answer.status, answer.error["code"]) == (404, "receipt_not_found")
        assert len(answer.error["message"]) < 300
    assert (await house.get("/v1/receipts")).json()["data"] == []
    after = await house.get(f"/v1/receipts?after={name(0)}")
    assert (after.status, after.error["param"]) == (400, "after")


async def test_pages(house: House, journal: Journal) -> None:
    write(journal, 25)
    seen, path = [], "/v1/receipts?"
    for size in (20, 4, 1):
        wanted = path if size == 20 else f"{path}&limit={size}"
        page = (await house.get(wanted)).json()
        assert page["has_more"] == (size != 1)
        assert len(page["data"]) == size
        seen += [one["receipt_id"] for one in page["data"]]
        path = f"/v1/receipts?after={page['last_id']}"
    assert seen == [name(number) for number in reversed(range(25))]
    assert (await house.get("/api/v1/receipts?limit=100")).json()["has_more"] is False


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1e1", "", "+5", "%D9%A1", "9" * 5_000, "x"])
async def test_a_limit_out_of_range(house: House, limit: str) -> None:
    answer = await house.get(f"/v1/receipts?limit={limit}")
    assert (answer.status, answer.error["param"]) == (400, "limit")


@pytest.mark.parametrize("path", ["/v1/receipts", "/v1/receipts/rcpt_1"])
async def test_not_without_a_key(house: House, path: str) -> None:
    assert (await house.send("GET", path)).status == 401
