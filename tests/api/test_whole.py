"""An answer without a stream: believed whole, then forwarded with ours at its end."""

import json

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.outcome import Ending
from tests.fakes.caller import chat, request
from tests.fakes.house import KEY, House, Talking, model
from tests.fakes.scripted import Act, head, ok

REPLY = (
    b'{ "id":"c", "object":"chat.completion","created":1,"model":"m-2025","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hi \\u00f6"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500} }\n'
)
GOOD = [(1.0, ok(REPLY))]


async def test_the_providers_bytes_with_ours_at_their_end(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[GOOD]]})
    answer = await house.ask()
    assert answer.status == 200
    ours = answer.json()["x_kairosroute"]
    end = REPLY.rindex(b"}")
    assert answer.body.startswith(REPLY[:end].rstrip() + b',"x_kairosroute":{')
    assert answer.body.endswith(b"}" + REPLY[end:])
    assert ours == {
        "provider": "Cheap",
        "cost_usd": 0.002,
        "savings_usd": 0.018,
        "routed_from": "auto",
        "model": "m",
        "receipt_id": answer.headers["x-kairosroute-receipt"],
        "attempts": 1,
        "strategy": "single",
    }


async def test_the_head(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    house = House(nursery, scripts={"cheap": [[GOOD]]})
    answer = await house.ask()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-kairosroute-provider"] == "cheap"
    assert answer.headers["x-kairosroute-cost"] == "0.002"
    assert answer.headers["x-kairosroute-savings"] == "0.018"
    timing = answer.headers["server-timing"]
    spans = {"parse": 0, "route": 0, "queue": 0, "connect": 0, "first_token": 1_000}
    assert timing == ", ".join(f"{name};dur={ms:.3f}" for name, ms in spans.items())


async def test_the_head_tells_how_long_the_request_has_queued_for_a_connection(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house, told = House(nursery, scripts={"cheap": [[GOOD, GOOD]] * 4}), []

    async def ask() -> None:
        told.append((await house.ask()).headers["server-timing"].split(", ")[2])

    async with trio.open_nursery() as callers:
        for _ in range(5):  # of which four have a connection
            callers.start_soon(ask)
    assert sorted(told) == ["queue;dur=0.000"] * 4 + ["queue;dur=1000.000"]


async def test_the_next_provider_after_a_fault(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Even behind a whole head and half a body: nothing has been sent."""
    half = [(0.0, head(200, b"content-length: 500")), (1.0, REPLY[:50]), (1.0, Act.CLOSE)]
    house = House(nursery, scripts={"cheap": [[half]], "dear": [[GOOD]]})
    answer = await house.ask()
    assert trio.current_time() == 3
    assert answer.json()["x_kairosroute"]["provider"] == "Dear"
    assert answer.json()["x_kairosroute"]["attempts"] == 2
    assert house.counted("kproxy_faults_total", provider="cheap", fault="closed_early") == 1
    assert house.at_rest()


@pytest.mark.parametrize(
    "body",
    [
        b"<html></html>",
        b"{}",
        b'{"choices":[]}',
        b'{"error":{"message":"the provider\'s words"}}',
        REPLY.replace(b'"stop"', b"null"),
        REPLY[:-5],
    ],
)
async def test_a_body_that_is_no_answer(
    autojump_clock: MockClock, nursery: trio.Nursery, body: bytes
) -> None:
    house = House(nursery, scripts={"cheap": [[[(0, ok(body))]]]}).policy(retries=0)
    answer = await house.ask(model="cheap/m")
    assert (answer.status, answer.error["code"]) == (503, "all_models_unavailable")
    assert answer.headers["x-kairosroute-receipt"] == house.receipts[0].receipt_id
    assert answer.error["message"].startswith("All models are currently unavailable (cheap/m: ")
    assert "the provider's words" not in answer.error["message"]
    (attempt,) = house.receipts[0].attempts
    assert attempt.ending is Ending.FAULT
    assert attempt.usage is not None, "a 200: it may be billed"
    assert attempt.usage.estimated


async def test_an_unknown_price_is_no_cost(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, models=[model("cheap/m", None)], scripts={"cheap": [[GOOD]]})
    answer = await house.ask()
    assert answer.json()["x_kairosroute"]["cost_usd"] is None
    assert "x-kairosroute-cost" not in answer.headers
    assert answer.headers["x-kairosroute-savings"] == "0"


async def test_an_answer_of_another_kproxy_carries_ours_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    tagged = REPLY.replace(b'"id"', b'"x_kairosroute":{"provider":"Theirs"},"id"')
    house = House(nursery, scripts={"cheap": [[[(0, ok(tagged))]]]})
    answer = await house.ask()
    assert answer.body.count(b"x_kairosroute") == 1
    assert answer.json()["x_kairosroute"]["provider"] == "Cheap"


async def test_the_deadline_of_the_request(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Not the first-token timer: a provider is silent until it has written everything."""
    house = House(nursery, scripts={"cheap": [[[(20, ok(REPLY))]]], "dear": [[GOOD]]})
    assert (await house.ask()).status == 200
    assert trio.current_time() == 20
    house = House(nursery, scripts={"cheap": [[[(20, ok(REPLY))]]]})
    answer = await house.ask(model="cheap/m", x_kairosroute={"deadline_ms": 5_000})
    assert trio.current_time() == 25
    assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
    assert house.at_rest()


async def test_half_of_the_time_is_left_to_who_could_follow(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[[(20, ok(REPLY))]]], "dear": [[GOOD]]})
    answer = await house.ask(x_kairosroute={"deadline_ms": 5_000})
    assert trio.current_time() == 3.5, "given up after 2.5, and a second for the other"
    assert answer.headers["x-kairosroute-provider"] == "dear"
    assert house.receipts[0].attempts[0].fault == "first_token_timeout"


async def test_a_caller_that_leaves(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    house = House(nursery, scripts={"cheap": [[[(50, ok(REPLY))]]]})
    talking = Talking(
        house,
        request("POST", "/v1/chat/completions", f"authorization: Bearer {KEY}", body=chat()),
    )
    await trio.sleep(7)
    talking.link.close()
    await wait_all_tasks_blocked()
    assert house.providers["cheap"].connections[0].closed == 7
    assert house.at_rest()
    assert (
        house.counted("kproxy_attempts_total", provider="cheap", model="m", ending="cancelled") == 1
    )
    assert (
        house.counted("kproxy_requests_total", route="/v1/chat/completions", status="cancelled")
        == 1
    )


async def test_explain(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    house = House(nursery, scripts={"cheap": [[GOOD]]})
    answer = await house.ask(x_kairosroute={"explain": True})
    explained = answer.json()["x_kairosroute"]["explain"]
    assert explained["chain"] == ["cheap/m", "dear/m"]
    assert json.dumps(explained).count("est_cost_usd") == 2
