"""Who waits, how long, and which children are kept: on a virtual clock, with children that are
played. Each lives until it is closed and answers at once, unless it is told otherwise.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.plugins import layers
from kproxy.plugins import sandbox as sandboxes
from kproxy.plugins.cell import CellFailed
from kproxy.plugins.guest import Ended
from kproxy.plugins.layers import Layer
from kproxy.plugins.sandbox import Sandbox, SandboxParams, open_sandbox

HOLD = tuple(Layer(name, True, "") for name in layers.LAYERS)


class Played:
    """A child. Code that is a number takes so many seconds."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.layers = HOLD
        self.alive = True
        self.ran: list[str] = []
        self.closed = False

    async def run(self, code: str, seconds: float, most: int) -> tuple[Ended, str]:
        assert self.alive
        self.ran.append(code)
        if code.startswith("print"):
            return Ended(result="42"), "proof\n"
        with trio.move_on_after(seconds):
            await trio.sleep(float(code))
            return Ended(), str(self.pid)
        return Ended("time"), ""

    def kill(self) -> None:
        self.alive = False

    async def close(self) -> None:
        self.kill()
        self.closed = True


class Stage:
    """Where the children come from."""

    def __init__(self) -> None:
        self.children: list[Played] = []
        self.failing = False
        self.tried: list[float] = []
        self._pids = count()

    async def open_cell(self, launch: object, seconds: float) -> Played:
        self.tried.append(trio.current_time())
        if self.failing:
            raise CellFailed("no memory")
        child = Played(next(self._pids))
        self.children.append(child)
        return child

    @property
    def alive(self) -> int:
        return sum(child.alive for child in self.children)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage()
    monkeypatch.setattr(sandboxes, "open_cell", stage.open_cell)
    yield stage
    assert all(child.closed for child in stage.children)
    assert all(len(child.ran) <= 1 for child in stage.children), "a child ran twice"


@asynccontextmanager
async def opened(**changed: float) -> AsyncIterator[Sandbox]:
    given = {"seconds": 10.0, "children": 2, "queue": 3, "wait": 5.0, "idle": 60.0} | changed
    async with open_sandbox(SandboxParams(**given)) as sandbox:  # type: ignore[arg-type]
        yield sandbox


async def test_at_most_so_many_live_at_once(stage: Stage, autojump_clock: MockClock) -> None:
    async with opened() as sandbox:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(sandbox.run, "1")
            await wait_all_tasks_blocked()
            assert stage.alive == 2
            assert sandbox.statistics() == (2, 1)
        assert [child.ran for child in stage.children].count(["1"]) == 3


async def test_who_comes_on_top_of_a_full_queue_hears_busy(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with opened(children=1, queue=1) as sandbox, trio.open_nursery() as nursery:
        nursery.start_soon(sandbox.run, "1")
        await wait_all_tasks_blocked()
        nursery.start_soon(sandbox.run, "1")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        assert (await sandbox.run("1")).error == "busy"
        assert trio.current_time() == began


async def test_who_waits_for_too_long_hears_busy(stage: Stage, autojump_clock: MockClock) -> None:
    async with opened(children=1) as sandbox, trio.open_nursery() as nursery:
        nursery.start_soon(sandbox.run, "9")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        assert (await sandbox.run("1")).error == "busy"
        assert trio.current_time() - began == pytest.approx(5.0)
        assert sandbox.statistics() == (1, 0)


async def test_code_is_given_its_time_and_a_little(stage: Stage, autojump_clock: MockClock) -> None:
    async with opened() as sandbox:
        assert (await sandbox.run("10")).error is None
        late = await sandbox.run("11")
        assert late.error == "time"
        assert 10 < late.seconds < 10.2


async def test_children_are_let_go_when_nobody_comes(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with opened() as sandbox:
        await sandbox.run("1")
        await wait_all_tasks_blocked()
        assert stage.alive == 2
        await trio.sleep(61)
        assert stage.alive == 0
        made = len(stage.children)
        await trio.sleep(1_000)
        assert len(stage.children) == made
        assert (await sandbox.run("1")).error is None


async def test_a_child_that_died_waiting_is_passed_over(
    stage: Stage, autojump_clock: MockClock
) -> None:
    async with opened(children=1) as sandbox:
        await sandbox.run("1")
        await wait_all_tasks_blocked()
        stage.children[-1].alive = False
        assert (await sandbox.run("1")).error is None


async def test_where_none_comes_up_it_is_tried_again_each_second(
    stage: Stage, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(children=1) as sandbox:
        stage.failing = True
        stage.tried.clear()
        began = trio.current_time()
        assert (await sandbox.run("1")).error == "busy"
        assert [round(at - began) for at in stage.tried] == [0, 1, 2, 3, 4]
        assert "no memory" in caplog.text
        stage.failing = False
        assert (await sandbox.run("1")).error is None


async def test_a_cancelled_caller_ends_the_child(stage: Stage, autojump_clock: MockClock) -> None:
    async with opened(children=1) as sandbox:
        with trio.move_on_after(1):
            await sandbox.run("9")
        assert [child.alive for child in stage.children if child.ran == ["9"]] == [False]


async def test_a_cancelled_waiter_leaves_no_trace(stage: Stage, autojump_clock: MockClock) -> None:
    async with opened(children=1) as sandbox, trio.open_nursery() as nursery:
        nursery.start_soon(sandbox.run, "3")
        await wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await sandbox.run("1")
        assert sandbox.statistics() == (1, 0)
