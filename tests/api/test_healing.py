"""Healing a whole answer: untouched, mended, asked again, or as it came, and what it costs."""

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kproxy.api.guardrails import Guardrails
from kproxy.errors import Rejected
from kproxy.guard.rules import make_rule, rulesets
from kproxy.outcome import Ending
from tests.fakes.caller import Answer, chat, request
from tests.fakes.house import DEAR, KEY, House, Talking, model
from tests.fakes.scripted import Act, ok
from tests.fakes.streams import END, HEAD, ROLE, chunk, event, listen, streamed

OBJECT = {"response_format": {"type": "json_object"}}
INTEGER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
SCHEMA = {
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": INTEGER}}
}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": INTEGER}}]
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}


def says(
    *texts: str, finish: str = "stop", calls: tuple[str, ...] = ()
) -> list[tuple[float, bytes]]:
    """A provider that answers so after a second; each text is a choice."""
    made = [{"type": "function", "function": {"name": "f", "arguments": one}} for one in calls]
    more: dict[str, Any] = {"tool_calls": made} if calls else {}
    choices = [
        {"index": at, "message": {"content": text, **more}, "finish_reason": finish}
        for at, text in enumerate(texts)
    ]
    return [(1.0, ok(json.dumps({"choices": choices, "usage": USAGE}).encode()))]


def content(answer: Answer) -> str:
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def ours(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["x_kairosroute"]
    return found


def one(nursery: trio.Nursery, *answers: Any) -> House:
    """A house with one provider, which gives these answers on one connection."""
    return House(nursery, models=[model("cheap/m")], scripts={"cheap": [list(answers)]})


def two(nursery: trio.Nursery, cheap: Any, dear: Any) -> House:
    return House(nursery, scripts={"cheap": [[cheap]], "dear": [[dear]]})


def asked(house: House, provider: str = "cheap", number: int = 0) -> dict[str, Any]:
    """A request that a provider got."""
    sent = house.providers[provider].connections[0].requests[number]
    found: dict[str, Any] = json.loads(sent.partition(b"\r\n\r\n")[2])
    return found


# --- what is good, and what can be mended


async def test_good_json_is_untouched_byte_for_byte(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    reply = says('{ "n":1 }\n')
    answer = await one(nursery, reply).ask(**SCHEMA)
    body = reply[0][1].partition(b"\r\n\r\n")[2]
    assert answer.body.startswith(body[:-1])
    assert not {"healed", "healing", "unhealed"} & ours(answer).keys()


async def test_broken_json_is_mended(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    house = one(nursery, says("```json\n{'n': 1,}\n```"))
    answer = await house.ask(**SCHEMA)
    assert content(answer) == '{"n": 1}'
    assert ours(answer)["healed"] is True
    assert ours(answer)["healing"] == ["fences", "commas", "quotes"]
    assert ours(answer)["attempts"] == 1
    assert house.receipts[0].execution.healed is True
    assert house.at_rest()


async def test_only_who_asked_for_json_gets_it_mended(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    for fields in ({}, {"x_kairosroute": {"heal": False}, **OBJECT}):
        answer = await one(nursery, says("{'n': 1}")).ask(**fields)
        assert content(answer) == "{'n': 1}"
        assert "healed" not in ours(answer)


async def test_each_choice_is_mended(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    house = one(nursery, says("{'n': 1}", '{"n": 2}', "no"))
    answer = await house.ask(n=3, **OBJECT)
    texts = [choice["message"]["content"] for choice in answer.json()["choices"]]
    assert texts == ['{"n": 1}', '{"n": 2}', "no"]
    assert (ours(answer)["healed"], ours(answer)["unhealed"]) == (False, "not_json")
    assert ours(answer)["attempts"] == 1, "several choices are not asked for again"


async def test_the_arguments_of_a_tool_call_are_mended(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = one(nursery, says("I'll call.", finish="tool_calls", calls=("{'n': '7'}", "")))
    answer = await house.ask(tools=TOOLS, x_kairosroute={"heal": True})
    calls = answer.json()["choices"][0]["message"]["tool_calls"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"n": 7}
    assert calls[1]["function"]["arguments"] == ""
    assert content(answer) == "I'll call."
    assert ours(answer)["unhealed"] == "schema"


async def test_a_cut_answer_is_neither_completed_nor_asked_for_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    answer = await one(nursery, says('{"n": [1', finish="length")).ask(**OBJECT)
    assert content(answer) == '{"n": [1'
    assert (ours(answer)["healed"], ours(answer)["unhealed"]) == (False, "length")
    assert ours(answer)["attempts"] == 1


# --- asking again


async def test_the_next_model_is_asked_once_more(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = two(nursery, says("Sorry."), says('{"n": 1}'))
    answer = await house.ask(**SCHEMA)
    assert trio.current_time() == 2
    assert content(answer) == '{"n": 1}'
    found = ours(answer)
    assert (found["healed"], found["healing"]) == (True, ["asked_again"])
    assert (found["provider"], found["attempts"]) == ("Dear", 2)
    assert answer.headers["x-kairosroute-provider"] == "dear"
    assert found["cost_usd"] == 0.022, "both answers are paid for"
    receipt = house.receipts[0]
    assert [attempt.ending for attempt in receipt.attempts] == [Ending.COMPLETE] * 2
    assert receipt.execution.cost == 22_000_000
    usage = receipt.execution.usage
    assert usage is not None
    assert usage.completion_tokens == 1000, "of both"
    assert answer.json()["usage"]["total_tokens"] == 3000
    assert receipt.execution.savings == -2_000_000, "only what is shown saves"
    assert house.limits.settled[0].tokens == 3000
    assert house.at_rest()


async def test_the_same_model_is_told_what_was_wrong(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = one(nursery, says('{"m": 1}'), says("{'n': 1}"))
    answer = await house.ask(**SCHEMA)
    assert (content(answer), ours(answer)["healing"]) == ('{"n": 1}', ["asked_again", "quotes"])
    first, second = asked(house), asked(house, number=1)
    messages = second["messages"][len(first["messages"]) :]
    assert [message["role"] for message in messages] == ["assistant", "user"]
    assert messages[0]["content"] == '{"m": 1}'
    assert "schema" in messages[1]["content"]
    assert second["response_format"] == first["response_format"]


async def test_a_bad_second_answer_leaves_the_first(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = two(nursery, says("Sorry."), says("Sorry, too."))
    answer = await house.ask(**OBJECT)
    found = ours(answer)
    assert content(answer) == "Sorry."
    assert (found["healed"], found["healing"]) == (False, ["asked_again"])
    assert (found["unhealed"], found["provider"], found["attempts"]) == ("not_json", "Cheap", 2)
    assert found["cost_usd"] == 0.022
    assert answer.headers["x-kairosroute-provider"] == "cheap"
    assert house.receipts[0].execution.healed is False
    assert house.at_rest()


@pytest.mark.parametrize(
    "second", [[(1.0, ok(b"", 500))], [(1.0, Act.CLOSE)], [(1.0, ok(b'{"error":{}}', 400))], []]
)
async def test_a_second_attempt_that_fails_leaves_the_first(
    autojump_clock: MockClock, nursery: trio.Nursery, second: Any
) -> None:
    house = two(nursery, says("Sorry."), second)
    answer = await house.ask(**OBJECT)
    assert (answer.status, content(answer)) == (200, "Sorry.")
    assert ours(answer)["attempts"] == 2
    assert house.receipts[0].execution.status is Ending.COMPLETE
    assert house.at_rest()


async def test_the_deadline_is_the_request_s(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = two(nursery, says("Sorry."), [])
    answer = await house.ask(x_kairosroute={"deadline_ms": 3000}, **OBJECT)
    assert trio.current_time() == 3
    assert content(answer) == "Sorry."


@pytest.mark.parametrize("retries", [0, 1])
async def test_the_attempts_are_the_plan_s(
    autojump_clock: MockClock, nursery: trio.Nursery, retries: int
) -> None:
    house = two(nursery, says("Sorry."), says("{}")).policy(retries=retries)
    answer = await house.ask(**OBJECT)
    assert ours(answer)["attempts"] == 1 + retries
    assert content(answer) == ("{}" if retries else "Sorry.")


async def test_the_cost_cap_is_for_both(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    house = two(nursery, says("Sorry."), says("{}"))
    answer = await house.ask(x_kairosroute={"max_cost_usd": 0.00205}, **OBJECT)
    assert (content(answer), ours(answer)["attempts"]) == ("Sorry.", 1)


async def test_without_a_reservation_nobody_is_asked_again(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = two(nursery, says("Sorry."), says("{}"))
    reserve, limits = house.limits.reserve, house.limits

    def once(*given: Any) -> Any:
        if limits.asked:
            raise Rejected(429, "insufficient_quota", "Used up.")
        return reserve(*given)

    monkeypatch.setattr(limits, "reserve", once)
    answer = await house.ask(**OBJECT)
    assert (content(answer), ours(answer)["attempts"]) == ("Sorry.", 1)
    assert house.at_rest()


async def test_a_caller_who_leaves_meanwhile_is_charged_for_what_was_said(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = two(nursery, says("Sorry."), says("{}"))
    data = request(
        "POST", "/v1/chat/completions", f"authorization: Bearer {KEY}", body=chat(**OBJECT)
    )
    talking = Talking(house, data)
    await trio.sleep(1.5)
    talking.link.close()
    await trio.sleep(1)
    receipt = house.receipts[0]
    assert receipt.execution.status is Ending.CANCELLED
    assert [one.ending for one in receipt.attempts] == [Ending.COMPLETE, Ending.CANCELLED]
    assert house.limits.settled[0].tokens >= 1500
    assert house.at_rest()


# --- before anything is dispatched


@pytest.mark.parametrize(
    "fields",
    [
        {"x_kairosroute": {"heal": "perhaps"}, **OBJECT},
        {"x_kairosroute": {"heal": True}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"schema": {"$ref": "http://127.0.0.1/"}},
            }
        },
    ],
)
async def test_what_cannot_be_healed_is_refused(
    autojump_clock: MockClock, nursery: trio.Nursery, fields: dict[str, Any]
) -> None:
    house = one(nursery, says("{}"))
    answer = await house.ask(**fields)
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert answer.error["param"] in ("x_kairosroute.heal", "response_format.json_schema.schema")
    assert house.providers["cheap"].dialled == []
    assert house.receipts == []


# --- streams

PIECES = ("```json\n", "{'n':", " 1,", "}\n", "```")
BROKEN = [
    (1.0, HEAD + event(ROLE)),
    *((1.0, event(chunk({"content": piece}))) for piece in PIECES),
    (1.0, END),
]


async def test_a_stream_passes_as_it_comes(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    answer = await listen(streamed(one(nursery, BROKEN), **SCHEMA))
    assert answer.text == "".join(PIECES)
    assert "healed" not in answer.chunks[-1]["x_kairosroute"]


@pytest.mark.parametrize("way", ["buffer", "stream", True])
async def test_a_stream_is_healed(
    autojump_clock: MockClock, nursery: trio.Nursery, way: object
) -> None:
    house = one(nursery, BROKEN)
    answer = await listen(streamed(house, x_kairosroute={"heal": way}, **SCHEMA))
    assert answer.text == '{"n": 1}'
    assert answer.chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert answer.chunks[-1]["x_kairosroute"]["healing"] == ["fences", "commas", "quotes"]
    assert house.receipts[0].execution.healed is True
    assert house.at_rest()


@pytest.mark.parametrize(("way", "first"), [("buffer", 4), ("stream", 2)])
async def test_a_good_stream_is_held_or_not(
    autojump_clock: MockClock, nursery: trio.Nursery, way: str, first: float
) -> None:
    pieces = [(1.0, event(chunk({"content": text}))) for text in ('{"n":', "1}")]
    script = [(1.0, HEAD + event(ROLE)), *pieces, (1.0, END)]
    talking = streamed(one(nursery, script), x_kairosroute={"heal": way}, **OBJECT)
    answer = await listen(talking)
    assert answer.text == '{"n":1}'
    assert "healed" not in answer.chunks[-1]["x_kairosroute"]
    assert next(at for at, data in talking.pieces if b'content":"{' in data) == first


async def test_the_price_of_a_dear_model_is_no_reason(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A lone dear model is asked again, where no cap forbids it."""
    house = House(
        nursery, models=[model("dear/m", DEAR)], scripts={"dear": [[says("no"), says("{}")]]}
    )
    assert content(await house.ask(**OBJECT)) == "{}"


# --- together with the operator's rules


@pytest.mark.parametrize("stream", [False, True])
async def test_rules_see_what_healing_has_left(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    """Of a draft that is taken off nothing is found, and what is found stands in good JSON."""
    mask = make_rule("mask", (), name="", builtin="email", pattern=None)
    asked_of, answered = rulesets([mask])
    guard = Guardrails(asked_of, answered, None, trio.CapacityLimiter(1))
    text = "<think>{}</think>{'to': '<EMAIL_1>',}"
    pieces = [event(chunk({"content": text[at : at + 5]})) for at in range(0, len(text), 5)]
    script = [(1.0, HEAD + event(ROLE) + b"".join(pieces)), (1.0, END)] if stream else says(text)
    house = House(
        nursery, models=[model("cheap/m")], scripts={"cheap": [[script]]}, guardrails=guard
    )
    fields: dict[str, Any] = {
        "messages": [{"role": "user", "content": "I am ann@b.co"}],
        "x_kairosroute": {"heal": True},
        **OBJECT,
    }
    if stream:
        heard = await listen(streamed(house, **fields))
        found, told = heard.text, heard.chunks[-1]["x_kairosroute"]
    else:
        answer = await house.ask(**fields)
        found, told = content(answer), ours(answer)
    assert json.loads(found) == {"to": "ann@b.co"}
    assert told["healing"] == ["thinking", "commas", "quotes"]
    assert told["guardrails"] == [{"rule": "email", "action": "mask", "count": 1}]
    assert house.at_rest()


async def test_a_rule_blocks_an_answer_that_was_asked_for_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    words = make_rule("block", (), name="words", builtin=None, pattern="forbidden")
    guard = Guardrails(*rulesets([words]), None, trio.CapacityLimiter(1))
    scripts = {"cheap": [[says("no"), says('{"a": "forbidden"}')]]}
    house = House(nursery, models=[model("cheap/m")], scripts=scripts, guardrails=guard)
    answer = await house.ask(**OBJECT)
    assert (answer.status, answer.error["code"]) == (400, "content_blocked")
    receipt = house.receipts[0]
    assert receipt.execution.charged_tokens == 3000, "both were written"
    assert receipt.execution.cost == 4_000_000
    assert house.at_rest()
