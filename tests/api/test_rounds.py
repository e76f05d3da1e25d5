"""The tool loop: rounds of a model that calls our tools, as one answer to the caller."""

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kproxy.admission.quota import Amount
from kproxy.outcome import Ending
from tests.fakes.house import House, model
from tests.fakes.plugged import ADD, OWN, Adder, round_of, sent, tool_call
from tests.fakes.rounds import (
    LAST,
    PLUGINS,
    ROUND,
    USED,
    asked,
    both,
    finish_of,
    house_of,
    ours_of,
    said,
)
from tests.fakes.streams import listen, streamed


@both
async def test_a_round_and_the_answer(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    adder = Adder(seconds=2)
    house = house_of(nursery, adder, said(stream, None, tool_call()), said(stream, "It is 3."))
    answer = await asked(house, stream=stream)
    assert answer.whole
    assert answer.text == "It is 3."
    assert finish_of(answer) == "stop"
    assert [json.loads(one) for one in adder.asked] == [{"a": 1, "b": 2}]
    ours = ours_of(answer)
    assert ours["plugins"] == [{"id": "code-exec", "ok": True, "ms": 2000.0, "calls": 1}]
    assert ours["attempts"] == 2
    assert ours["cost_usd"] == 0.004
    assert b"kairosroute_add" not in answer.body
    assert house.at_rest()


@both
async def test_what_the_provider_is_asked(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    call = tool_call() | {"extra_content": {"signature": "s"}}
    house = house_of(nursery, Adder(), said(stream, "Let me see.", call), said(stream, "3"))
    await asked(house, stream=stream, tools=[OWN], tool_choice="required", user="u")
    first, second = map(sent, house.providers["cheap"].connections[0].requests)
    assert [one["function"]["name"] for one in first["tools"]] == ["weather", ADD]
    assert first["tool_choice"] == "required"
    assert "plugins" not in first
    assert second["messages"] == [
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_a", "content": "3"},
    ]
    assert second["tools"] == first["tools"]
    assert "tool_choice" not in second
    assert second["user"] == "u"


@both
async def test_all_rounds_are_on_the_one_receipt(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    house = house_of(nursery, Adder(), said(stream, None, tool_call()), said(stream, "3"))
    await asked(house, stream=stream)
    (receipt,) = house.receipts
    assert [one.ending for one in receipt.attempts] == [Ending.COMPLETE] * 2
    assert receipt.execution.usage is not None
    assert receipt.execution.usage.prompt_tokens == 2_000
    assert receipt.execution.charged_tokens == 2 * USED
    assert [one.id for one in receipt.plugins] == ["code-exec"]
    assert house.limits.settled == [Amount(2 * USED, 4_000_000)]
    assert house.limits.held == []


@both
async def test_words_of_all_rounds_are_one_text(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    rounds = [said(stream, "One.", tool_call()), said(stream, None, tool_call())]
    house = house_of(nursery, Adder(), *rounds, said(stream, "Two."))
    answer = await asked(house, stream=stream)
    assert answer.text == "One.\n\nTwo."
    assert ours_of(answer)["plugins"][0]["calls"] == 2


@both
async def test_usage_is_the_sum(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    house = house_of(nursery, Adder(), said(stream, None, tool_call()), said(stream, "3"))
    more = {"stream_options": {"include_usage": True}} if stream else {}
    answer = await asked(house, stream=stream, **more)
    usage = answer.chunks[-1]["usage"] if stream else answer.json()["usage"]
    assert usage["prompt_tokens"] == 2_000
    assert usage["completion_tokens"] == 1_000
    assert usage["total_tokens"] == 3_000


async def test_words_pass_at_once_and_calls_do_not(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    adder = Adder(seconds=5)
    house = house_of(nursery, adder, round_of(["One"], tool_call()), round_of(["Two"], ident="c2"))
    talking = streamed(house, plugins=PLUGINS)
    answer = await listen(talking)
    times = [at for at, data in talking.pieces if b"content" in data or b"finish" in data]
    # A role and a word; three pieces of a call, the end and the usage, the call; a role and a word.
    assert times == [2, 14, 16]
    names = {(one["id"], one["created"]) for one in answer.chunks}
    assert names == {("c1", 7)}, "one stream"
    roles = [choice["delta"].get("role") for one in answer.chunks for choice in one["choices"]]
    assert roles.count("assistant") == 1


async def test_a_caller_who_waits_for_a_tool_sees_signs_of_life(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    adder = Adder(seconds=9)
    house = house_of(nursery, adder, round_of(["One"], tool_call()), round_of(["Two"]), heartbeat=4)
    talking = streamed(house, plugins=PLUGINS)
    await listen(talking)
    assert [at for at, data in talking.pieces if b": waiting" in data] == [11, 15]


# --- the caller's own tools


@both
async def test_the_callers_tools_are_the_callers(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    own = tool_call("weather", "{}", "call_w")
    house = house_of(nursery, adder := Adder(), said(stream, None, own))
    answer = await asked(house, stream=stream, tools=[OWN])
    assert finish_of(answer) == "tool_calls"
    assert b"call_w" in answer.body
    assert adder.asked == []


@both
async def test_of_both_the_caller_answers_first(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    """Ours are left out as if they had not been made."""
    calls = [tool_call(), tool_call("weather", '{"city":"x"}', "call_w")]
    house = house_of(nursery, adder := Adder(), said(stream, None, *calls))
    answer = await asked(house, stream=stream, tools=[OWN])
    assert finish_of(answer) == "tool_calls"
    assert adder.asked == []
    assert ADD.encode() not in answer.body
    if stream:
        pieces = [
            piece
            for one in answer.chunks
            for choice in one["choices"]
            for piece in choice["delta"].get("tool_calls", ())
        ]
        assert {piece["index"] for piece in pieces} == {0}, "counted without ours"
        assert "".join(piece["function"]["arguments"] for piece in pieces) == '{"city":"x"}'
    else:
        assert answer.json()["choices"][0]["message"]["tool_calls"] == [calls[1]]


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": ADD}}]}, "tools"),
        ({"functions": [{"name": "weather"}]}, "functions"),
        ({"n": 2}, "n"),
    ],
)
async def test_what_does_not_go_with_tools_of_ours(
    autojump_clock: MockClock, nursery: trio.Nursery, members: Any, param: str
) -> None:
    house = house_of(nursery, Adder(), [(1.0, LAST)])
    answer = await asked(house, stream=False, **members)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert house.receipts == []


async def test_models_without_tools_are_left_out(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    models = [model("cheap/m", capabilities=frozenset({"json"})), model("dear/m")]
    house = House(
        nursery,
        models=models,
        scripts={"dear": [[[(1.0, ROUND)], [(1.0, LAST)]]]},
        plugins=Adder().plugins(),
    )
    answer = await asked(house, stream=False)
    assert ours_of(answer)["provider"] == "Dear"


@both
async def test_json_is_healed_and_has_no_words_beside_it(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    rounds = [said(stream, "Let me see.", tool_call()), said(stream, '```json\n{"a":3,}\n```')]
    house = house_of(nursery, Adder(shown="x"), *rounds)
    more: dict[str, Any] = {"response_format": {"type": "json_object"}}
    if stream:
        more["x_kairosroute"] = {"heal": "buffer"}
    answer = await asked(house, stream=stream, **more)
    assert json.loads(answer.text) == {"a": 3}
    assert ours_of(answer)["healed"] is True


async def test_json_that_cannot_be_healed_is_asked_for_again_in_its_round(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    scripts = {
        "cheap": [[said(False, None, tool_call()), said(False, "No.")]],
        "dear": [[said(False, '{"a":3}')]],
    }
    house = House(nursery, scripts=scripts, plugins=Adder().plugins())
    answer = await asked(house, stream=False, response_format={"type": "json_object"})
    assert json.loads(answer.text) == {"a": 3}
    again = sent(house.providers["dear"].connections[0].requests[0])["messages"]
    assert [one["role"] for one in again] == ["user", "assistant", "tool", "assistant", "user"]
    assert answer.json()["usage"]["total_tokens"] == 3 * USED
    usage = house.receipts[0].execution.usage
    assert usage is not None
    assert usage.prompt_tokens + usage.completion_tokens == 3 * USED
    assert house.at_rest()


async def test_usage_is_the_sum_in_json_mode(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = house_of(nursery, Adder(), said(False, None, tool_call()), said(False, '{"a":3}'))
    answer = await asked(house, stream=False, response_format={"type": "json_object"})
    assert answer.json()["usage"]["total_tokens"] == 2 * USED
    usage = house.receipts[0].execution.usage
    assert usage is not None
    assert usage.prompt_tokens + usage.completion_tokens == 2 * USED


@both
@pytest.mark.parametrize("heal", [None, True])
async def test_the_arguments_of_our_calls_are_healed(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool, heal: bool | None
) -> None:
    broken = tool_call(arguments="{'a': 1, \"b\": 2,}")
    house = house_of(nursery, adder := Adder(), said(stream, None, broken), said(stream, "3"))
    more = {} if heal is None else {"x_kairosroute": {"heal": heal}}
    answer = await asked(house, stream=stream, **more)
    assert answer.text == "3"
    assert json.loads(adder.asked[0]) == {"a": 1, "b": 2}
    called, result = sent(house.providers["cheap"].connections[0].requests[1])["messages"][-2:]
    assert called["tool_calls"][0]["function"]["arguments"] == adder.asked[0]
    assert result["content"] == "3"
    assert house.at_rest()


@pytest.mark.parametrize(
    ("arguments", "heal"),
    [('{"a": 1, "b": 2,}', False), ("Hm.", None), ('{"a":1, "b":2, "c": "1"}', None)],
)
async def test_arguments_that_are_not_to_be_healed_go_as_they_are(
    autojump_clock: MockClock, nursery: trio.Nursery, arguments: str, heal: bool | None
) -> None:
    call = tool_call(arguments=arguments)
    house = house_of(nursery, adder := Adder(), said(False, None, call), said(False, "Well."))
    more = {} if heal is None else {"x_kairosroute": {"heal": heal}}
    await asked(house, stream=False, **more)
    assert adder.asked == [arguments]


# --- what is shown, and what it costs


@both
async def test_what_a_tool_shows_stands_in_the_answer_and_is_charged(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    adder = Adder(shown="![sum](https://i.test/1.png)")
    rounds = [said(stream, "Here:", tool_call()), said(stream, "Nice?")]
    house = house_of(nursery, adder, *rounds, plugins=adder.plugins(price=40_000_000))
    answer = await asked(house, stream=stream)
    assert answer.text == "Here:\n\n![sum](https://i.test/1.png)\n\nNice?"
    ours = ours_of(answer)
    assert ours["cost_usd"] == 0.044
    assert ours["model"] == "m"
    (receipt,) = house.receipts
    assert receipt.execution.cost == 44_000_000
    assert [one.provider for one in receipt.attempts] == ["code-exec", "cheap", "cheap"]


async def test_a_call_that_the_cap_has_no_room_for_is_not_made(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    adder = Adder(shown="x")
    plugins = adder.plugins(price=40_000_000)
    house = house_of(nursery, adder, [(1.0, ROUND)], [(1.0, LAST)], plugins=plugins)
    answer = await asked(house, stream=False, x_kairosroute={"max_cost_usd": 0.04})
    assert adder.asked == []
    assert answer.text == "It is 3."
    assert "cap on cost" in ours_of(answer)["plugins"][0]["error"]
