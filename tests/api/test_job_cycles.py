"""What a request leaves behind goes by itself: no cycle holds a prompt until cycles are looked for,
which is seldom (`app.YOUNG`)."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.fakes.house import House
from tests.fakes.plugged import reply
from tests.fakes.scripted import head
from tests.fakes.streams import GOOD, HEAD, ONE, event, listen, streamed

CUT = [(0.1, HEAD + event(ONE)), (0.1, b"zz\r\n")]
FAILED = [(0.1, head(500, b"content-length: 0"))]


@contextmanager
def left_in_cycles() -> Iterator[list[str]]:
    """Types of ours that only a search for cycles would find; known at the end."""
    found: list[str] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        ours = [type(one) for one in gc.garbage if type(one).__module__.startswith("kproxy")]
        found += [kind.__qualname__ for kind in ours]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize(
    "scripts",
    [
        pytest.param({"cheap": [[GOOD]]}, id="a good end"),
        pytest.param({"cheap": [[CUT]]}, id="broken"),
        pytest.param({"cheap": [[FAILED]], "dear": [[GOOD]]}, id="by another provider"),
    ],
)
async def test_a_stream_leaves_no_cycle(
    autojump_clock: MockClock, nursery: trio.Nursery, scripts: dict[str, Any]
) -> None:
    house = House(nursery, scripts=scripts)
    with left_in_cycles() as found:
        talking = streamed(house)
        await listen(talking)
        await trio.sleep(300)  # timers, too
        del talking
    assert not found


async def test_a_whole_answer_leaves_no_cycle(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[[(0, reply("Hello"))]]]})
    with left_in_cycles() as found:
        assert (await house.ask()).status == 200
        await trio.sleep(300)
    assert not found
