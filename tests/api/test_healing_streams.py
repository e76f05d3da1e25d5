"""Streams that are healed: signs of life while all is held back, and words beside a call."""

import pytest
import trio
from trio.testing import MockClock

from tests.api.test_healing import OBJECT, TOOLS, one
from tests.fakes.house import House, model
from tests.fakes.streams import END, HEAD, LAST, ROLE, chunk, event, listen, streamed

BEAT = b": waiting\n\n"


@pytest.mark.parametrize(("way", "first"), [("buffer", "{"), ("stream", "{'")])
async def test_a_caller_who_gets_nothing_for_long_hears_that_we_are_alive(
    autojump_clock: MockClock, nursery: trio.Nursery, way: str, first: str
) -> None:
    """Everything is held from the first word on; a piece comes every four seconds."""
    pieces = [(4.0, event(chunk({"content": text}))) for text in (first, *["x "] * 20)]
    script = [(1.0, HEAD + event(ROLE)), *pieces, (1.0, END)]
    house = House(nursery, models=[model("cheap/m")], scripts={"cheap": [[script]]}, heartbeat=15)
    talking = streamed(house, x_kairosroute={"heal": way}, **OBJECT)
    answer = await listen(talking)
    assert answer.text == first + "x " * 20
    assert [at for at, data in talking.pieces if BEAT in data] == [21, 37, 53, 69, 85]
    assert answer.data[-1] == "[DONE]"


async def test_a_stream_that_nobody_edits_has_no_such_comments(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    pieces = [(4.0, event(chunk({}))) for _ in range(20)]
    script = [(1.0, HEAD + event(ROLE)), (1.0, event(chunk({"content": "a"}))), *pieces, (1.0, END)]
    house = House(nursery, models=[model("cheap/m")], scripts={"cheap": [[script]]}, heartbeat=15)
    answer = await listen(streamed(house))
    assert BEAT not in answer.body


@pytest.mark.parametrize("way", ["buffer", "stream"])
async def test_words_beside_a_call_are_given_back(
    autojump_clock: MockClock, nursery: trio.Nursery, way: str
) -> None:
    calls = [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}]
    said = "Looking up {'a': 1} now"
    end = event(chunk({}, "tool_calls")) + event(LAST) + event("[DONE]") + b"0\r\n\r\n"
    script = [
        (1.0, HEAD + event(ROLE)),
        (1.0, event(chunk({"content": said}))),
        (1.0, event(chunk({"tool_calls": calls}))),
        (1.0, end),
    ]
    answer = await listen(
        streamed(one(nursery, script), tools=TOOLS, x_kairosroute={"heal": way}, **OBJECT)
    )
    assert answer.text == said
    assert not {"healed", "unhealed"} & answer.chunks[-1]["x_kairosroute"].keys()
