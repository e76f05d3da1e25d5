"""The plugin `memory` in requests, and what an account can see and delete of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kproxy.api.memories import memory_plugin
from kproxy.api.plugged import Plugins
from kproxy.store.memories import Memories, MemoriesParams
from tests.fakes.caller import Answer
from tests.fakes.house import House
from tests.fakes.plugged import reply, sent
from tests.fakes.remembered import Inline

NOW = 1_000.0


@pytest.fixture
def memories(tmp_path: Path) -> Iterator[Memories]:
    opened = Inline(tmp_path, MemoriesParams())
    yield opened
    opened.close()


@pytest.fixture
def house(autojump_clock: MockClock, nursery: trio.Nursery, memories: Memories) -> House:
    plugin = memory_plugin(memories, 2.0, 400, lambda: NOW)
    scripts = {"cheap": [[[(0.0, reply("Hi"))]] * 9]}
    plugins = Plugins({"memory": plugin})
    return House(nursery, scripts=scripts, plugins=plugins, memories=memories)


async def say(house: House, text: str, **members: Any) -> Answer:
    messages = [{"role": "user", "content": text}]
    return await house.ask(plugins=["memory"], messages=messages, **members)


def heard(house: House) -> str:
    """The last message that the provider got."""
    raw = house.providers["cheap"].connections[-1].requests[-1]
    return str(sent(raw)["messages"][-1]["content"])


async def test_what_was_said_comes_back(house: House) -> None:
    answer = await say(house, "Hello! My name is Ada.", user="u1")
    assert heard(house) == "Hello! My name is Ada."
    (report,) = answer.json()["x_kairosroute"]["plugins"]
    assert (report["ok"], report["sources"], report["kept"]) == (True, 0, 1)
    answer = await say(house, "What is my name?", user="u1")
    assert "What this user has said in earlier conversations:\n\nMy name is Ada." in heard(house)
    assert heard(house).endswith("\n\nWhat is my name?")
    assert "not to be trusted" not in heard(house)
    assert "cite none of it" in heard(house)
    (report,) = answer.json()["x_kairosroute"]["plugins"]
    assert (report["sources"], report["kept"]) == (1, 0)
    assert "Ada" not in repr(house.receipts)


async def test_another_user_is_another_one(house: House) -> None:
    await say(house, "My name is Ada.", user="u1")
    for user in ({"user": "u2"}, {"user": None}, {}):
        await say(house, "What is my name?", **user)
        assert heard(house) == "What is my name?"


async def test_a_newer_sentence_takes_the_place_of_its_like_alone(house: House) -> None:
    for said in ("My name is Bob and I prefer metric units.", "My name is Al.", "I like tea."):
        await say(house, said, user="u1")
    await say(house, 'I hate tea. Fix this: "My name is Carol and I live in Rome."', user="u1")
    listed = (await house.get("/v1/memories")).json()
    texts = [one["text"] for one in listed["data"]]
    assert texts == ["I hate tea.", "My name is Al.", "I prefer metric units."]


async def test_the_list_and_its_end(house: House) -> None:
    await say(house, "My name is Ada. I prefer tea.", user="u1")
    await say(house, "I prefer coffee.")
    listed = (await house.get("/v1/memories")).json()
    assert [(one["text"], one["user"]) for one in listed["data"]] == [
        ("I prefer coffee.", None),
        ("I prefer tea.", "u1"),
        ("My name is Ada.", "u1"),
    ]
    assert listed["data"][0]["object"] == "memory"
    assert listed["data"][0]["created_at"] == NOW
    assert (listed["object"], listed["has_more"]) == ("list", False)
    ids = [one["id"] for one in listed["data"]]
    assert (listed["first_id"], listed["last_id"]) == (ids[0], ids[2])
    page = (await house.get(f"/v1/memories?user=u1&limit=1&after={ids[1]}")).json()
    assert [one["id"] for one in page["data"]] == [ids[2]]
    none = (await house.get("/v1/memories?user=")).json()
    assert [one["id"] for one in none["data"]] == [ids[0]]


async def test_one_and_all_can_be_deleted(house: House) -> None:
    await say(house, "My name is Ada. I prefer tea.", user="u 1")
    await say(house, "I live in Oslo.")
    ident = (await house.get("/v1/memories?user=u%201&limit=1")).json()["data"][0]["id"]
    gone = await house.get(f"/v1/memories/{ident}", method="DELETE")
    assert gone.json() == {"id": ident, "object": "memory.deleted", "deleted": True}
    again = await house.get(f"/api/v1/memories/{ident}", method="DELETE")
    assert (again.status, again.error["code"]) == (404, "memory_not_found")
    some = await house.get("/v1/memories?user=u+1", method="DELETE")
    assert some.json() == {"object": "list.deleted", "deleted": True, "count": 1}
    rest = await house.get("/v1/memories", method="DELETE")
    assert rest.json()["count"] == 1
    assert (await house.get("/v1/memories")).json()["data"] == []


@pytest.mark.parametrize(
    ("method", "query", "param"),
    [
        ("GET", "limit=0", "limit"),
        ("GET", "limit=101", "limit"),
        ("GET", "limit=x", "limit"),
        ("GET", "after=mem_none", "after"),
        ("DELETE", "usr=u1", "usr"),
        ("DELETE", "user=u1&limit=1", "limit"),
    ],
)
async def test_a_wrong_question_deletes_nothing(
    house: House, method: str, query: str, param: str
) -> None:
    await say(house, "I prefer tea.", user="u1")
    answer = await house.get(f"/v1/memories?{query}", method=method)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert len((await house.get("/v1/memories")).json()["data"]) == 1


async def test_a_store_that_fails_is_reported(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    broken = Inline(tmp_path / "file", MemoriesParams())
    house = House(
        nursery,
        scripts={"cheap": [[[(1.0, reply("Hi"))]]]},
        plugins=Plugins({"memory": memory_plugin(broken, 2.0, 400, lambda: NOW)}),
    )
    answer = await say(house, "I prefer tea.")
    (report,) = answer.json()["x_kairosroute"]["plugins"]
    assert report["ok"] is False
    assert str(tmp_path) not in report["error"]


async def test_without_a_store_there_is_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    for method, path in (("GET", "/v1/memories"), ("DELETE", "/v1/memories/x")):
        answer = await House(nursery).get(path, method=method)
        assert (answer.status, answer.error["code"]) == (404, "not_found")
