"""How an attempt is remembered, whatever its end (contract section 7)."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.api.record import ending_of
from kproxy.errors import BrokenStream, Fault, FaultKind, Rejected
from kproxy.ledger.settle import cost
from kproxy.outcome import Ending
from kproxy.transport.duplex import Broken, Expired
from tests.fakes.duplex import MemoryDuplex
from tests.fakes.house import CHEAP, House, model
from tests.fakes.scripted import Act, ok
from tests.fakes.streams import GOOD, HEAD, ONE, event, listen, streamed


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (Fault(FaultKind.RESET, "x"), Ending.FAULT),
        (BrokenStream(Fault(FaultKind.RESET, "x")), Ending.FAULT),
        (Rejected(400, "x", "x"), Ending.REJECTED),
        (Broken(MemoryDuplex(), "x"), Ending.CANCELLED),
        (Expired(MemoryDuplex()), Ending.CANCELLED),
        (KeyboardInterrupt(), Ending.CANCELLED),
    ],
)
def test_how_an_attempt_ended(error: BaseException, ending: Ending) -> None:
    assert ending_of(error) is ending


async def test_a_good_answer(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    house = House(nursery, scripts={"cheap": [[GOOD]]})
    await listen(streamed(house))
    (attempt,) = house.receipts[0].attempts
    assert (attempt.provider, attempt.model, attempt.ending) == ("cheap", "m", Ending.COMPLETE)
    assert (attempt.started, attempt.first_token, attempt.ended) == (0, 2, 4)
    assert attempt.usage is not None
    assert attempt.cost == cost(attempt.usage, CHEAP) == 2_000_000
    live = house.service.routes.snapshot(9)["cheap/m"].measured
    assert (live.samples, live.first_token_samples, live.error_rate) == (1, 1, 0.0)
    assert live.throughput_p50 == pytest.approx(250, rel=0.1), (
        "500 tokens in the 2 s behind the first"
    )


@pytest.mark.parametrize(
    ("script", "kind", "billed"),
    [
        ([(1.0, ok(b"", 500))], "unavailable", False),
        ([(1.0, ok(b"", 429))], "rate_limited", False),
        ([(1.0, Act.RESET)], "reset", False),
        ([], "first_token_timeout", True),
        ([(1.0, HEAD), (0.0, event("{"))], "bad_body", True),
        ([(1.0, HEAD), (0.0, event('{"error":{"code":1}}'))], "error_event", True),
    ],
)
async def test_what_a_failed_attempt_may_be_billed(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    script: list[tuple[float, bytes | Act]],
    kind: str,
    billed: bool,
) -> None:
    """An error status is not; a prompt that was worked on may be, and is estimated."""
    house = House(nursery, scripts={"cheap": [[script]], "dear": [[GOOD]]})
    await listen(streamed(house))
    attempt, winner = house.receipts[0].attempts
    assert (attempt.fault, attempt.usage is not None) == (kind, billed)
    assert bool(attempt.cost) is billed
    execution = house.receipts[0].execution
    assert execution.cost == (attempt.cost or 0) + (winner.cost or 0)
    assert execution.status is Ending.COMPLETE


async def test_a_caller_that_leaves_in_the_middle_pays_for_what_was_said(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[[(1.0, HEAD + event(ONE)), (9.0, event(ONE))]]]})
    talking = streamed(house)
    await talking.until(lambda: b"One" in talking.raw)
    talking.link.close()
    await wait_all_tasks_blocked()
    (receipt,) = house.receipts
    assert receipt.execution.status is Ending.CANCELLED
    assert receipt.execution.usage is not None
    assert receipt.execution.usage.estimated
    assert receipt.execution.usage.completion_tokens == 1
    assert receipt.execution.cost == receipt.attempts[0].cost > 0  # type: ignore[operator]
    assert receipt.execution.savings > 0, "the reference would have said it too, for more"


async def test_a_caller_that_leaves_before_a_word(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[[]]]})
    talking = streamed(house)
    await trio.sleep(1)
    talking.link.close()
    await wait_all_tasks_blocked()
    (attempt,) = house.receipts[0].attempts
    assert (attempt.ending, attempt.ended) == (Ending.CANCELLED, 1)
    assert attempt.usage is not None, "the provider was at work on it"
    assert attempt.usage.completion_tokens == 0
    assert house.receipts[0].execution.usage is None, "the caller was shown nothing"


async def test_a_refusal(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    house = House(nursery, scripts={"cheap": [[[(1.0, ok(b'{"error":{"message":"no"}}', 400))]]]})
    await house.ask()
    (receipt,) = house.receipts
    assert [one.ending for one in receipt.attempts] == [Ending.REJECTED]
    assert (receipt.execution.status, receipt.execution.cost) == (Ending.REJECTED, 0)


async def test_where_nothing_was_sent_nothing_is_estimated(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, models=[model("cheap/m")])
    await house.ask()
    (receipt,) = house.receipts
    assert {one.fault for one in receipt.attempts} == {"connect"}
    assert {one.usage for one in receipt.attempts} == {None}
    assert receipt.execution.cost == 0


async def test_an_unknown_price_makes_the_sum_unknown(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, models=[model("cheap/m", None)], scripts={"cheap": [[GOOD]]})
    await listen(streamed(house))
    assert house.receipts[0].execution.cost is None
    assert house.receipts[0].attempts[0].cost is None
