"""What callers' schemas may make the event loop do: counted, never timed."""

import json
from typing import Any

import anyio.to_process
import pytest
import trio
from trio.testing import MockClock

from kproxy.guard import schemas
from kproxy.guard.forms import check_by, heal_by
from kproxy.guard.schemas import AT_ONCE, MOST_PATTERNS
from tests.api.test_healing import content, one, ours, says
from tests.fakes.scripted import ok

PATTERNS = {"properties": {f"a{at}": {"pattern": f"(a|b){{50}}{at}"} for at in range(100)}}
WIDE = {"enum": list(range(AT_ONCE - 10))}


def schema(value: object) -> dict[str, Any]:
    asked_for = {"name": "x", "schema": value}
    return {"response_format": {"type": "json_schema", "json_schema": asked_for}}


def tools(count: int, parameters: object) -> list[dict[str, Any]]:
    return [
        {"type": "function", "function": {"name": f"f{number}", "parameters": parameters}}
        for number in range(count)
    ]


def calling(*names: str) -> list[tuple[float, bytes]]:
    """A provider whose model calls these, with arguments that need to be healed."""
    (after, reply), *_ = says("", finish="tool_calls", calls=("{'a': 1}",) * len(names))
    for name in names:
        reply = reply.replace(b'"name": "f"', b'"name": "%b"' % name.encode(), 1)
    return [(after, ok(reply[reply.index(b"{") :]))]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The schemas that were compiled here."""
    seen: list[object] = []
    real = schemas._compiled

    def compile_(library: Any, value: object, param: str) -> object:
        seen.append(value)
        return real(library, value, param)

    monkeypatch.setattr(schemas, "_compiled", compile_)
    return seen


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What another process was told to do; it does nothing but what a schema of ours says."""
    seen: list[Any] = []

    async def run_sync(work: Any, *given: Any, **options: Any) -> Any:
        await trio.lowlevel.checkpoint()
        seen.append(work)
        if work is check_by:
            return "Invalid: no." if b"wrong" in given[0] else None
        return heal_by(given[0], given[1], None, given[3])

    monkeypatch.setattr(anyio.to_process, "run_sync", run_sync)
    return seen


async def test_of_many_tools_only_what_is_called_is_compiled(
    autojump_clock: MockClock, nursery: trio.Nursery, compiled: list[object]
) -> None:
    house = one(nursery, calling("f3", "f3", "f5"))
    answer = await house.ask(tools=tools(200, {"type": "object"}), x_kairosroute={"heal": True})
    assert ours(answer)["healed"] is True
    assert compiled == [{"type": "object"}] * 2


async def test_the_sum_of_what_is_compiled_for_an_answer_is_bounded(
    autojump_clock: MockClock, nursery: trio.Nursery, compiled: list[object]
) -> None:
    names = [f"f{number}" for number in range(50)]
    answer = await one(nursery, calling(*names)).ask(
        tools=tools(50, WIDE), x_kairosroute={"heal": True}
    )
    assert len(compiled) == 5
    assert answer.status == 200


@pytest.mark.parametrize("count", [1, 200])
async def test_patterns_are_compiled_elsewhere(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    compiled: list[object],
    elsewhere: list[Any],
    count: int,
) -> None:
    """Few of them, and many: no more than four schemas of an answer."""
    assert len(PATTERNS["properties"]) == MOST_PATTERNS
    names = [f"f{number}" for number in range(count)]
    answer = await one(nursery, calling(*names)).ask(
        tools=tools(200, PATTERNS), x_kairosroute={"heal": True}
    )
    assert compiled == []
    assert elsewhere == [heal_by] * min(count, 4)
    done = ours(answer)["healing"]
    assert ("unchecked" in done) is (count > 4)


async def test_a_large_schema_of_the_answer_is_read_and_used_elsewhere(
    autojump_clock: MockClock, nursery: trio.Nursery, compiled: list[object], elsewhere: list[Any]
) -> None:
    answer = await one(nursery, says("{'a': 1}")).ask(**schema(PATTERNS))
    assert (content(answer), compiled) == ('{"a": 1}', [])
    assert elsewhere == [check_by, heal_by]


async def test_a_large_schema_that_cannot_be_used_is_refused(
    autojump_clock: MockClock, nursery: trio.Nursery, elsewhere: list[Any]
) -> None:
    house = one(nursery, says("{}"))
    answer = await house.ask(**schema({**PATTERNS, "type": "wrong"}))
    assert (answer.status, answer.error["param"]) == (400, "response_format.json_schema.schema")
    assert (elsewhere, house.receipts) == ([check_by], [])
    assert house.providers["cheap"].dialled == []


async def test_nobody_waits_for_ever_for_a_schema(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_sync(*given: Any, **options: Any) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(anyio.to_process, "run_sync", run_sync)
    answer = await one(nursery, says("{}")).ask(**schema(PATTERNS))
    assert (answer.status, answer.error["code"]) == (503, "healing_unavailable")
    assert trio.current_time() == 3


async def test_a_small_schema_that_cannot_be_used_is_refused_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery, elsewhere: list[Any]
) -> None:
    answer = await one(nursery, says("{}")).ask(**schema({"type": "word"}))
    assert (answer.status, answer.error["param"]) == (400, "response_format.json_schema.schema")
    assert elsewhere == []


async def test_a_tool_s_schema_that_cannot_be_used_says_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    answer = await one(nursery, calling("f0")).ask(
        tools=tools(1, {"type": "word"}), x_kairosroute={"heal": True}
    )
    call = answer.json()["choices"][0]["message"]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"]) == {"a": 1}
