"""Several models asked at once: who started, who ended, and what the one answer says of each."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.api.idempotency import Once
from kproxy.catalog.load import Price, RouteTimeouts
from kproxy.outcome import Ending
from kproxy.routing.appraise import Appraisal
from tests.api.test_chat_auto import JUDGED
from tests.fakes.caller import Answer, chat, request
from tests.fakes.house import DEAR, KEY, House, Talking, model
from tests.fakes.kept_answers import Answered, Shelf
from tests.fakes.scripted import Act, ok

MODELS = [model("a/m"), model("b/n", DEAR), model("c/o", Price.from_usd(2, 2)), model("d/m", DEAR)]
AUTHORIZED = f"authorization: Bearer {KEY}"


def reply(text: str, prompt: int = 1000, completion: int = 500) -> bytes:
    return ok(
        b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"%b"},'
        b'"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"completion_tokens":%d}}'
        % (text.encode(), prompt, completion)
    )


DOWN = [(0.5, ok(b"", 503)), (0.0, Act.CLOSE)]
SCRIPTS: Mapping[str, Any] = {
    "a": [[[(2.0, reply("from a"))]]],
    "b": [[[(1.0, reply("from b"))]]],
    "c": [[[(3.0, reply("from c", 10, 20))]]],
    "d": [[[(1.5, reply("from d"))]]],
}


def house(nursery: trio.Nursery, scripts: Mapping[str, Any] = SCRIPTS, **fields: Any) -> House:
    return House(nursery, **{"models": MODELS, "scripts": scripts, **fields})


def asking(*models: str, **fields: Any) -> bytes:
    """The body of a POST /v1/compare."""
    named = {"models": models} if models else {}
    return json.dumps({"messages": [{"role": "user", "content": "hi"}], **named, **fields}).encode()


async def ask(one: House, *models: str, **fields: Any) -> Answer:
    return await one.send("POST", "/v1/compare", AUTHORIZED, body=asking(*models, **fields))


def ours(answer: Answer) -> list[dict[str, Any]]:
    """What is said of each model, in order."""
    assert answer.status == 200
    choices = answer.json()["choices"]
    assert [choice["index"] for choice in choices] == list(range(len(choices)))
    return [choice["x_kairosroute"] for choice in choices]


async def test_all_are_asked_at_once_and_answer_together(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery)
    answer = await ask(one, "c/o", "m", "n")
    assert trio.current_time() == 3, "the slowest"
    assert {slug: one.providers[slug].dialled for slug in "abcd"} == {
        "a": [0], "b": [0], "c": [0], "d": [],
    }  # fmt: skip
    body = answer.json()
    assert (body["object"], body["model"], body["created"]) == (
        "chat.completion", "kr-compare", 1_000,
    )  # fmt: skip
    said = [choice["message"]["content"] for choice in body["choices"]]
    assert said == ["from c", "from a", "from b"]
    assert ours(answer) == [
        {
            "model": name,
            "provider": slug.title(),
            "cost_usd": cost,
            "latency_ms": 1000 * latency,
            "first_token_ms": None,
            "error": None,
        }
        for name, slug, cost, latency in [
            ("o", "c", 0.00006, 3), ("m", "a", 0.002, 2), ("n", "b", 0.02, 1),
        ]
    ]  # fmt: skip
    assert body["usage"]["total_tokens"] == 3030
    whole = body["x_kairosroute"]
    assert whole["summary"] == {"cheapest": "c/o", "fastest": "n"}
    assert (whole["cost_usd"], whole["savings_usd"]) == (0.02206, 0)
    assert (whole["routed_from"], whole["strategy"], whole["attempts"]) == (
        "kr-compare", "compare", 3,
    )  # fmt: skip
    assert one.at_rest()


async def test_the_head(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    answer = await ask(house(nursery), "m", "n")
    assert answer.headers["x-kairosroute-cost"] == "0.022"
    assert answer.headers["x-kairosroute-savings"] == "0"
    assert answer.headers["x-kairosroute-receipt"].startswith("rcpt_")
    assert "x-kairosroute-provider" not in answer.headers, "there are several"
    assert answer.headers["server-timing"] == "parse;dur=0.000, route;dur=0.000"


@pytest.mark.parametrize("spelled", ["models", "x_kairosroute"])
async def test_the_same_as_a_chat_request(
    autojump_clock: MockClock, nursery: trio.Nursery, spelled: str
) -> None:
    one = house(nursery)
    names = ["m", "n"]
    fields = {"models": names} if spelled == "models" else {"x_kairosroute": {"models": names}}
    answer = await one.ask(model="kr-compare", seed=7, **fields)
    assert [told["model"] for told in ours(answer)] == names
    for slug, name in (("a", "m"), ("b", "n")):
        sent = one.providers[slug].connections[0].requests[0].partition(b"\r\n\r\n")[2]
        wanted = {"model": name, "messages": [{"role": "user", "content": "Hello!"}], "seed": 7}
        assert json.loads(sent) == wanted


async def test_the_routers_own_choice(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Distinct models, cheapest estimate first; the second provider of `m` is only its fallback."""
    answer = await ask(house(nursery))
    assert [told["model"] for told in ours(answer)] == ["m", "o", "n"]


async def test_the_router_is_asked_once_and_orders_them(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The best first, however dear; a named model keeps its place. The receipt says the scores."""
    quality = (0.2, 0.9, 0.4, 0.2)
    judgement = msgspec.structs.replace(
        JUDGED.judgement, quality=quality, output_tokens=(10.0,) * 4, standing=quality
    )
    rows = {one.key: place for place, one in enumerate(MODELS)}
    asked: list[object] = []

    def appraise(request: object) -> Appraisal:
        asked.append(request)
        return Appraisal(judgement, rows, frozenset(), "abc")

    one = house(nursery, appraise=appraise)
    best = await ask(one, x_kairosroute={"dial": "best"})
    assert [told["model"] for told in ours(best)] == ["n", "o", "m"]
    one = house(nursery, appraise=appraise)
    assert [told["model"] for told in ours(await ask(one, "m", "n"))] == ["m", "n"]
    assert len(asked) == 2
    (receipt,) = one.receipts
    assert receipt.classification is not None
    assert {one.model_id: one.score for one in receipt.candidates} == {"m": 0.2, "n": 0.9}
    assert receipt.policy_version == "2-abc"


# --- failures


async def test_one_that_fails_is_an_entry(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, {**SCRIPTS, "b": [[DOWN]]}).policy(retries=0)
    answer = await ask(one, "m", "n")
    good, failed = ours(answer)
    assert good["error"] is None
    assert (failed["model"], failed["provider"], failed["cost_usd"]) == ("n", "B", 0)
    assert failed["latency_ms"] == 500
    assert failed["error"]["code"] == "all_models_unavailable"
    assert "b/n: HTTP 503" in failed["error"]["message"]
    choice = answer.json()["choices"][1]
    assert choice["message"] == {"role": "assistant", "content": None}
    assert choice["finish_reason"] is None
    assert answer.json()["x_kairosroute"]["summary"] == {"cheapest": "m", "fastest": "m"}
    assert answer.json()["usage"]["total_tokens"] == 1500
    (receipt,) = one.receipts
    assert receipt.execution.status is Ending.COMPLETE
    assert {one.provider: one.ending for one in receipt.attempts} == {
        "a": Ending.COMPLETE, "b": Ending.FAULT,
    }  # fmt: skip
    assert one.at_rest()


async def test_a_models_next_provider(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """It takes over from the first while the other model is still at work."""
    one = house(nursery, {**SCRIPTS, "a": [[DOWN]]})
    first, second = ours(await ask(one, "m", "o"))
    assert (first["model"], first["provider"], first["latency_ms"]) == ("m", "D", 2000)
    assert (second["provider"], second["latency_ms"]) == ("C", 3000)
    assert one.providers["d"].dialled == [0.5]
    assert trio.current_time() == 3


async def test_a_provider_that_refuses_the_content(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    no = [(0.5, ok(b'{"error":{"message":"too long","code":"context_length_exceeded"}}', 400))]
    one = house(nursery, {**SCRIPTS, "b": [[no]]})
    failed = ours(await ask(one, "m", "n"))[1]
    assert failed["error"]["code"] == "context_length_exceeded"
    assert failed["error"]["message"] == "too long"


async def test_what_breaks_a_constraint_is_not_asked(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, models=[*MODELS, model("e/p", capabilities=frozenset())])
    tools = [{"type": "function", "function": {"name": "f"}}]
    failed = ours(await ask(one, "p", "n", tools=tools))[0]
    assert failed["error"]["code"] == "no_models_available"
    assert (failed["provider"], failed["latency_ms"], failed["cost_usd"]) == (None, None, 0)
    assert one.providers["e"].dialled == []


async def test_all_fail(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, {"b": [[DOWN]], "c": [[DOWN]]}).policy(retries=0)
    answer = await ask(one, "n", "o")
    assert (answer.status, answer.error["code"]) == (503, "all_models_unavailable")
    assert "b/n: HTTP 503" in answer.error["message"]
    assert "c/o: HTTP 503" in answer.error["message"]
    (receipt,) = one.receipts
    assert receipt.execution.status is Ending.FAULT
    assert receipt.execution.charged_tokens == 0
    assert one.at_rest()
    limits = one.limits
    assert (limits.released, limits.settled) == (1, [])


async def test_all_refuse_the_content(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    no = [(0.5, ok(b'{"error":{"message":"bad image"}}', 400))]
    one = house(nursery, {"b": [[no]], "c": [[no]]})
    answer = await ask(one, "n", "o")
    assert (answer.status, answer.error["message"]) == (400, "bad image")
    assert one.receipts[0].execution.status is Ending.REJECTED


async def test_one_rests_and_the_other_refuses(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """It may go well later, so that is what is said."""
    no = [(0.5, ok(b'{"error":{"message":"bad image"}}', 400))]
    away = [(0.5, ok(b"", 503, b"retry-after: 30")), (0.0, Act.CLOSE)]
    one = house(nursery, {"b": [[away]], "c": [[no]]}).policy(retries=0)
    await one.ask(model="b/n")
    answer = await ask(one, "o", "n")
    assert (answer.status, answer.error["code"]) == (503, "all_models_unavailable")
    assert one.providers["b"].dialled == [0], "it was left alone"


async def test_a_mistake_of_ours_ends_all(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """What is no end of a chain is nobody's entry."""
    one = house(nursery)

    def broken(body: bytes) -> None:
        raise RuntimeError("a mistake")

    one.service.endpoints["b"].dialect.read_reply = broken  # type: ignore[method-assign,assignment]
    answer = await ask(one, "m", "n")
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert one.providers["a"].connections[0].closed == 1
    assert one.at_rest()
    assert one.receipts[0].execution.status is Ending.ERROR


# --- deadlines


async def test_the_requests_deadline_bounds_all(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery)
    answer = await ask(one, "o", "b/n", x_kairosroute={"deadline_ms": 1_500})
    assert trio.current_time() == 1.5
    late, good = ours(answer)
    assert (late["error"]["code"], late["latency_ms"]) == ("deadline_exceeded", 1500)
    assert (good["error"], good["latency_ms"]) == (None, 1000)
    assert late["cost_usd"] > 0, "it was at work, and may bill it"
    assert one.receipts[0].execution.charged_tokens == 1500, "but it is not charged"
    assert one.providers["c"].connections[0].closed == 1.5
    assert one.at_rest()


async def test_a_model_has_a_deadline_of_its_own(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    quick = model("c/o", timeouts=RouteTimeouts(total=2.5))
    one = house(nursery, {**SCRIPTS, "a": [[[(9.0, reply("late"))]]]}, models=[model("a/m"), quick])
    slow, failed = ours(await ask(one.policy(retries=0), "m", "o"))
    assert (slow["error"], slow["latency_ms"]) == (None, 9000)
    assert (failed["error"]["code"], failed["latency_ms"]) == ("all_models_unavailable", 2500)


async def test_all_are_late(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    answer = await ask(house(nursery), "o", "n", x_kairosroute={"deadline_ms": 500})
    assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
    assert trio.current_time() == 0.5


# --- the caller


async def test_a_caller_that_leaves_ends_all(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery)
    data = request("POST", "/v1/compare", AUTHORIZED, body=asking("m", "n", "o"))
    talking = Talking(one, data)
    await trio.sleep(1.5)
    talking.link.close()
    await wait_all_tasks_blocked()
    closed = {slug: one.providers[slug].connections[0].closed for slug in "ac"}
    assert closed == {"a": 1.5, "c": 1.5}
    assert one.at_rest()
    (receipt,) = one.receipts
    assert receipt.execution.status is Ending.CANCELLED
    endings = {one.provider: one.ending for one in receipt.attempts}
    assert endings == {"a": Ending.CANCELLED, "b": Ending.COMPLETE, "c": Ending.CANCELLED}
    assert receipt.execution.charged_tokens >= 1500, "what was had until then"
    assert one.counted("kproxy_requests_total", route="/v1/compare", status="cancelled") == 1


async def test_explain(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    answer = await ask(house(nursery), "m", "n", x_kairosroute={"explain": True})
    explained = answer.json()["x_kairosroute"]["explain"]
    assert explained["chain"] == ["a/m", "d/m", "b/n"]
    assert explained["strategy"] == "compare"
    assert [one["provider"] for one in explained["attempts"]] == ["b", "a"], "as they ended"


@pytest.mark.parametrize("path", ["/v1/compare", "/v1/chat/completions"])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stream": True}, "stream"),
        ({"n": 2}, "n"),
        ({"x_kairosroute": {"strategy": "race"}}, "x_kairosroute.strategy"),
        ({"models": ["m"]}, "models"),
        ({"models": ["m", "gpt-0"]}, "models"),
    ],
    ids=str,
)
async def test_refused(
    autojump_clock: MockClock, nursery: trio.Nursery, path: str, fields: dict[str, Any], param: str
) -> None:
    one = house(nursery)
    body = chat(model="kr-compare", **fields)
    answer = await one.send("POST", path, AUTHORIZED, body=body)
    assert answer.status == (404 if "gpt-0" in str(fields) else 400)
    assert answer.error["param"] == param
    assert not one.receipts
    assert not any(provider.dialled for provider in one.providers.values())


# --- once


async def test_idempotency_key(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, once=Once(Answered(Shelf()), lambda: 1_000.0))
    fields = ("POST", "/v1/compare", AUTHORIZED, "idempotency-key: k")
    first = await one.send(*fields, body=asking("m", "n"))
    again = await one.send(*fields, body=asking("m", "n"))
    assert again.body == first.body
    assert again.headers["idempotent-replayed"] == "true"
    assert len(one.receipts) == 1
    assert one.providers["a"].dialled == [0]
    other = await one.send(*fields, body=asking("m", "o"))
    assert other.status == 422
