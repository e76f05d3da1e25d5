"""A stream that breaks after its first token and is continued by somebody else, where asked for."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kproxy.outcome import Ending
from kproxy.schema.receipt import Join
from tests.fakes.house import DEAR, House, model
from tests.fakes.raw_provider import LAST_CHUNK, framed
from tests.fakes.scripted import Act, Answer, ok
from tests.fakes.streams import HEAD, STOP, USAGE, chunk, event, listen, streamed

MODELS = (
    model("cheap/m", prefill=True),
    model("dear/m", DEAR, prefill=True),
    model("other/n", DEAR, prefill=True),
)
RESCUE = {"rescue": True}


def part(text: str, name: str, **more: Any) -> bytes:
    return event(chunk({"content": text}, id=name, created=len(name), model=name, **more))


def begun(*ending: tuple[float, bytes | Act]) -> Answer:
    """Two pieces of text a second apart, and then what breaks it."""
    return [(1.0, HEAD + part("One ", "first")), (1.0, part("two ", "first")), *ending]


LAST = event(json.dumps({"id": "second", "choices": [], "usage": USAGE}))
REST = [
    (0.5, HEAD + event(chunk({"role": "assistant", "content": ""}, id="second"))),
    (0.5, part(" three", "second")),
    (0.5, event(STOP) + LAST + event("[DONE]") + LAST_CHUNK),
]
CUT = begun((1.0, Act.CLOSE))
REFUSED = [(0.5, ok(b'{"error":{"message":"no prefill"}}', 400))]


def house(nursery: trio.Nursery, *models: Any, **scripts: Sequence[Sequence[Answer]]) -> House:
    return House(nursery, models=models or MODELS, scripts=scripts)


def asked(house: House, provider: str, at: int = 0) -> dict[str, Any]:
    """The body of a request that a provider has got."""
    raw = house.providers[provider].connections[at].requests[0]
    found = json.loads(raw.partition(b"\r\n\r\n")[2])
    assert isinstance(found, dict)
    return found


async def test_a_cut_stream_is_continued_by_the_same_model_elsewhere(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, cheap=[[CUT]], dear=[[REST]])
    talking = streamed(one, x_kairosroute={**RESCUE, "explain": True})
    answer = await listen(talking)
    assert answer.whole
    assert answer.text == "One two three"
    assert [at for at, _ in talking.pieces] == [1, 2, 4, 4.5]
    assert answer.data[-1] == "[DONE]"
    assert {piece["id"] for piece in answer.chunks[:-1]} == {"first"}
    assert all("role" not in piece["choices"][0]["delta"] for piece in answer.chunks)
    ours = answer.chunks[-1]["x_kairosroute"]
    assert ours["rescued"] == [{"at": 8, "model": "m", "provider": "dear"}]
    assert ours["attempts"] == 2
    assert one.receipts[0].execution.joins == (Join(8, "m", "dear"),)
    assert one.at_rest()


async def test_the_other_goes_on_from_what_was_shown(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    long = (1.0, part("three-and-twenty-thousand and ", "first"))
    one = house(nursery, cheap=[[begun(long, (1.0, Act.CLOSE))]], dear=[[REST]])
    await listen(streamed(one, max_tokens=100, x_kairosroute=RESCUE))
    before, after = asked(one, "cheap"), asked(one, "dear")
    said = {"role": "assistant", "content": "One two three-and-twenty-thousand and"}
    assert after["messages"] == [*before["messages"], said]
    assert after["max_tokens"] == 97, "three events with text were shown"
    assert "x_kairosroute" not in after


async def test_both_parts_are_on_the_receipt(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, cheap=[[CUT]], dear=[[REST]])
    await listen(streamed(one, x_kairosroute=RESCUE))
    first, second = one.receipts[0].attempts
    assert (first.ending, first.fault, first.first_token) == (Ending.FAULT, "closed_early", 1)
    assert first.usage is not None
    assert first.usage.estimated
    assert second.usage is not None
    assert (second.usage.prompt_tokens, second.usage.completion_tokens) == (1000, 500)
    execution = one.receipts[0].execution
    assert execution.usage is not None
    assert execution.usage.completion_tokens == 500 + first.usage.completion_tokens
    assert execution.cost == (first.cost or 0) + (second.cost or 0)
    assert (execution.status, execution.first_token) == (Ending.COMPLETE, 1)


async def test_usage_that_was_asked_for_is_that_of_both(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, cheap=[[CUT]], dear=[[REST]])
    wish = {"stream_options": {"include_usage": True}, "x_kairosroute": RESCUE}
    answer = await listen(streamed(one, **wish))
    usage, execution = answer.chunks[-1]["usage"], one.receipts[0].execution
    assert answer.chunks[-1]["choices"] == []
    assert execution.usage is not None
    assert usage["prompt_tokens"] == execution.usage.prompt_tokens
    assert usage["completion_tokens"] == execution.usage.completion_tokens


async def test_unasked_nobody_goes_on(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, cheap=[[CUT]], dear=[[REST]])
    answer = await listen(streamed(one))
    assert not answer.whole
    assert [set(piece) for piece in answer.chunks[-1:]] == [{"error"}]
    assert "[DONE]" not in answer.data
    assert one.providers["dear"].dialled == []
    receipt = one.receipts[0]
    assert receipt.execution.status is Ending.FAULT
    assert receipt.execution.usage is not None, "what the caller was shown"


@pytest.mark.parametrize(
    ("ending", "kind", "at"),
    [
        ((1.0, Act.CLOSE), "closed_early", 3),
        ((1.0, Act.RESET), "closed_early", 3),
        ((1.0, event("{")), "bad_body", 3),
        ((1.0, b"zz\r\n"), "bad_framing", 3),
        ((1.0, event('{"error":{"message":"no"}}')), "error_event", 3),
        ((1.0, LAST_CHUNK), "closed_early", 3),
        ((60.0, b""), "gap_timeout", 7),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_however_it_breaks(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    ending: tuple[float, bytes | Act],
    kind: str,
    at: float,
) -> None:
    one = house(nursery, cheap=[[begun(ending)]], dear=[[REST]])
    answer = await listen(streamed(one, x_kairosroute=RESCUE))
    assert (answer.text, answer.whole) == ("One two three", True)
    first, second = one.receipts[0].attempts
    assert (first.fault, first.ended, second.started) == (kind, at, at)


async def test_text_in_front_of_the_break_is_shown_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A good event and a bad one in one piece: the good one is shown, and gone on from."""
    both = part("and ", "first") + event("{")
    one = house(nursery, cheap=[[begun((1.0, both))]], dear=[[REST]])
    answer = await listen(streamed(one, x_kairosroute=RESCUE))
    assert answer.text == "One two and three"
    assert asked(one, "dear")["messages"][-1]["content"] == "One two and"


async def test_text_that_shows_only_at_the_end_is_shown_too(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """An event whose last line end may be the first half of one, until the body is over."""
    last = framed(b"data: %b\r\r" % chunk({"content": "and "}).encode()) + LAST_CHUNK
    one = house(nursery, cheap=[[begun((1.0, last))]], dear=[[REST]])
    answer = await listen(streamed(one, x_kairosroute=RESCUE))
    assert answer.text == "One two and three"
    assert asked(one, "dear")["messages"][-1]["content"] == "One two and"


async def test_who_failed_before_the_first_token_is_no_part_of_the_answer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    thought = event(chunk({"role": "assistant"}, id="unseen"))
    unseen = [(0.5, HEAD + thought), (0.5, Act.CLOSE)]
    one = house(nursery, cheap=[[unseen]], dear=[[CUT], [REST]])
    answer = await listen(streamed(one, x_kairosroute=RESCUE))
    assert (answer.text, answer.whole) == ("One two three", True)
    assert {piece["id"] for piece in answer.chunks[:-1]} == {"first"}


async def test_who_lost_the_race_is_no_part_of_the_answer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Two have their first words in one instant; whoever wins, the words gone on from are its."""
    twin = [(1.0, HEAD + part("One ", "loser")), *CUT[1:]]
    one = house(nursery, cheap=[[CUT], [REST]], dear=[[twin], [REST]], other=[[REST]])
    answer = await listen(streamed(one, x_kairosroute={**RESCUE, "strategy": "race"}))
    endings = [line.ending for line in one.receipts[0].attempts]
    assert endings == [Ending.SUPERSEDED, Ending.FAULT, Ending.COMPLETE]
    assert answer.text == "One two three"
    bodies = [
        json.loads(raw.partition(b"\r\n\r\n")[2])
        for provider in one.providers.values()
        for connection in provider.connections
        for raw in connection.requests
    ]
    prefills = [body["messages"][-1] for body in bodies if len(body["messages"]) > 1]
    assert prefills == [{"role": "assistant", "content": "One two"}]


async def test_white_space_is_left_to_who_goes_on(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Who said it again, and failed at once, was not heard."""
    unheard = [(0.5, HEAD + part(" ", "second") + event("{"))]
    one = house(nursery, cheap=[[CUT], [REST]], dear=[[unheard]])
    answer = await listen(streamed(one, x_kairosroute=RESCUE))
    assert (answer.text, answer.whole) == ("One two three", True)
    assert [line.fault for line in one.receipts[0].attempts] == ["closed_early", "bad_body", None]


async def test_an_odd_number_in_a_later_part_is_passed_on(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    number = "1" * 5_000
    odd = event(chunk({"content": "three"})[:-1] + f',"x":1e999,"y":{number}}}')
    rest = [(0.5, HEAD + odd), (0.5, event(STOP) + LAST_CHUNK)]
    one = house(nursery, cheap=[[CUT]], dear=[[rest]])
    talking = streamed(one, x_kairosroute=RESCUE)
    await talking.until(lambda: talking.ended or talking.raw.endswith(b"\r\n" + LAST_CHUNK))
    assert b'"content":"three"' in talking.raw
    assert b'"x":1e999,"y":%b}' % number.encode() in talking.raw
    assert one.receipts[0].execution.status is Ending.COMPLETE


async def test_who_refuses_a_prefill_is_passed_over(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The refusal is not the caller's fault: somebody else goes on, here who was cut."""
    one = house(nursery, cheap=[[CUT], [REST]], dear=[[REFUSED]])
    answer = await listen(streamed(one, x_kairosroute=RESCUE))
    assert answer.text == "One two three"
    assert answer.chunks[-1]["x_kairosroute"]["rescued"][0]["provider"] == "cheap"
    faults = [(one.provider, one.fault) for one in one.receipts[0].attempts]
    assert faults == [("cheap", "closed_early"), ("dear", "no_prefill"), ("cheap", None)]
    assert one.service.routes.snapshot(99)["dear/m"].measured.error_rate == 0


async def test_where_nobody_can_go_on_the_caller_is_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, cheap=[[CUT], [REFUSED]], dear=[[REFUSED]])
    answer = await listen(streamed(one, x_kairosroute=RESCUE))
    assert (answer.text, answer.whole) == ("One two ", False)
    assert sum("error" in piece for piece in answer.chunks) == 1
    assert "[DONE]" not in answer.data
    assert len(one.receipts[0].attempts) == 3
    assert one.at_rest()


async def test_a_second_break_is_rescued_too(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    again = [(0.5, HEAD + part("three ", "second")), (0.5, Act.CLOSE)]
    last = [(0.5, HEAD + part("four", "third")), (0.5, event(STOP) + LAST_CHUNK)]
    one = house(nursery, cheap=[[CUT]], dear=[[again], [last]])
    answer = await listen(streamed(one, x_kairosroute=RESCUE))
    assert (answer.text, answer.whole) == ("One two three four", True)
    joins = answer.chunks[-1]["x_kairosroute"]["rescued"]
    assert [join["at"] for join in joins] == [8, 14]
    assert len(one.receipts) == 1


async def test_a_break_that_nobody_rescues_still_says_who_joined(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    again = [(0.5, HEAD + part("three ", "second")), (0.5, Act.CLOSE)]
    one = house(nursery, cheap=[[CUT], [REFUSED[0]]], dear=[[again]])
    answer = await listen(streamed(one, x_kairosroute=RESCUE))
    assert (answer.text, answer.whole) == ("One two three ", False)
    joined = [{"at": 8, "model": "m", "provider": "dear"}]
    assert set(answer.chunks[-1]) == {"error", "x_kairosroute"}
    assert answer.chunks[-1]["x_kairosroute"] == {"rescued": joined}
    assert one.receipts[0].execution.joins == (Join(8, "m", "dear"),)


async def test_a_half_written_call_is_never_continued(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    call = chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"arguments": "{"}}]})
    script = [(1.0, HEAD + event(call)), (1.0, Act.CLOSE)]
    one = house(nursery, cheap=[[script]], dear=[[REST]])
    answer = await listen(streamed(one, x_kairosroute=RESCUE))
    assert not answer.whole
    assert one.providers["dear"].dialled == []


@pytest.mark.parametrize(
    "members",
    [
        {"n": 2},
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "O"}]},
        {"max_tokens": 2},
        {"max_completion_tokens": 2},
    ],
    ids=["choices", "JSON", "the caller's prefill", "no token left", "nor by the other name"],
)
async def test_what_nobody_can_go_on_with_ends_by_an_error(
    autojump_clock: MockClock, nursery: trio.Nursery, members: dict[str, Any]
) -> None:
    one = house(nursery, cheap=[[CUT]], dear=[[REST]])
    answer = await listen(streamed(one, **members, x_kairosroute=RESCUE))
    assert (answer.text, answer.whole) == ("One two ", False)
    assert set(answer.chunks[-1]) == {"error"}
    assert "[DONE]" not in answer.data
    assert one.providers["dear"].dialled == []
    assert one.receipts[0].execution.status is Ending.FAULT


async def test_an_answer_that_has_its_finish_reason_is_not_continued(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    script = begun((1.0, event(STOP)), (1.0, event("{")))
    one = house(nursery, cheap=[[script]], dear=[[REST]])
    answer = await listen(streamed(one, x_kairosroute=RESCUE))
    assert (answer.text, answer.whole) == ("One two ", False)
    assert one.providers["dear"].dialled == []


async def test_a_model_that_would_begin_anew_is_never_asked(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    models = (model("cheap/m"), model("dear/m", DEAR))
    one = house(nursery, *models, cheap=[[CUT]], dear=[[REST]])
    answer = await listen(streamed(one, x_kairosroute=RESCUE))
    assert not answer.whole
    assert one.providers["dear"].dialled == []


async def test_one_deadline_holds_for_all_parts(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, cheap=[[CUT]], dear=[[[(30.0, HEAD)]]])
    answer = await listen(streamed(one, x_kairosroute={**RESCUE, "deadline_ms": 8_000}))
    assert not answer.whole
    assert one.receipts[0].execution.latency <= 8


async def test_the_caller_is_kept_company_while_another_is_looked_for(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    slow = [(9.0, HEAD + part("three", "second")), (0.5, event(STOP) + LAST_CHUNK)]
    one = House(nursery, models=MODELS, scripts={"cheap": [[CUT]], "dear": [[slow]]}, heartbeat=4)
    talking = streamed(one, x_kairosroute=RESCUE)
    answer = await listen(talking)
    assert answer.text == "One two three"
    waiting = [at for at, data in talking.pieces if b": waiting" in data]
    assert waiting == [7, 11]


async def test_an_operator_may_ask_for_all(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, cheap=[[CUT], [CUT]], dear=[[REST]]).policy(rescue=True)
    assert (await listen(streamed(one))).whole
    refused = await listen(streamed(one, x_kairosroute={"rescue": False}))
    assert not refused.whole


async def test_a_caller_that_leaves_while_another_is_looked_for(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, cheap=[[CUT]], dear=[[[(30.0, HEAD)]]])
    talking = streamed(one, x_kairosroute=RESCUE)
    await talking.until(lambda: b"two" in talking.raw)
    await trio.sleep(2)
    talking.link.close()
    await trio.testing.wait_all_tasks_blocked()
    assert one.at_rest()
    (receipt,) = one.receipts
    assert receipt.execution.status is Ending.CANCELLED
    assert [one.ending for one in receipt.attempts] == [Ending.FAULT, Ending.CANCELLED]


async def test_who_is_cancelled_behind_a_race_was_not_overtaken(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The race was for the part that broke; the caller leaves while somebody else goes on."""
    late = [(30.0, HEAD)]
    one = house(nursery, cheap=[[CUT], [late]], dear=[[late], [late]], other=[[late]])
    talking = streamed(one, x_kairosroute={**RESCUE, "strategy": "race"})
    await talking.until(lambda: b"two" in talking.raw)
    await trio.sleep(2)
    talking.link.close()
    await trio.testing.wait_all_tasks_blocked()
    assert one.at_rest()
    endings = [line.ending for line in one.receipts[0].attempts]
    assert endings == [Ending.SUPERSEDED, Ending.FAULT, Ending.CANCELLED]
