"""One streamed attempt up to its commit point: what is no stream is found before it leaves."""

import pytest
import trio
from trio.testing import MockClock

from tests.fakes.house import House
from tests.fakes.scripted import head
from tests.fakes.streams import END, GOOD, HEAD, ONE, STOP, event, listen, streamed


@pytest.mark.parametrize("kind", [b"text/html", b"application/json; charset=utf-8"])
async def test_another_media_type_is_a_fault(
    autojump_clock: MockClock, nursery: trio.Nursery, kind: bytes
) -> None:
    page = head(200, b"transfer-encoding: chunked", b"content-type: " + kind)
    house = House(nursery, scripts={"cheap": [[[(0.0, page + event(ONE))]]], "dear": [[GOOD]]})
    assert (await listen(streamed(house))).text == "Onetwo"
    assert house.receipts[0].attempts[0].fault == "bad_body"


async def test_a_media_type_that_is_not_said_is_believed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    bare = head(200, b"transfer-encoding: chunked")
    house = House(nursery, scripts={"cheap": [[[(0.0, bare + event(ONE)), (0.0, END)]]]})
    assert (await listen(streamed(house))).text == "One"


async def test_an_answer_in_one_piece_is_committed_and_finished_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[[(1.0, HEAD + event(ONE) + END)]]]})
    answer = await listen(streamed(house))
    assert (answer.text, answer.data[-1], answer.whole) == ("One", "[DONE]", True)
    assert house.receipts[0].execution.latency == 1


async def test_a_finish_reason_without_a_word_is_a_good_end(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    script = [(1.0, HEAD + event(STOP)), (1.0, event("[DONE]"))]
    house = House(nursery, scripts={"cheap": [[script]], "dear": [[GOOD]]})
    answer = await listen(streamed(house))
    assert (answer.text, answer.data[-1]) == ("", "[DONE]")
    assert len(house.receipts[0].attempts) == 1
