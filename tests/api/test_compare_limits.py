"""A comparison's money: the sum is capped, reserved, charged, and stands on one receipt."""

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kproxy.admission.guardrails import Guardrails
from kproxy.admission.keys import Account, KeyRecord, Secret, digest
from kproxy.admission.quota import Amount
from kproxy.errors import Rejected
from kproxy.outcome import Ending
from kproxy.store.database import StoreError
from tests.api.test_compare import DOWN, SCRIPTS, ask, asking, house, ours
from tests.fakes.house import CHEAP, KEY, House, model
from tests.fakes.ledgers import NoLimits, Reserved


def record(tier: str = "unlimited", **fields: Any) -> KeyRecord:
    account = Account("acct_1", "default", tier, 0)
    return KeyRecord(account, "key_1", digest(KEY.encode()), "n", KEY[:8], 0, **fields)


def asked(one: House) -> int:
    """How many providers were dialled."""
    return sum(len(provider.dialled) for provider in one.providers.values())


async def test_one_receipt_with_every_attempt(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, {**SCRIPTS, "a": [[DOWN]]})
    answer = await ask(one, "m", "o", "n")
    (receipt,) = one.receipts
    assert receipt.receipt_id == answer.json()["x_kairosroute"]["receipt_id"]
    assert (receipt.asked, receipt.stream) == ("kr-compare", False)
    assert (receipt.decision.strategy, receipt.decision.model_id) == ("compare", "m")
    assert receipt.decision.fallback_chain == ("a/m", "d/m", "c/o", "b/n")
    assert [(one.provider, one.ended, one.ending) for one in receipt.attempts] == [
        ("a", 0.5, Ending.FAULT),
        ("b", 1.0, Ending.COMPLETE),
        ("d", 2.0, Ending.COMPLETE),
        ("c", 3.0, Ending.COMPLETE),
    ]
    execution = receipt.execution
    costs = [told["cost_usd"] for told in ours(answer)]
    assert execution.cost == round(sum(costs) * 1e9) == 20_000_000 * 2 + 60_000
    assert (execution.savings, execution.latency) == (0, 3.0)
    assert execution.usage is not None
    assert execution.usage.prompt_tokens == 2010
    assert execution.charged_tokens == 3030


async def test_the_sum_is_reserved(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Of each model the most that one of its attempts may use; and what was used is settled."""
    one = house(nursery, record=record("free"))
    limits = one.limits
    for names in (("m", "o"), ("a/m", "o"), ("d/m",), ("c/o",)):
        if len(names) > 1:
            await ask(one, *names, max_tokens=100)
        else:
            await one.ask(model=names[0], max_tokens=100, messages=json.loads(asking())["messages"])
    both, cheaper, dear, other = (amount.spend for amount in limits.asked)
    assert both == dear + other, "m may end at its dearer provider"
    assert cheaper < both
    assert limits.settled[0].spend == one.receipts[0].execution.cost
    assert one.receipts[0].execution.charged_spend == one.receipts[0].execution.cost
    assert one.at_rest()


async def test_the_sum_of_the_tokens(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The prompt and the most that may be said, once for each model."""
    one = house(nursery, {**SCRIPTS, "c": [SCRIPTS["c"][0] * 2]}, record=record("team"))
    await ask(one, "m", "o", "n", max_tokens=100)
    await one.ask(model="c/o", max_tokens=100, messages=json.loads(asking())["messages"])
    three, alone = (amount.tokens for amount in one.limits.asked)
    assert three == 3 * alone > 300
    assert one.limits.settled[0].tokens == 3030


class Full(NoLimits):
    """Nothing fits."""

    def reserve(self, *rest: Any) -> Reserved:
        raise Rejected(429, "insufficient_quota", "The month is used up.")


async def test_a_sum_that_does_not_fit(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, limits=Full())
    answer = await ask(one, "m", "n")
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    assert (asked(one), one.receipts) == (0, [])


class Broken(NoLimits):
    """The counters cannot be used."""

    tried = 0

    def reserve(self, *rest: Any) -> Reserved:
        self.tried += 1
        raise StoreError("no counters")


@pytest.mark.parametrize("asking_one", [False, True])
async def test_counters_that_cannot_be_used(
    autojump_clock: MockClock, nursery: trio.Nursery, asking_one: bool
) -> None:
    one = house(nursery, limits=Broken())
    answer = await one.ask() if asking_one else await ask(one, "m", "n")
    assert (answer.status, answer.error["code"]) == (503, "ledger_unavailable")
    assert (asked(one), one.receipts, one.limits.tried) == (0, [], 1)


async def test_no_room_for_the_receipt(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery)
    one.journal.healthy = False
    answer = await ask(one, "m", "n")
    assert (answer.status, answer.error["code"]) == (503, "ledger_unavailable")
    assert asked(one) == 0


async def test_own_keys_are_sent_and_not_charged_as_money(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    own = record("free", provider_keys={"a": Secret("sk-own")})
    one = house(nursery, record=own)
    await ask(one, "a/m", "c/o", max_tokens=9)
    assert b"Bearer sk-own" in one.providers["a"].connections[0].received
    assert b"sk-own" not in one.providers["c"].connections[0].received
    assert one.limits.settled == [Amount(1500, 60_000)]


# --- the cap


@pytest.mark.parametrize("by", ["request", "key"])
async def test_the_cap_is_for_the_sum(
    autojump_clock: MockClock, nursery: trio.Nursery, by: str
) -> None:
    """What each may cost alone, and not both together."""
    whole = house(nursery)
    await ask(whole, "a/m", "c/o", max_tokens=100)
    known = {one.model_id: one.est_cost or 0 for one in whole.receipts[0].candidates}
    cap = known["m"] + known["o"]
    for limit, status in ((cap, 200), (cap - 1, 402)):
        one = house(nursery)
        fields: dict[str, Any] = {"max_tokens": 100}
        if by == "key":
            one.record = record(guardrails=Guardrails(max_cost=limit))
        else:
            fields["x_kairosroute"] = {"max_cost_usd": limit / 1e9}
        answer = await ask(one, "a/m", "c/o", **fields)
        assert answer.status == status
        assert asked(one) == (2 if status == 200 else 0)
    name = "maxCostPerRequestUsd" if by == "key" else "x_kairosroute.max_cost_usd"
    assert (answer.error["code"], answer.error["param"]) == ("cost_guardrail_exceeded", name)


async def test_the_keys_providers(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, record=record(guardrails=Guardrails(excluded=frozenset("b"))))
    failed = ours(await ask(one, "n", "m"))[0]
    assert failed["error"]["code"] == "no_models_available"
    assert "the key excludes this provider" in failed["error"]["message"]
    assert one.providers["b"].dialled == []


async def test_an_unknown_price(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, models=[model("a/m", None), model("c/o", CHEAP)])
    answer = await ask(one, "m", "o")
    assert [told["cost_usd"] for told in ours(answer)] == [None, 0.00005]
    whole = answer.json()["x_kairosroute"]
    assert whole["cost_usd"] is None
    assert whole["summary"]["cheapest"] == "o"
    assert "x-kairosroute-cost" not in answer.headers


# --- the rate


async def test_a_comparison_is_one_request_of_the_rate(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Six at once of a tier that lets five through, whatever each of them asks."""
    scripts = {slug: [script[0] * 5] * 4 for slug, script in SCRIPTS.items()}
    one = house(nursery, scripts, record=record("free"))
    statuses: list[int] = []

    async def ask_one() -> None:
        statuses.append((await ask(one, "m", "n", "o", max_tokens=9)).status)

    async with trio.open_nursery() as six:
        for _ in range(6):
            six.start_soon(ask_one)
    assert sorted(statuses) == [200] * 5 + [429]
    assert len(one.receipts) == 5
