"""What a key may ask for, listed and one by one."""

import pytest
import trio
from trio.testing import MockClock

from tests.fakes.house import House, model

MODELS = (
    model("a/one", created=5),
    model("b/one", created=6),
    model("a/org/two", created=7),
    model("a/gone", enabled=False),
)


@pytest.fixture
def house(autojump_clock: MockClock, nursery: trio.Nursery) -> House:
    return House(nursery, models=MODELS)


async def test_every_enabled_id_once_and_auto_first(house: House) -> None:
    listed = (await house.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert [(one["id"], one["owned_by"], one["object"]) for one in listed["data"]] == [
        ("auto", "kairosroute", "model"),
        ("one", "a", "model"),
        ("org/two", "a", "model"),
    ]
    assert listed["data"][1]["created"] == 5


@pytest.mark.parametrize(
    ("path", "name", "owner"),
    [
        ("auto", "auto", "kairosroute"),
        ("one", "one", "a"),
        ("a/one", "a/one", "a"),
        ("b/one", "b/one", "b"),
        ("b%2Fone", "b/one", "b"),
        ("org/two", "org/two", "a"),
        ("a/org/two", "a/org/two", "a"),
        ("one?x=1", "one", "a"),
        ("%6Fne", "one", "a"),
    ],
)
async def test_one(house: House, path: str, name: str, owner: str) -> None:
    answer = await house.get(f"/v1/models/{path}")
    assert answer.status == 200
    assert (answer.json()["id"], answer.json()["owned_by"]) == (name, owner)


@pytest.mark.parametrize("path", ["two", "ONE", "gone", "a/gone", "c/one", "%FF", "one/", "a"])
async def test_another(house: House, path: str) -> None:
    answer = await house.get(f"/v1/models/{path}")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert answer.error["param"] == "model"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/one"])
async def test_not_without_a_key(house: House, path: str) -> None:
    assert (await house.send("GET", path)).status == 401
