"""Hedges and races of whole requests: who was asked when, what the caller got, what it all cost."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kproxy.api.record import AttemptRecord
from kproxy.outcome import Ending
from kproxy.routing.plan import Timeouts
from kproxy.schema.receipt import Receipt
from tests.fakes.duplex import MemoryDuplex
from tests.fakes.house import DEAR, House, model
from tests.fakes.scripted import Act, Answer, ok
from tests.fakes.streams import END, GOOD, HEAD, ONE, ROLE, TWO, event, listen, streamed

QUICK = [(0.5, HEAD + event(ONE)), (0.5, event(TWO) + END)]
SLOW = [(9.0, HEAD + event(ONE)), (1.0, event(TWO) + END)]
HEDGE = {"strategy": "hedge", "first_token_ms": 4_000}
"""A caller who wants a first token within 4 s: the second attempt starts after 2."""

RACE = {"strategy": "race"}


def house(nursery: trio.Nursery, cheap: Any, dear: Any, **more: Any) -> House:
    return House(nursery, scripts={"cheap": [cheap], "dear": [dear]}, **more)


def told(receipt: Receipt) -> list[tuple[str, float, float, Ending]]:
    """Provider, start, end and ending of each attempt, in the order in which they ended."""
    return [(one.provider, one.started, one.ended, one.ending) for one in receipt.attempts]


async def test_a_hedge_wins_and_the_loser_is_gone_at_that_instant(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, [SLOW], [QUICK])
    talking = streamed(one, x_kairosroute={**HEDGE, "explain": True})
    answer = await listen(talking)
    assert answer.text == "Onetwo"
    assert talking.pieces[0][0] == 2.5
    assert one.providers["dear"].dialled == [2]
    assert one.providers["cheap"].connections[0].closed == 2.5
    assert answer.headers["x-kairosroute-provider"] == "dear"
    ours = answer.chunks[-1]["x_kairosroute"]
    assert (ours["strategy"], ours["attempts"]) == ("hedge", 2)
    shown = [(line["provider"], line["ending"]) for line in ours["explain"]["attempts"]]
    assert shown == [("cheap", "superseded"), ("dear", "complete")]
    assert told(one.receipts[0]) == [
        ("cheap", 0, 2.5, Ending.SUPERSEDED),
        ("dear", 2, 3, Ending.COMPLETE),
    ]
    assert one.at_rest()


async def test_the_caller_does_not_wait_until_the_losers_are_gone(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = house(nursery, [SLOW], [QUICK])
    talking = streamed(one, deaf=True, x_kairosroute=RACE)
    had: list[int] = []
    give_up = AttemptRecord.give_up

    def watched(record: AttemptRecord) -> None:
        had.append(talking.link.unread)
        give_up(record)

    monkeypatch.setattr(AttemptRecord, "give_up", watched)
    await trio.sleep(0.6)
    assert had == [talking.link.unread], "the head and the first words, and not twice"
    assert had[0] > len(ONE)


async def test_what_the_kernel_does_not_take_early_is_not_lost(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = house(nursery, [SLOW], [QUICK])
    send = MemoryDuplex.send_nowait
    takes = iter([0, 10])

    def little(link: MemoryDuplex, data: bytes) -> int:
        if data.startswith(b"HTTP/1.1 200") and (most := next(takes, None)) is not None:
            return send(link, data[:most]) if most else 0
        return send(link, data)

    monkeypatch.setattr(MemoryDuplex, "send_nowait", little)
    answer = await listen(streamed(one, x_kairosroute=RACE))
    assert (answer.text, answer.whole) == ("Onetwo", True)
    assert next(takes, "both") == "both"


async def test_what_the_loser_may_have_cost_is_part_of_the_cost(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, [SLOW], [QUICK])
    answer = await listen(streamed(one, x_kairosroute=HEDGE))
    loser, winner = one.receipts[0].attempts
    assert loser.usage is not None
    assert loser.usage.estimated, "its provider never told"
    assert loser.usage.completion_tokens == 0
    assert winner.usage is not None
    assert not winner.usage.estimated
    execution = one.receipts[0].execution
    assert execution.cost == (loser.cost or 0) + (winner.cost or 0)
    assert execution.usage == winner.usage, "the caller was shown the winner's words alone"
    assert answer.chunks[-1]["x_kairosroute"]["cost_usd"] * 1e9 == execution.cost


async def test_a_first_attempt_in_time_is_alone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, [QUICK], [QUICK])
    answer = await listen(streamed(one, x_kairosroute=HEDGE))
    assert answer.chunks[-1]["x_kairosroute"]["attempts"] == 1
    assert one.providers["dear"].dialled == []


async def test_the_first_may_still_win(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    later = [(2.2, HEAD + event(ONE)), (0.5, END)]
    one = house(nursery, [later], [QUICK])
    await listen(streamed(one, x_kairosroute=HEDGE))
    assert told(one.receipts[0]) == [
        ("dear", 2, 2.2, Ending.SUPERSEDED),
        ("cheap", 0, 2.7, Ending.COMPLETE),
    ]
    assert one.at_rest()


async def test_patience_is_what_the_route_has_shown(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Twenty first tokens after half a second: the twenty-first is waited for no longer."""
    one = house(nursery, [*[QUICK] * 20, SLOW], [QUICK]).policy(strategy="hedge")
    for _ in range(20):
        await listen(streamed(one))
    assert one.providers["dear"].dialled == []
    await trio.sleep(1)
    start = trio.current_time()
    await listen(streamed(one))
    waited = one.providers["dear"].dialled[0] - start
    assert waited == pytest.approx(0.5, rel=0.1)


async def test_few_samples_start_no_hedge(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, [*[QUICK] * 19, SLOW], [QUICK]).policy(strategy="hedge")
    for _ in range(20):
        await listen(streamed(one))
    assert one.providers["dear"].dialled == []


async def test_a_hedge_has_its_price(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The budget starts with one, and twenty requests pay for the next."""
    one = house(nursery, [SLOW] * 3, [QUICK] * 3)
    for _ in range(2):
        one.service.hedges.withdraw(trio.current_time())
    answer = await listen(streamed(one, x_kairosroute={**HEDGE, "first_token_ms": 10_000}))
    assert answer.chunks[-1]["x_kairosroute"]["attempts"] == 1


@pytest.mark.parametrize("case", ["overloaded", "crowded", "capped"])
async def test_when_no_hedge_is_started(
    autojump_clock: MockClock, nursery: trio.Nursery, case: str
) -> None:
    one = house(nursery, [SLOW], [QUICK])
    wish = {**HEDGE, "first_token_ms": 10_000}
    if case == "overloaded":
        one.overloaded = True
    elif case == "crowded":
        for _ in range(4):
            await one.pools["dear"]._gate.acquire()
    else:
        wish["max_cost_usd"] = 0.0055  # the dear one's estimate alone is 0.0052
    answer = await listen(streamed(one, x_kairosroute=wish))
    assert answer.headers["x-kairosroute-provider"] == "cheap"
    assert one.receipts[0].execution.latency == 10
    assert len(one.receipts[0].attempts) == 1


async def test_a_race_asks_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, [SLOW], [QUICK])
    answer = await listen(streamed(one, x_kairosroute=RACE))
    assert answer.chunks[-1]["x_kairosroute"]["strategy"] == "race"
    assert told(one.receipts[0]) == [
        ("cheap", 0, 0.5, Ending.SUPERSEDED),
        ("dear", 0, 1, Ending.COMPLETE),
    ]
    assert one.service.routes.snapshot(9)["cheap/m"].measured.waits_samples == 0


async def test_who_lost_a_hedge_counts_with_what_it_waited(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, [SLOW], [QUICK])
    await listen(streamed(one, x_kairosroute=HEDGE))
    seen = one.service.routes.snapshot(9)["cheap/m"].measured
    assert seen.waits is not None
    assert seen.waits.p50 == pytest.approx(2.5, rel=0.1)
    assert seen.first_token is None


WHOLE = ok(
    b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}'
)


async def test_whole_answers_race_too(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, [[(3.0, WHOLE)]], [[(1.0, WHOLE)]])
    answer = await one.ask(x_kairosroute=RACE)
    assert trio.current_time() == 1
    assert answer.headers["x-kairosroute-provider"] == "dear"
    assert told(one.receipts[0]) == [
        ("cheap", 0, 1, Ending.SUPERSEDED),
        ("dear", 0, 1, Ending.COMPLETE),
    ]
    assert one.at_rest()


async def test_a_whole_answer_that_wants_to_be_quick_is_hedged(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, [[(30.0, WHOLE)]], [[(1.0, WHOLE)]])
    answer = await one.ask(preferred_max_latency=4_000)
    assert trio.current_time() == 3
    assert answer.json()["x_kairosroute"]["strategy"] == "hedge"


async def test_a_refusal_stops_a_race(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    body = b'{"error":{"message":"no","code":"content_filter"}}'
    one = house(nursery, [SLOW], [[(1.0, ok(body, 400))]])
    answer = await one.ask(stream=True, x_kairosroute=RACE)
    assert (answer.status, answer.error["code"]) == (400, "content_filter")
    assert trio.current_time() == 1
    assert told(one.receipts[0]) == [
        ("dear", 0, 1, Ending.REJECTED),
        ("cheap", 0, 1, Ending.SUPERSEDED),
    ]
    assert one.receipts[0].execution.status is Ending.REJECTED
    assert one.at_rest()


FAILING: list[tuple[str, Answer]] = [
    ("reset", [(1.0, Act.RESET)]),
    ("unavailable", [(1.0, ok(b"", 500))]),
    ("no_content", [(1.0, HEAD + event(ROLE)), (0.0, event("[DONE]"))]),
]


@pytest.mark.parametrize(("kind", "script"), FAILING, ids=[kind for kind, _ in FAILING])
async def test_a_lone_provider_is_asked_again(
    autojump_clock: MockClock, nursery: trio.Nursery, kind: str, script: Answer
) -> None:
    scripts = {"cheap": [[script, GOOD], [GOOD]]}  # where the connection is kept, and where not
    one = House(nursery, models=[model("cheap/m", DEAR)], scripts=scripts)
    answer = await listen(streamed(one))
    assert answer.text == "Onetwo"
    first, second = one.receipts[0].attempts
    assert (first.fault, second.ending) == (kind, Ending.COMPLETE)
    assert first.ended < second.started < first.ended + 0.2
    assert answer.chunks[-1]["x_kairosroute"]["attempts"] == 2


async def test_a_provider_that_keeps_failing_is_left_alone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Three failures, then nothing but one probe after the rest."""
    down = [(0.0, ok(b"", 503))]
    one = house(nursery, [down] * 9, [GOOD] * 9)
    for _ in range(6):
        await listen(streamed(one))
    assert [len(receipt.attempts) for receipt in one.receipts] == [2, 2, 2, 1, 2, 1]


async def test_when_all_rest_the_caller_is_told_when_to_come_back(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = House(nursery, models=[model("cheap/m")])  # every connection is refused
    assert (await one.ask()).status == 503
    answer = await one.ask()
    assert (answer.status, answer.error["code"]) == (503, "all_models_unavailable")
    assert answer.headers["retry-after"] == "5"
    assert len(one.providers["cheap"].dialled) == 3
    assert len(one.receipts) == 1, "the second was not admitted"


async def test_one_request_is_not_spent_on_one_provider(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Four models of a provider that is down, all cheaper: the healthy one is asked second."""
    down = [model(f"cheap/{name}") for name in "abcd"]
    one = House(nursery, models=[*down, model("dear/m", DEAR)], scripts={"dear": [[GOOD] * 9]})
    for _ in range(9):
        assert (await listen(streamed(one))).text == "Onetwo"
    assert {len(receipt.attempts) for receipt in one.receipts} == {1, 2}


async def test_the_last_failure_says_when_to_come_back(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = House(nursery, models=[model("cheap/m")])
    answer = await one.ask()
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


async def test_a_reader_that_dawdles_is_bound_by_the_total(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, [QUICK], [], timeouts=Timeouts(100, 10, 5))
    talking = streamed(one, deaf=True)
    await trio.sleep(101)
    assert one.at_rest()
    assert not talking.ended


async def test_a_hasty_caller_closes_nothing_to_others(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, [], [], timeouts=Timeouts(100, 50, 5))
    one.providers["cheap"]._script = [[SLOW]] * 9
    for _ in range(4):
        await one.ask(model="cheap/m", stream=True, x_kairosroute={"deadline_ms": 100})
    assert one.service.routes.snapshot(99)["cheap/m"].resting == 0
    assert all(receipt.attempts[0].fault == "total_timeout" for receipt in one.receipts)


async def test_thresholds_order_by_what_was_seen(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, [SLOW] * 4, [QUICK] * 4)
    for _ in range(3):
        await listen(streamed(one, model="cheap/m"))
    answer = await listen(streamed(one, preferred_max_latency=8_000))
    assert answer.headers["x-kairosroute-provider"] == "dear"
    reasons = one.receipts[-1].candidates[1].reasons
    assert any("P75" in reason for reason in reasons)
    wants_both = await listen(streamed(one, model="cheap/m", preferred_max_latency=8_000))
    assert wants_both.status == 200, "never excluded"
