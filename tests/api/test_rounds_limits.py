"""What ends a tool loop: limits, deadlines, failures, and a caller that leaves."""

import json
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.admission.quota import Amount
from kproxy.api.idempotency import Once
from kproxy.outcome import Ending
from kproxy.plugins.source import PluginFailed
from tests.api.test_chat_cancelled import check_receipts, idle, serve_one
from tests.fakes.caller import Answer, chat
from tests.fakes.cancel import cancelled_at
from tests.fakes.house import KEY, House, model
from tests.fakes.kept_answers import Answered, Shelf
from tests.fakes.plugged import ADD, Adder, reply, round_of, sent, tool_call
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
from tests.fakes.scripted import Act, ok
from tests.fakes.streams import streamed

# --- limits


@both
async def test_the_last_round_cannot_call(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    adder = Adder()
    rounds = [said(stream, None, tool_call())] * 2
    house = house_of(nursery, adder, *rounds, said(stream, "3"), plugins=adder.plugins(rounds=3))
    answer = await asked(house, stream=stream)
    assert answer.text == "3"
    requests = [sent(one) for one in house.providers["cheap"].connections[0].requests]
    assert [one.get("tool_choice") for one in requests] == [None, None, "none"]


@both
async def test_a_model_that_calls_for_ever_is_stopped(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    adder = Adder()
    rounds = [said(stream, None, tool_call())] * 2
    house = house_of(nursery, adder, *rounds, plugins=adder.plugins(rounds=2))
    answer = await asked(house, stream=stream)
    assert finish_of(answer) == "length"
    assert len(adder.asked) == 1
    assert ADD.encode() not in answer.body


@both
async def test_the_cap_on_cost_is_for_all_rounds(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    house = house_of(nursery, Adder(), said(stream, "Hm.", tool_call()))
    answer = await asked(house, stream=stream, x_kairosroute={"max_cost_usd": 0.002})
    assert answer.whole
    assert answer.text == "Hm."
    assert finish_of(answer) == "length"
    (report,) = ours_of(answer)["plugins"]
    assert report["ok"] is False
    assert "cap on cost" in report["error"]
    assert house.receipts[0].execution.status is Ending.COMPLETE
    assert house.at_rest()


async def test_a_stop_tells_the_usage_where_it_was_asked_for(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = house_of(nursery, Adder(), round_of(["Hm."], tool_call()))
    cap = {"max_cost_usd": 0.002}
    more = {"stream_options": {"include_usage": True}, "x_kairosroute": cap}
    answer = await asked(house, stream=True, **more)
    assert answer.chunks[-1]["choices"] == []
    assert answer.chunks[-1]["usage"]["total_tokens"] == USED
    assert "x_kairosroute" in answer.chunks[-1]
    assert answer.data[-1] == "[DONE]"


@both
async def test_a_tool_that_takes_too_long_is_an_answer_to_the_model(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    adder = Adder(seconds=1_000)
    house = house_of(nursery, adder, said(stream, None, tool_call()), said(stream, "Well."))
    answer = await asked(house, stream=stream)
    assert answer.text == "Well."
    (report,) = ours_of(answer)["plugins"]
    assert report == {
        "id": "code-exec", "ok": False, "ms": 10_000.0, "calls": 1, "error": "it took too long"
    }  # fmt: skip
    again = sent(house.providers["cheap"].connections[0].requests[1])
    assert again["messages"][-1]["content"] == "[error: it took too long]"


async def test_the_requests_deadline_ends_a_tool(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    adder = Adder(seconds=8)
    house = house_of(nursery, adder, [(1.0, ROUND)])
    answer = await asked(house, stream=False, x_kairosroute={"deadline_ms": 5_000})
    assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
    assert trio.current_time() == 5
    assert adder.ended == 1
    assert house.limits.settled == [], "a request that failed costs nothing"
    assert house.at_rest()


async def test_a_deadline_in_the_middle_of_a_stream_is_charged_for_what_was_said(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = house_of(nursery, Adder(seconds=8), round_of(["One"], tool_call()))
    answer = await asked(house, stream=True, x_kairosroute={"deadline_ms": 9_000})
    assert not answer.whole
    error = answer.chunks[-1]["error"]
    assert error["code"] == "deadline_exceeded"
    assert error["message"] == "The request's deadline ran out before the answer was whole."
    assert "[DONE]" not in answer.data
    assert house.receipts[0].execution.status is Ending.FAULT
    assert house.limits.settled == [Amount(USED, 2_000_000)]


@pytest.mark.parametrize(
    ("error", "said_of"),
    [
        (PluginFailed("no more paper"), "no more paper"),
        (RuntimeError("secret words"), "it failed"),
    ],
)
async def test_a_tool_that_fails_is_an_answer_to_the_model(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    error: Exception,
    said_of: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = house_of(nursery, Adder(error=error), [(1.0, ROUND)], [(1.0, LAST)])
    answer = await asked(house, stream=False)
    assert answer.text == "It is 3."
    assert ours_of(answer)["plugins"][0]["error"] == said_of
    assert "secret words" not in caplog.text


async def test_too_many_calls_at_once_are_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    calls = [tool_call(ident=f"call_{number}") for number in range(10)]
    house = house_of(nursery, adder := Adder(), [(1.0, reply(None, *calls))], [(1.0, LAST)])
    answer = await asked(house, stream=False)
    assert len(adder.asked) == 8
    assert ours_of(answer)["plugins"][0]["ok"] is False
    results = sent(house.providers["cheap"].connections[0].requests[1])["messages"][2:]
    assert len(results) == 10
    assert results[-1]["content"].startswith("[error: more than 8 calls at once")


async def test_a_long_result_is_cut(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    call = tool_call(arguments=json.dumps({"a": 10**60, "b": 0}))
    house = house_of(nursery, Adder(), [(1.0, reply(None, call))], [(1.0, LAST)])
    await asked(house, stream=False)
    again = sent(house.providers["cheap"].connections[0].requests[1])
    assert again["messages"][-1]["content"] == "1" + "0" * 39 + "\n[cut]"


@both
async def test_a_half_call_is_not_carried_out(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    house = house_of(nursery, adder := Adder(), said(stream, "x", tool_call(), finish="length"))
    answer = await asked(house, stream=stream)
    assert (adder.asked, finish_of(answer), answer.text) == ([], "length", "x")
    assert ADD.encode() not in answer.body


# --- failures of providers


@both
async def test_a_later_round_has_the_whole_chain(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    """Who answered is asked first, and then the others."""
    down = [(1.0, ok(b"", 503)), (0.0, Act.CLOSE)]
    house = House(
        nursery,
        scripts={
            "cheap": [[said(stream, None, tool_call()), down]],
            "dear": [[said(stream, "3")]],
        },
        plugins=Adder().plugins(),
    )
    answer = await asked(house, stream=stream)
    assert answer.text == "3"
    assert ours_of(answer)["provider"] == "Dear"
    assert [one.ending.value for one in house.receipts[0].attempts] == [
        "complete", "fault", "complete"
    ]  # fmt: skip


async def test_the_next_round_goes_to_who_answered_the_one_before(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    down = [(1.0, ok(b"", 503)), (0.0, Act.CLOSE)]
    house = House(
        nursery,
        scripts={"cheap": [[down], [[(1.0, LAST)]]], "dear": [[[(1.0, ROUND)], [(1.0, LAST)]]]},
        plugins=Adder().plugins(),
    )
    answer = await asked(house, stream=False)
    assert answer.text == "It is 3."
    assert [one.provider for one in house.receipts[0].attempts] == ["cheap", "dear", "dear"]


async def test_a_round_that_cannot_be_had_ends_the_stream_with_an_error(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = house_of(nursery, Adder(), round_of(["One"], tool_call()), [(0.0, Act.CLOSE)])
    answer = await asked(house, stream=True)
    assert not answer.whole
    assert answer.chunks[-1]["error"]["code"] == "all_models_unavailable"
    assert house.receipts[0].execution.status is Ending.FAULT
    assert house.at_rest()


@pytest.mark.parametrize("number", [1, 2])
async def test_a_round_that_breaks_is_rescued(
    autojump_clock: MockClock, nursery: trio.Nursery, number: int
) -> None:
    """Also in the second round, from that round's own words."""
    models = [model("cheap/m", prefill=True), model("dear/m", prefill=True)]
    cut = [*round_of(["Half "])[:3], (1.0, Act.RESET)]
    first = [round_of(["One."], tool_call())] if number == 2 else []
    rest = round_of(["whole"], ident="c9")
    if number == 1:
        rest = round_of(["whole"], tool_call(), ident="c9")
    house = House(
        nursery,
        models=models,
        scripts={"cheap": [[*first, cut]], "dear": [[rest, round_of(["End"])]]},
        plugins=Adder().plugins(),
    )
    answer = await asked(house, stream=True, x_kairosroute={"rescue": True})
    assert answer.whole
    assert answer.text == ("One.\n\nHalf whole" if number == 2 else "Half whole\n\nEnd")
    assert {one["id"] for one in answer.chunks} == {"c1"}
    asked_last = sent(house.providers["dear"].connections[0].requests[0])["messages"]
    assert asked_last[-1] == {"role": "assistant", "content": "Half"}
    if number == 1:
        after = sent(house.providers["dear"].connections[0].requests[1])["messages"]
        assert after[-2]["content"] == "Half whole"
    assert house.at_rest()


# --- anywhere


@both
async def test_nothing_is_left_wherever_a_loop_is_cancelled(
    autojump_clock: MockClock, stream: bool
) -> None:
    body, step, goes_on = chat(stream=stream, plugins=PLUGINS), 0, True
    while goes_on:
        step += 1
        async with trio.open_nursery() as nursery:
            adder = Adder(seconds=1, shown="x")
            rounds = [said(stream, "One", tool_call()), said(stream, "Two")]
            house = house_of(nursery, adder, *rounds)
            goes_on = await cancelled_at(step, partial(serve_one, house, body), every_task=True)
            await wait_all_tasks_blocked()
            assert house.at_rest()
            assert sum(one.open for one in house.providers.values()) == idle(house)
            check_receipts(house, cancelled=goes_on)
            assert adder.ended == len(adder.asked)
            nursery.cancel_scope.cancel()
    assert step > 10


async def test_a_caller_that_leaves_ends_the_tool(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    adder = Adder(seconds=9)
    house = house_of(nursery, adder, round_of(["One"], tool_call()))
    talking = streamed(house, plugins=PLUGINS)
    await trio.sleep(9)
    talking.link.close()
    await wait_all_tasks_blocked()
    assert adder.ended == 1
    (receipt,) = house.receipts
    assert receipt.execution.status is Ending.CANCELLED
    assert receipt.execution.charged_tokens == USED
    assert house.at_rest()


async def test_a_request_without_plugins_has_no_loop(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Even where its model calls something of that name."""
    house = house_of(nursery, adder := Adder(), [(1.0, ROUND)])
    answer = await asked(house, stream=False, plugins=[])
    assert answer.json()["choices"][0]["message"]["tool_calls"] == [tool_call()]
    assert adder.asked == []
    assert "plugins" not in ours_of(answer)


async def test_a_loop_with_an_idempotency_key_runs_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    adder = Adder(seconds=2)
    once = Once(Answered(Shelf()), lambda: 1_000.0)  # type: ignore[arg-type]
    house = house_of(nursery, adder, [(1.0, ROUND)], [(1.0, LAST)], once=once)
    fields = (f"authorization: Bearer {KEY}", "idempotency-key: k")
    answers: list[Answer] = []

    async def ask() -> None:
        body = chat(plugins=PLUGINS)
        answers.append(await house.send("POST", "/v1/chat/completions", *fields, body=body))

    async with trio.open_nursery() as twins:
        twins.start_soon(ask)
        twins.start_soon(ask)
    assert [answer.text for answer in answers] == ["It is 3."] * 2
    assert answers[0].body == answers[1].body
    assert len(adder.asked) == 1
    assert house.at_rest()
