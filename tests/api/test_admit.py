"""Admission of whole requests: rates, quotas, guardrails, own keys, and what is charged."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.admission.guardrails import Guardrails
from kproxy.admission.keys import Account, KeyRecord, Secret, digest
from kproxy.admission.quota import Amount
from kproxy.admission.tiers import TIERS
from kproxy.errors import Fault, FaultKind
from kproxy.outcome import Ending
from kproxy.routing.plan import Timeouts
from kproxy.store.counters import Counters, open_counters
from tests.fakes.caller import request
from tests.fakes.house import KEY, House, Talking, model
from tests.fakes.scripted import Act, ok
from tests.fakes.streams import HEAD, ONE, event, listen, streamed

NOW = 1_764_072_000.0  # 2025-11-25 12:00:00 UTC
REPLY = ok(
    b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500}}'
)
SAYS = [(1.0, REPLY)]
AT_ONCE = [[(0.0, REPLY)]] * 99
Make = Callable[..., House]


def record(tier: str = "unlimited", **fields: Any) -> KeyRecord:
    account = Account("acct_1", "default", tier, 0)
    return KeyRecord(account, "key_1", digest(KEY.encode()), "n", KEY[:8], 0, **fields)


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[Counters]:
    opened = open_counters(tmp_path, lambda month: (), NOW)
    yield opened
    opened.close()


@pytest.fixture
def house(nursery: trio.Nursery, counters: Counters) -> Make:
    """A house with real counters, whose key has these fields."""

    def make(key: KeyRecord, scripts: Any = None, **fields: Any) -> House:
        scripts = {"cheap": [[SAYS] * 99], "dear": [[SAYS] * 99]} if scripts is None else scripts
        fields |= {"scripts": scripts, "record": key, "unix_now": lambda: NOW, "limits": counters}
        return House(nursery, **fields)

    return make


# --- rates


async def test_the_rate_is_the_accounts(autojump_clock: MockClock, house: Make) -> None:
    """Five at once; of the sixth the body is not waited for."""
    one = house(record("free"), {"cheap": [AT_ONCE]})
    answers = [await one.ask(max_tokens=5) for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert answers[0].headers["x-ratelimit-limit-requests"] == "60"
    assert answers[0].headers["x-ratelimit-remaining-requests"] == "4"
    head = request("POST", "/v1/chat/completions", f"x-api-key: {KEY}", "content-length: 9999")
    talking = Talking(one, head)
    await talking.until(lambda: b"rate_limit_exceeded" in talking.raw)
    refused = talking.answer()
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert 0 < int(refused.headers["retry-after-ms"]) <= 1000
    assert trio.current_time() == 0
    assert len(one.receipts) == 5, "the sixth was not admitted"
    await trio.sleep(1)
    assert (await one.ask(max_tokens=5)).status == 200


async def test_without_limits_nothing_is_said_of_them(
    autojump_clock: MockClock, house: Make
) -> None:
    answer = await house(record()).ask()
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


# --- quotas


async def test_tokens_are_reserved_and_settled(autojump_clock: MockClock, house: Make) -> None:
    one = house(record("team"))
    answer = await one.ask(max_tokens=100_000)
    left = int(answer.headers["x-ratelimit-remaining-tokens"])
    assert 9_899_900 < left < 9_900_000, "the month's 10 M, less what it may use"
    again = await one.ask(max_tokens=100_000)
    used = left - int(again.headers["x-ratelimit-remaining-tokens"])
    assert used == 1500, "what the first has used, not what it had reserved"
    assert one.receipts[0].execution.charged_tokens == 1500


async def test_a_month_that_is_used_up(autojump_clock: MockClock, house: Make) -> None:
    hard = record("free", provider_keys={"cheap": Secret("sk-own"), "dear": Secret("sk-own")})
    answer = await house(hard).ask(max_tokens=200_000)
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"
    assert int(answer.headers["retry-after"]) == 5.5 * 86_400, "to the end of November"


async def test_trial_credit_is_money(autojump_clock: MockClock, house: Make) -> None:
    one = house(record("free"))
    answer = await one.ask(max_tokens=5)
    assert answer.status == 200
    execution = one.receipts[0].execution
    assert (execution.charged_tokens, execution.charged_spend) == (0, execution.cost)
    refused = await one.ask(model="dear/m", max_tokens=300_000)
    assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
    assert "trial credit" in refused.error["message"]


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ([(1.0, ok(b"", 503))], Ending.FAULT),
        ([(1.0, ok(b'{"error":{"message":"no"}}', 400))], Ending.REJECTED),
        ([(1.0, HEAD + event(ONE)), (1.0, Act.CLOSE)], Ending.FAULT),
    ],
)
async def test_refused_and_failed_requests_cost_nothing(
    autojump_clock: MockClock, house: Make, script: Any, status: Ending
) -> None:
    one = house(record("team"), {"cheap": [[script]], "dear": [[SAYS, SAYS]]}).policy(retries=0)
    before = (await one.ask(model="dear/m", max_tokens=9)).headers
    await one.ask(model="cheap/m", max_tokens=9, stream=True)
    assert one.receipts[1].execution.status is status
    assert one.receipts[1].execution.charged_tokens == 0
    after = (await one.ask(model="dear/m", max_tokens=9)).headers
    tokens = "x-ratelimit-remaining-tokens"
    assert int(before[tokens]) - int(after[tokens]) == 1500


async def test_a_caller_that_leaves_is_charged_for_what_was_said(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = House(nursery, scripts={"cheap": [[[(1.0, HEAD + event(ONE)), (9.0, event(ONE))]]]})
    talking = streamed(one)
    await talking.until(lambda: b"One" in talking.raw)
    talking.link.close()
    await wait_all_tasks_blocked()
    (used,) = one.limits.settled
    execution = one.receipts[0].execution
    assert used == Amount(execution.charged_tokens, execution.charged_spend)
    assert used.tokens > 0
    assert one.at_rest()


@pytest.mark.parametrize("own_deadline", [True, False])
async def test_an_answer_that_our_clock_ends_is_charged(
    autojump_clock: MockClock, nursery: trio.Nursery, own_deadline: bool
) -> None:
    """Else whoever sets a deadline has the words for nothing."""
    talks = [(1.0, HEAD + event(ONE)), *[(4.0, event(ONE))] * 40]
    fields = {} if own_deadline else {"timeouts": Timeouts(total=7, first_token=5, gap=5)}
    one = House(nursery, scripts={"cheap": [[talks]]}, **fields)
    wish = {"x_kairosroute": {"deadline_ms": 7_000}} if own_deadline else {}
    answer = await listen(streamed(one, model="cheap/m", **wish))
    assert not answer.whole
    execution = one.receipts[0].execution
    assert (execution.status, trio.current_time()) == (Ending.FAULT, 7)
    assert execution.charged_tokens > 0
    assert one.limits.settled == [Amount(execution.charged_tokens, execution.charged_spend)]


async def test_attempts_that_failed_before_the_answer_are_not_charged(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    broken = [(1.0, ok(b"", 500))]
    one = House(nursery, scripts={"cheap": [[broken]], "dear": [[SAYS]]})
    assert (await one.ask()).status == 200
    execution = one.receipts[0].execution
    assert [attempt.ending for attempt in one.receipts[0].attempts] == [
        Ending.FAULT,
        Ending.COMPLETE,
    ]
    assert execution.charged_tokens == 1500


# --- what is held back


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({}, 256),
        ({"n": 3}, 768),
        ({"max_tokens": 10}, 10),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"max_tokens": 10, "max_completion_tokens": 20}, 20),
    ],
    ids=str,
)
async def test_what_a_request_may_use(
    autojump_clock: MockClock, nursery: trio.Nursery, fields: Any, output: int
) -> None:
    one = House(nursery, scripts={"cheap": [[SAYS]]}, record=record("business"))
    await one.ask(model="cheap/m", **fields)
    (asked,) = one.limits.asked
    prompt = asked.tokens - output
    assert 0 < prompt < 20
    assert asked.spend == 1_000 * prompt + 2_000 * output


async def test_whoever_may_answer_in_the_end_is_reserved_for(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who rests when its turn comes is no attempt, and the next one's turn comes."""
    one = House(nursery, scripts={"dear": [[SAYS]]}, record=record("business"))
    one.policy(retries=0)
    admit = one.service.routes.admit

    def rests(key: str, now: float) -> Any:
        if key == "cheap/m":
            raise Fault(FaultKind.RESTING, "it rests")
        return admit(key, now)

    monkeypatch.setattr(one.service.routes, "admit", rests)
    answer = await one.ask(max_tokens=100)
    assert answer.headers["x-kairosroute-provider"] == "dear"
    (asked,) = one.limits.asked
    assert asked.spend == 10_000 * (asked.tokens - 100) + 20_000 * 100


async def test_of_attempts_at_one_time_each_is_reserved(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = House(nursery, scripts={"cheap": [[SAYS]], "dear": [[SAYS]]}, record=record("team"))
    one.policy(strategy="race", beside=2)
    await one.ask(max_tokens=100)
    (asked,) = one.limits.asked
    assert asked.tokens > 200, "for both"
    assert asked.tokens % 2 == 0


async def test_an_attempt_that_is_left_alone_in_a_race_is_reserved_once(
    autojump_clock: MockClock, house: Make, counters: Counters
) -> None:
    spent = Amount(0, TIERS["free"].trial_credit - 40_000)
    counters.reserve("acct_1", TIERS["free"], spent, NOW).settle(spent)
    one = house(record("free")).policy(strategy="race", beside=2)
    answer = await one.ask(max_tokens=10)
    assert answer.status == 200, "there is room for one attempt of 30,000, not for two"
    assert one.receipts[0].decision.fallback_chain == ("cheap/m",)


async def test_where_the_budget_ends_hard_an_unlimited_answer_may_be_long(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = House(nursery, scripts={"cheap": [[SAYS]]}, record=record("free"))
    await one.ask(model="cheap/m")
    (asked,) = one.limits.asked
    assert asked.spend > 2_000 * 4_096


async def test_a_hard_cap_is_a_hard_end(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = House(nursery, scripts={"cheap": [[SAYS]]}, record=record("team"))
    capped = dataclasses.replace(TIERS["team"], hard_cap=True)
    one.service = dataclasses.replace(one.service, tiers={"team": capped})
    one.policy()
    await one.ask(model="cheap/m")
    (asked,) = one.limits.asked
    assert asked.tokens > 4_096


async def test_attempts_that_the_credit_cannot_pay_are_left_out(
    autojump_clock: MockClock, house: Make, counters: Counters
) -> None:
    spent = Amount(0, TIERS["free"].trial_credit - 100_000)
    counters.reserve("acct_1", TIERS["free"], spent, NOW).settle(spent)
    one = house(record("free"), {"cheap": [[[(1.0, ok(b"", 503))]] * 9], "dear": [AT_ONCE]})
    answer = await one.ask(max_tokens=10)
    assert answer.status == 503, "the dear one would cost too much"
    assert one.receipts[0].decision.fallback_chain == ("cheap/m",)
    assert one.providers["dear"].dialled == []


async def test_own_keys_answer_where_the_credit_is_used_up(
    autojump_clock: MockClock, house: Make, counters: Counters
) -> None:
    spent = Amount(0, TIERS["free"].trial_credit)
    counters.reserve("acct_1", TIERS["free"], spent, NOW).settle(spent)
    one = house(record("free", provider_keys={"dear": Secret("sk-own")}))
    answer = await one.ask(max_tokens=10)
    assert answer.headers["x-kairosroute-provider"] == "dear"
    refused = await one.ask(model="cheap/m", max_tokens=10)
    assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")


# --- guardrails


@pytest.mark.parametrize(
    ("guardrails", "status", "provider"),
    [
        (Guardrails(), 200, "cheap"),
        (Guardrails(allowed=frozenset({"dear"})), 200, "dear"),
        (Guardrails(excluded=frozenset({"cheap"})), 200, "dear"),
        (Guardrails(excluded=frozenset({"cheap", "dear"})), 400, None),
        (Guardrails(max_cost=1_000_000), 200, "cheap"),
        (Guardrails(max_cost=1), 402, None),
        (Guardrails(min_quality=0.5), 400, None),
    ],
    ids=str,
)
async def test_guardrails_of_the_key(
    autojump_clock: MockClock,
    house: Make,
    guardrails: Guardrails,
    status: int,
    provider: str | None,
) -> None:
    one = house(record(guardrails=guardrails))
    answer = await one.ask()
    assert answer.status == status
    assert answer.headers.get("x-kairosroute-provider") == provider
    if status != 200:
        codes = {400: "no_models_available", 402: "cost_guardrail_exceeded"}
        assert answer.error["code"] == codes[status]
        assert one.receipts == []
        assert [provider.dialled for provider in one.providers.values()] == [[], []]


async def test_an_unknown_price_is_refused_to_who_has_a_budget(
    autojump_clock: MockClock, house: Make
) -> None:
    models = [model("cheap/m", None)]
    for key in (record("free"), record(guardrails=Guardrails(max_cost=10**12))):
        assert (await house(key, models=models).ask()).status in (400, 402)
    assert (await house(record(), models=models).ask()).status == 200


async def test_a_key_that_cannot_be_opened_is_not_replaced(
    autojump_clock: MockClock, house: Make
) -> None:
    one = house(record(locked=frozenset({"cheap"})))
    assert (await one.ask()).headers["x-kairosroute-provider"] == "dear"
    assert (await one.ask(model="cheap/m")).status == 400


# --- own provider keys


def sent_key(house: House, provider: str) -> bytes:
    head = house.providers[provider].connections[0].requests[0]
    (line,) = [one for one in head.split(b"\r\n") if one.lower().startswith(b"authorization:")]
    return line.partition(b"Bearer ")[2]


async def test_own_keys_are_sent_instead_of_the_operators(
    autojump_clock: MockClock, house: Make
) -> None:
    one = house(record("free", provider_keys={"cheap": Secret("sk-own")}))
    answer = await one.ask(max_tokens=9)
    assert sent_key(one, "cheap") == b"sk-own"
    assert b"sk-own" not in answer.body
    (attempt,) = one.receipts[0].attempts
    assert attempt.own_key
    execution = one.receipts[0].execution
    assert (execution.charged_tokens, execution.charged_spend) == (1500, 0)
    assert "sk-own" not in msgspec.json.encode(one.receipts[0]).decode()


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_callers_bad_key_closes_nothing_to_others(house: Make, status: int) -> None:
    key = record(provider_keys={"cheap": Secret("sk-bad")})
    refused = [(0.0, ok(b"", status, b"retry-after: 60"))]
    one = house(key, {"cheap": [[refused] * 9]}).policy(retries=0)
    for _ in range(4):
        assert (await one.ask(model="cheap/m")).status == 503
    assert one.service.routes.snapshot(trio.current_time())["cheap/m"].resting == 0
    assert len(one.providers["cheap"].connections[0].requests) == 4
