"""A stream holds no more of its prompt than it needs: what was sent once is not kept twice."""

import tracemalloc

import trio
from trio.testing import MockClock

from tests.fakes.house import House
from tests.fakes.streams import END, HEAD, ONE, TWO, event, listen, streamed

PROMPT = "a long story " * 400_000  # 5.2 MB

SLOW = [(1.0, HEAD + event(ONE)), (4.0, event(TWO)), (1.0, END)]


async def test_the_body_goes_when_nobody_else_will_be_asked(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[SLOW]]})
    talking = streamed(house, messages=[{"role": "user", "content": PROMPT}])
    tracemalloc.start()
    try:
        await trio.sleep(3)  # between the two words
        now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The scripted provider keeps what it was sent, and the decoded words are one more.
    assert most > 2.5 * len(PROMPT)
    assert now < 2.5 * len(PROMPT)
    assert (await listen(talking)).text == "Onetwo"
