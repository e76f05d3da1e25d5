"""One run for each Idempotency-Key, and the same answer for all who bring it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.api.idempotency import LOOK_AGAIN, Once, idempotency_key
from kproxy.errors import Rejected
from kproxy.outcome import Ending
from kproxy.schema.chat import decode_chat
from kproxy.schema.jsonlimits import JsonLimits
from kproxy.store.database import StoreError
from tests.fakes.caller import Answer, chat, request
from tests.fakes.house import ACCOUNT, KEY, House, Talking, model
from tests.fakes.kept_answers import Answered, Shelf
from tests.fakes.scripted import Act, ok

CHAT = "/v1/chat/completions"
REPLY = ok(
    b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":10,"completion_tokens":5}}'
)
GOOD = [(3.0, REPLY)]
BROKEN = [(1.0, Act.CLOSE)]
FIELD = f"authorization: Bearer {KEY}"

Build = Callable[..., House]


@pytest.fixture
def answers() -> Answered:
    return Answered(Shelf())


@pytest.fixture
def build(nursery: trio.Nursery, answers: Answered) -> Build:
    """A house of one model whose provider gives these answers, on a new connection after BROKEN."""

    def built(*scripts: Any, of: Answered = answers) -> House:
        once = Once(of, lambda: 1_000.0)
        models = [model("cheap/m")]
        connections: list[list[Any]] = [[]]
        for script in scripts:
            connections[-1].append(script)
            if script is BROKEN:
                connections.append([])
        house = House(nursery, models, {"cheap": connections}, once=once)
        return house.policy(retries=0)

    return built


async def ask(house: House, key: str = "k", **fields: Any) -> Answer:
    field = f"idempotency-key: {key}"
    return await house.send("POST", CHAT, FIELD, field, body=chat(**fields))


def asked(house: House) -> int:
    """How many requests the provider has seen."""
    return sum(len(one.requests) for one in house.providers["cheap"].connections)


# --- which key


def key_of(*values: bytes, **fields: Any) -> bytes | None:
    call = decode_chat(chat(**fields), JsonLimits())
    return idempotency_key([(b"idempotency-key", one) for one in values], call.request)


def test_no_key() -> None:
    assert key_of() is None
    assert key_of(stream=True, zdr=True) is None


@pytest.mark.parametrize("key", [b"k", b"a key", b'"quoted"', b"~" * 255])
def test_a_key(key: bytes) -> None:
    assert key_of(key) == key


@pytest.mark.parametrize("key", [b"", b"k" * 256, b"\t", b"a\x7f", b"\x00", "ö".encode(), b"\xff"])
def test_no_good_key(key: bytes) -> None:
    with pytest.raises(Rejected, match="1 to 255 printable") as caught:
        key_of(key)
    assert (caught.value.status, caught.value.code) == (400, "invalid_request_error")


def test_two_keys() -> None:
    with pytest.raises(Rejected, match="1 to 255 printable"):
        key_of(b"k", b"k")


@pytest.mark.parametrize("param", ["stream", "zdr"])
def test_what_does_not_go_with_a_key(param: str) -> None:
    with pytest.raises(Rejected, match=param) as caught:
        key_of(b"k", **{param: True})
    assert (caught.value.status, caught.value.param) == (400, param)


async def test_a_refusal_dispatches_nothing(autojump_clock: MockClock, build: Build) -> None:
    house = build(GOOD)
    for key, fields in (("k" * 256, {}), ("k", {"stream": True}), ("k", {"zdr": True})):
        answer = await ask(house, key, **fields)
        assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert asked(house) == 0


# --- one after the other


async def test_the_same_answer_and_one_charge(autojump_clock: MockClock, build: Build) -> None:
    house = build(GOOD, GOOD)
    first, second = await ask(house), await ask(house)
    assert trio.current_time() == 3
    assert first.status == second.status == 200
    assert first.body == second.body
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert "server-timing" not in second.headers
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    for name in ("content-type", "x-kairosroute-receipt", "x-kairosroute-provider",
                 "x-kairosroute-cost", "x-kairosroute-savings"):  # fmt: skip
        assert second.headers[name] == first.headers[name]
    assert asked(house) == len(house.receipts) == len(house.limits.settled) == 1
    assert house.once is not None
    assert house.once.statistics() == 0
    assert house.at_rest()


async def test_another_key_and_no_key_run(autojump_clock: MockClock, build: Build) -> None:
    house = build(GOOD, GOOD, GOOD)
    first = await ask(house, "k")
    for answer in (first, await ask(house, "other"), await house.ask()):
        assert answer.status == 200
        assert "idempotent-replayed" not in answer.headers
    assert asked(house) == len(house.receipts) == 3


async def test_the_key_is_the_accounts(autojump_clock: MockClock, build: Build) -> None:
    house = build(GOOD, GOOD)
    await ask(house)
    account = dataclasses.replace(ACCOUNT, id="acct_2")
    house.record = dataclasses.replace(house.record, account=account)
    answer = await ask(house)
    assert answer.status == 200
    assert "idempotent-replayed" not in answer.headers
    assert {one.account_id for one in house.receipts} == {"acct_1", "acct_2"}


async def test_another_body(autojump_clock: MockClock, build: Build) -> None:
    house = build(GOOD, GOOD)
    await ask(house)
    answer = await ask(house, temperature=1)
    assert (answer.status, answer.error["code"]) == (422, "idempotency_key_reused")
    assert answer.error["type"] == "invalid_request_error"
    assert (await ask(house)).headers["idempotent-replayed"] == "true"
    assert asked(house) == 1


async def test_another_body_while_the_first_one_runs(
    autojump_clock: MockClock, build: Build
) -> None:
    house = build(GOOD)
    house.nursery.start_soon(ask, house)
    await trio.sleep(1)
    assert (await ask(house, temperature=1)).status == 422
    assert trio.current_time() == 1


async def test_a_failure_is_not_kept(autojump_clock: MockClock, build: Build) -> None:
    house = build(BROKEN, GOOD)
    assert (await ask(house)).status == 503
    answer = await ask(house)
    assert answer.status == 200
    assert "idempotent-replayed" not in answer.headers
    assert [one.execution.status for one in house.receipts] == [Ending.FAULT, Ending.COMPLETE]
    assert len(house.limits.settled) == 1


async def test_after_a_failure_the_key_is_free_for_any_body(
    autojump_clock: MockClock, build: Build
) -> None:
    house = build(BROKEN, GOOD)
    assert (await ask(house)).status == 503
    assert (await ask(house, temperature=1)).status == 200


async def test_after_a_restart(autojump_clock: MockClock, build: Build, answers: Answered) -> None:
    first = await ask(build(GOOD))
    house = build(of=Answered(answers.shelf))
    again = await ask(house)
    assert again.body == first.body
    assert again.headers["idempotent-replayed"] == "true"
    assert (asked(house), house.receipts) == (0, [])


async def test_a_repeated_answer_needs_no_route_and_no_budget(
    autojump_clock: MockClock, build: Build
) -> None:
    """What is whole is there, whatever has become of the models and the limits."""
    house = build(GOOD)
    first = await ask(house)

    def refuse(*_: object) -> None:
        raise Rejected(429, "insufficient_quota", "")

    house.limits.reserve = refuse
    assert (await ask(house)).body == first.body


# --- at once


async def test_fifty_twins(autojump_clock: MockClock, build: Build) -> None:
    house, seen = build(GOOD), []

    async def one() -> None:
        seen.append(await ask(house))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(one)
    assert trio.current_time() == 3
    assert len({answer.body for answer in seen}) == 1
    assert {answer.status for answer in seen} == {200}
    assert sum("idempotent-replayed" in answer.headers for answer in seen) == 49
    assert asked(house) == len(house.receipts) == len(house.limits.settled) == 1


async def test_of_those_who_wait_for_a_failure_one_runs_next(
    autojump_clock: MockClock, build: Build
) -> None:
    house, seen = build(BROKEN, GOOD, GOOD), []

    async def one() -> None:
        seen.append((await ask(house)).status)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(one)
    assert sorted(seen) == [200, 200, 200, 200, 503]
    assert asked(house) == 2
    assert trio.current_time() == 4


async def test_another_process_runs(
    autojump_clock: MockClock, build: Build, answers: Answered
) -> None:
    house, twin = build(GOOD), build(of=Answered(answers.shelf))
    house.nursery.start_soon(ask, house)
    await trio.sleep(1)
    answer = await ask(twin)
    assert answer.headers["idempotent-replayed"] == "true"
    assert 3 <= trio.current_time() <= 3 + LOOK_AGAIN
    assert (asked(twin), twin.receipts) == (0, [])
    assert answers.shelf.claims == {}


async def test_a_wait_ends_at_the_waiting_requests_own_deadline(
    autojump_clock: MockClock, build: Build, answers: Answered
) -> None:
    """Of the one that leads the line in this process, and of one behind it."""
    answers.shelf.claims = Forever()
    house, seen = build(), []

    async def one(after: float) -> None:
        await trio.sleep(after)
        answer = await ask(house, x_kairosroute={"deadline_ms": 5_000})
        seen.append((trio.current_time(), answer.status, answer.error["code"]))
        assert answer.headers["retry-after"] == "1"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, 0)
        nursery.start_soon(one, 1)
    assert seen == [(5, 409, "request_in_progress"), (6, 409, "request_in_progress")]
    assert house.once.statistics() == asked(house) == 0


class Forever(dict[bytes, Answered]):
    """Claims that another process has and never gives up."""

    def setdefault(self, name: bytes, _: Answered) -> None:
        return None


# --- callers that leave, and stores that fail


async def test_it_is_carried_out_whoever_hangs_up(autojump_clock: MockClock, build: Build) -> None:
    house = build(GOOD)
    talking = Talking(house, request("POST", CHAT, FIELD, "idempotency-key: k", body=chat()))
    await trio.sleep(1)
    talking.link.close()
    answer = await ask(house)
    assert trio.current_time() == 3
    assert answer.headers["idempotent-replayed"] == "true"
    assert [one.execution.status for one in house.receipts] == [Ending.COMPLETE]
    assert house.at_rest()


async def test_one_who_waits_and_hangs_up_is_gone_at_once(
    autojump_clock: MockClock, build: Build
) -> None:
    house = build(GOOD)
    house.nursery.start_soon(ask, house)
    await trio.sleep(1)
    talking = Talking(house, request("POST", CHAT, FIELD, "idempotency-key: k", body=chat()))
    await trio.sleep(1)
    talking.link.close()
    await wait_all_tasks_blocked()
    assert house.counted("kproxy_requests_total", route=CHAT, status="cancelled") == 1
    assert (await ask(house)).status == 200


async def test_what_cannot_be_kept_is_not_charged(
    autojump_clock: MockClock, build: Build, answers: Answered
) -> None:
    house = build(GOOD, GOOD)
    house.nursery.start_soon(fail_at, 1, answers)
    answer = await ask(house)
    assert (answer.status, answer.error["code"]) == (503, "idempotency_unavailable")
    assert "retry-after" in answer.headers
    assert "disk" not in answer.error["message"]
    (made,) = house.receipts
    assert made.execution.charged_tokens == made.execution.charged_spend == 0
    assert house.limits.settled == []
    answers.trouble = None
    assert (await ask(house)).status == 200, "and the next one runs"
    assert len(house.limits.settled) == 1


async def fail_at(when: float, answers: Answered) -> None:
    await trio.sleep(when)
    answers.trouble = StoreError("no room on the disk")


async def test_what_cannot_be_looked_up_is_not_dispatched(
    autojump_clock: MockClock, build: Build, answers: Answered
) -> None:
    house = build(GOOD)
    answers.trouble = StoreError("locked")
    assert (await ask(house)).error["code"] == "idempotency_unavailable"
    answers.trouble, answers.full = None, True
    assert (await ask(house)).error["code"] == "idempotency_unavailable"
    assert asked(house) == 0
    answers.full = False
    assert (await ask(house)).status == 200
    answers.full = True
    assert (await ask(house)).status == 200, "what is kept can be repeated"


async def test_the_receipt_is_kept_with_the_answer(
    autojump_clock: MockClock, build: Build, answers: Answered
) -> None:
    """The very same one that goes to the ledger."""
    house = build(GOOD)
    await ask(house)
    assert answers.shelf.receipts == house.receipts


async def test_nobody_sees_an_answer_before_its_receipt(
    autojump_clock: MockClock, build: Build
) -> None:
    house, seen = build(GOOD), []
    house.journal.refuse = lambda: seen.append(len(house.receipts))
    house.nursery.start_soon(ask, house)
    answer = await ask(house)
    assert answer.status == 200
    assert seen == [1]
