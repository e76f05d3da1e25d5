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
from tests.fakes.streams import END, GOOD, HEAD, LAST, ONE, STOP, event, listen, streamed


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (Fault(FaultKind.RESET, "x"), Ending.FAULT),
        (BrokenStream(Fault(FaultKind.RESET, "x")), Ending.FAULT),
        (Rejected(400, "x", "x"), Ending.REJECTED),
        (Broken(MemoryDuplex(), "x"), Ending.CANCELLED),
        (Expired(MemoryDuplex()), Ending.CANCELLED),
        (KeyboardInterrupt(), Ending.CANCELLED),
        (ValueError(), Ending.ERROR),
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
    assert (live.samples, live.waits_samples, live.error_rate) == (1, 1, 0.0)
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


async def test_nothing_is_settled_before_it_is_adopted(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Two whole answers in the same instant: one is shown, and one of each is remembered."""
    at_once = [(1.0, HEAD + event(ONE) + END)]
    house = House(nursery, scripts={"cheap": [[at_once]], "dear": [[at_once]]})
    answer = await listen(streamed(house, x_kairosroute={"strategy": "race"}))
    (receipt,) = house.receipts
    endings = {one.provider: one.ending for one in receipt.attempts}
    shown = answer.headers["x-kairosroute-provider"]
    assert endings[shown] is Ending.COMPLETE
    assert sorted(ending.value for ending in endings.values()) == ["complete", "superseded"]
    assert receipt.attempts[-1].first_token == 1
    assert receipt.execution.usage == receipt.attempts[-1].usage
    counted = sum(
        house.counted("kproxy_attempts_total", provider=one, model="m", ending=ending)
        for one in ("cheap", "dear")
        for ending in ("complete", "superseded", "cancelled")
    )
    assert counted == 2


async def test_a_whole_answer_that_lost_has_told_its_usage(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    reply = ok(
        b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":10,"completion_tokens":7,"total_tokens":17}}'
    )
    house = House(nursery, scripts={"cheap": [[[(1.0, reply)]]], "dear": [[[(1.0, reply)]]]})
    await house.ask(x_kairosroute={"strategy": "race"})
    loser, winner = house.receipts[0].attempts
    assert (loser.ending, winner.ending) == (Ending.SUPERSEDED, Ending.COMPLETE)
    assert loser.usage == winner.usage, "it was read before it was known that nobody wants it"


async def test_what_comes_behind_the_cost_changes_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    script = [(1.0, HEAD + event(ONE)), (1.0, event(STOP) + event(LAST)), (1.0, event("{"))]
    house = House(nursery, scripts={"cheap": [[script]]})
    answer = await listen(streamed(house))
    assert (answer.data[-1], answer.whole) == ("[DONE]", True)
    assert house.receipts[0].execution.status is Ending.COMPLETE
    assert house.providers["cheap"].open == 0, "its connection is not kept"


@pytest.mark.parametrize("script", [[(1.0, HEAD), (1.0, Act.CLOSE)], [(1.0, HEAD + b"zz\r\n")]])
async def test_once_a_200_has_come_a_prompt_may_be_billed(
    autojump_clock: MockClock, nursery: trio.Nursery, script: list[tuple[float, bytes | Act]]
) -> None:
    house = House(nursery, scripts={"cheap": [[script]], "dear": [[GOOD]]})
    await listen(streamed(house))
    attempt = house.receipts[0].attempts[0]
    assert attempt.usage is not None
    assert (attempt.usage.estimated, attempt.usage.completion_tokens) == (True, 0)


async def test_estimates_of_losers_are_marked(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[[]]], "dear": [[GOOD]]})
    answer = await listen(streamed(house))
    assert answer.chunks[-1]["x_kairosroute"]["estimated"] is True


async def test_a_mistake_of_ours_is_not_the_callers_leaving(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    house = House(nursery, scripts={"cheap": [[GOOD]]})
    monkeypatch.setattr("kproxy.dialect.openai.OpenAI.read_chunk", fail)
    answer = await house.ask(stream=True)
    assert answer.status == 500
    (receipt,) = house.receipts
    assert receipt.execution.status is Ending.ERROR
    assert [one.ending for one in receipt.attempts] == [Ending.ERROR]
    assert receipt.execution.charged_tokens == 0
    assert house.at_rest()
