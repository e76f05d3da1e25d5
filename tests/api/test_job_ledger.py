"""The ledger's part in a request: no room, no request; no receipt, no good end."""

import msgspec
import pytest
import trio
from trio.testing import MockClock

from kproxy.store.database import StoreError
from tests.fakes.house import House
from tests.fakes.scripted import ok
from tests.fakes.streams import GOOD, listen, streamed

NOW = 1_764_072_000.0  # 2025-11-25 12:00:00 UTC
REPLY = ok(
    b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500}}'
)
SAYS = [(1.0, REPLY)]


async def test_without_room_for_a_receipt_nothing_is_dispatched(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = House(nursery, scripts={"cheap": [[SAYS]]})
    one.journal.healthy = False
    answer = await one.ask()
    assert (answer.status, answer.error["code"]) == (503, "ledger_unavailable")
    assert answer.headers["retry-after"] == "5"
    assert one.providers["cheap"].dialled == []
    assert one.at_rest()


async def test_a_receipt_that_finds_no_room_is_no_good_answer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    def refuse() -> None:
        raise StoreError("the disk is full")

    for stream in (False, True):
        one = House(nursery, scripts={"cheap": [[GOOD if stream else SAYS]]})
        one.journal.refuse = refuse
        if stream:
            answer = await listen(streamed(one))
            assert not answer.whole
            assert "[DONE]" not in answer.data
        else:
            answer = await one.ask()
            assert answer.status == 500
        assert len(one.receipts) == 1, "the journal holds it"
        assert one.at_rest()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_strict_ledger_is_waited_for_before_the_last_byte(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    one = House(nursery, scripts={"cheap": [[GOOD if stream else SAYS]]})
    one.journal.strict, one.journal.sync = True, 3.0
    if stream:
        talking = streamed(one)
        answer = await listen(talking)
        assert [at for at, _ in talking.pieces] == [2, 3, 7]
        assert answer.data[-1] == "[DONE]"
    else:
        answer = await one.ask()
        assert trio.current_time() == 4
    assert one.journal.durables[0][1] == 1, "behind its receipt"
    assert answer.whole


async def test_every_receipt_names_account_and_key(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = House(nursery, scripts={"cheap": [[SAYS]]}, unix_now=lambda: NOW)
    answer = await one.ask()
    (receipt,) = one.receipts
    assert (receipt.account_id, receipt.key_id, receipt.asked) == ("acct_1", "key_1", "auto")
    assert receipt.receipt_id == answer.json()["x_kairosroute"]["receipt_id"]
    assert receipt.arrived == NOW
    assert receipt.decision.fallback_chain == ("cheap/m", "dear/m")
    assert b'"Hi"' not in msgspec.json.encode(receipt)
