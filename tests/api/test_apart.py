"""Healing apart from the event loop: what goes there, that it comes back, and that it ends."""

import json
import math
from contextlib import suppress
from pathlib import Path
from threading import get_ident
from typing import Any

import anyio
import anyio.to_process
import pytest
import trio
from trio.testing import MockClock

from kproxy.api.apart import LONGEST, Apart
from kproxy.guard.forms import heal_by
from kproxy.guard.heal import MAX_TEXT, Form, Healed
from kproxy.guard.schemas import peek_schema, read_schema
from tests.fakes.endless import endless

LONG = json.dumps([{"name": "x" * 50, "ok": True}] * 2_000).replace("true", "True")
TWICE = {"allOf": [{"properties": {"a": {"$ref": "#"}}}] * 2}
DEEP = '{"a":' * 60 + "1" + "}" * 60


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was sent to another process; it is done here instead."""
    seen: list[tuple[Any, ...]] = []

    async def run_sync(work: Any, *given: Any, **options: Any) -> Any:
        await trio.lowlevel.checkpoint()
        seen.append(given)
        assert options["cancellable"] is True
        assert options["limiter"].total_tokens == 2
        return work(*given)

    monkeypatch.setattr(anyio.to_process, "run_sync", run_sync)
    return seen


async def healed(text: str, form: Form | None = None) -> Healed:
    return await Apart().heal(text, "stop", form or Form(), math.inf)


async def test_small_texts_are_healed_at_once(sent: list[Any]) -> None:
    assert (await healed("{'a': 1}")).text == '{"a": 1}'
    assert (await healed("no")).healed is False
    assert sent == []


async def test_long_texts_that_are_good_are_seen_at_once(sent: list[Any]) -> None:
    text = LONG.replace("True", "true")
    assert await healed(text) == Healed(text)
    assert (await healed("x" * (MAX_TEXT + 1))).why == "too_large"
    assert sent == []
    assert await healed(text, Form(read_schema(b"true", "p"))) == Healed(text)
    assert len(sent) == 1, "a schema needs the value, which takes longer"


async def test_long_texts_are_healed_apart(sent: list[Any]) -> None:
    assert (await healed(LONG)).done == ("literals",)
    assert len(sent) == 1


async def test_a_text_with_many_mends_is_healed_apart(sent: list[Any]) -> None:
    text = "[" + "+1, " * 3_000 + "1]"
    assert (await healed(text)).done == ("numbers",)
    assert len(sent) == 1


async def test_a_schema_that_takes_long_is_checked_apart(sent: list[Any]) -> None:
    form = Form(read_schema(json.dumps({"type": "object"}).encode(), "p"))
    assert await healed(DEEP, form) == Healed(DEEP)
    assert sent == []
    small = '{"a": [' + ", ".join("[]" for _ in range(30)) + "]}"
    form = Form(read_schema(json.dumps(TWICE).encode(), "p"))
    assert await healed(small, form) == Healed(small)
    assert sent == [(small, "stop", json.dumps(TWICE).encode(), False)]


async def test_time_is_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_sync(*given: Any, **options: Any) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(anyio.to_process, "run_sync", run_sync)
    assert await healed(LONG) == Healed(LONG, healed=False, why="too_long")
    assert trio.current_time() == LONGEST
    await Apart().heal(LONG, "stop", Form(), trio.current_time() + 1)
    assert trio.current_time() == LONGEST + 1


@pytest.mark.parametrize("error", [anyio.BrokenWorkerProcess(), OSError()])
async def test_a_process_that_breaks_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def run_sync(*given: Any, **options: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    monkeypatch.setattr(anyio.to_process, "run_sync", run_sync)
    assert await healed(LONG) == Healed(LONG, healed=False, why="too_long")


@pytest.mark.loopback
def test_a_real_process_heals_and_one_that_does_not_end_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kproxy.api.apart.LONGEST", 60.0)

    def children() -> set[str]:
        found: set[str] = set()
        for task in Path("/proc/self/task").iterdir():
            with suppress(OSError):  # a thread that has just ended
                found.update((task / "children").read_text().split())
        return found

    async def main() -> tuple[Healed, Healed, Healed]:
        apart, before = Apart(), children()
        first = await apart.heal(LONG, "stop", Form(), math.inf)
        assert children() > before, "it is kept for the next text"
        monkeypatch.setattr("kproxy.api.apart.heal_by", endless)
        late = await apart.heal(LONG, "stop", Form(), trio.current_time() + 0.5)
        assert children() == before
        monkeypatch.setattr("kproxy.api.apart.heal_by", heal_by)
        return first, late, await apart.heal(LONG, "stop", Form(), math.inf)

    first, late, last = trio.run(main)
    assert first == last == heal_by(LONG, "stop", None, arguments=False)
    assert late == Healed(LONG, healed=False, why="too_long")


async def test_the_library_is_loaded_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the real clock. It takes 30 ms, and only the first time."""
    loaded: list[int] = []
    monkeypatch.setattr("kproxy.api.apart.must_load", lambda: not loaded)
    monkeypatch.setattr("kproxy.api.apart.load_validator", lambda: loaded.append(get_ident()))
    apart = Apart()
    for _ in range(2):
        await apart.check(Form(peek_schema(b'{"type": "object"}', "p")), math.inf)
    assert len(loaded) == 1
    assert loaded[0] != get_ident()
    await Apart().check(Form(), math.inf)
