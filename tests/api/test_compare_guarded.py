"""The operator's rules on a comparison: each answer is looked at, and one that is blocked is an
entry like any other that failed."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.api import whole
from kproxy.outcome import Ending
from tests.api.test_compare import AUTHORIZED, SCRIPTS, ask, asking, house, ours, reply
from tests.api.test_guardrails import MASK, WORDS, guardrails, sent, user
from tests.fakes.caller import request
from tests.fakes.house import Talking

LONG = "x" * 20_000
"""Looked at in a thread."""


async def test_each_answer_gets_the_originals_back(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    scripts = {slug: [[[(1.0, reply(f"<EMAIL_1> {slug}"))]]] for slug in "ab"}
    one = house(nursery, scripts, guardrails=guardrails(MASK))
    answer = await ask(one, "m", "n", messages=user("I am ann@b.co"))
    assert sent(one, "a") == sent(one, "b") == ["I am <EMAIL_1>"]
    said = [choice["message"]["content"] for choice in answer.json()["choices"]]
    assert said == ["ann@b.co a", "ann@b.co b"]
    assert [fired.count for fired in one.receipts[0].guardrails] == [1]


@pytest.mark.parametrize("more", ["", LONG])
async def test_one_that_is_blocked_is_an_entry(
    autojump_clock: MockClock, nursery: trio.Nursery, more: str
) -> None:
    scripts: dict[str, Any] = {**SCRIPTS, "b": [[[(1.0, reply("forbidden" + more))]]]}
    one = house(nursery, scripts, guardrails=guardrails(WORDS))
    answer = await ask(one, "m", "n")
    good, blocked = ours(answer)
    assert good["error"] is None
    assert blocked["error"]["code"] == "content_blocked"
    assert b"forbidden" not in answer.body
    (receipt,) = one.receipts
    endings = {one.provider: one.ending for one in receipt.attempts}
    assert endings == {"a": Ending.COMPLETE, "b": Ending.REJECTED}
    assert receipt.execution.charged_tokens == 3000, "both were asked for, and written"
    assert one.at_rest()


async def test_the_rules_look_at_one_answer_after_the_other(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the time that they take is not the model's."""
    seen: list[tuple[float, float]] = []

    async def look(guardrails: object, guarded: object, body: bytes) -> bytes:
        began = trio.current_time()
        await trio.sleep(5)
        seen.append((began, trio.current_time()))
        return body

    monkeypatch.setattr(whole, "guard_reply", look)
    one = house(nursery, guardrails=guardrails(WORDS))
    answer = await ask(one, "m", "n")
    assert seen == [(1, 6), (6, 11)]
    assert [told["latency_ms"] for told in ours(answer)] == [2000, 1000]


async def test_a_caller_that_leaves_meanwhile(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One answer is looked at, and one waits for that."""

    async def look(guardrails: object, guarded: object, body: bytes) -> bytes:
        await trio.sleep(50)
        return body

    monkeypatch.setattr(whole, "guard_reply", look)
    one = house(nursery, guardrails=guardrails(WORDS))
    data = request("POST", "/v1/compare", AUTHORIZED, body=asking("m", "n"))
    talking = Talking(one, data)
    await trio.sleep(3)
    talking.link.close()
    await wait_all_tasks_blocked()
    (receipt,) = one.receipts
    assert [one.ending for one in receipt.attempts] == [Ending.CANCELLED] * 2
    assert one.at_rest()


async def test_all_are_blocked(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    scripts = {slug: [[[(1.0, reply("forbidden"))]]] for slug in "ab"}
    one = house(nursery, scripts, guardrails=guardrails(WORDS))
    answer = await ask(one, "m", "n")
    assert (answer.status, answer.error["code"]) == (400, "content_blocked")
    assert one.receipts[0].execution.charged_tokens == 3000


async def test_a_request_that_is_blocked(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, guardrails=guardrails(WORDS))
    answer = await ask(one, "m", "n", messages=user("forbidden"))
    assert (answer.status, answer.error["code"]) == (400, "content_blocked")
    assert not any(provider.dialled for provider in one.providers.values())
