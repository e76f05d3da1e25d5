"""A provider that speaks Anthropic's Messages API, behind the same attempts, flow and receipts."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec import Raw
from trio.testing import MockClock

from kproxy.admission.keys import Secret
from kproxy.dialect.anthropic.messages import Anthropic
from kproxy.errors import NotCarried
from kproxy.outcome import Ending, Usage
from tests.api.test_healing import says
from tests.fakes.house import DEAR, House, model
from tests.fakes.raw_provider import LAST_CHUNK, framed
from tests.fakes.scripted import Act, Answer, ok
from tests.fakes.streams import GOOD, HEAD, listen, streamed

GOLDEN = Path(__file__).parent.parent / "dialect" / "golden"
SPEAKS = {"claude": Anthropic()}
CLAUDE = model("claude/m", max_output_tokens=8_000, context_tokens=100_000, prefill=True)
BOTH = (CLAUDE, model("dear/m", DEAR, prefill=True))
USED = Usage(33, 7, 20, cache_write_tokens=3)
REPLY = json.dumps(json.loads((GOLDEN / "replies" / "text.json").read_text())["anthropic"]).encode()
EVENTS = [
    one + b"\n\n" for one in (GOLDEN / "streams" / "text.sse").read_bytes().split(b"\n\n")[:-1]
]
OPENED, SAID, ENDED = EVENTS[:3], EVENTS[3:5], EVENTS[5:]
OVERLOADED = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'


def piece(events: Sequence[bytes]) -> bytes:
    return framed(b"".join(events))


STREAM = [
    (1.0, HEAD + piece(OPENED)),
    (1.0, piece(SAID[:1])),
    (1.0, piece(SAID[1:])),
    (1.0, piece(ENDED) + LAST_CHUNK),
]


def house(nursery: trio.Nursery, *models: Any, **scripts: Sequence[Sequence[Answer]]) -> House:
    return House(nursery, models=models or (CLAUDE,), scripts=scripts, speaks=SPEAKS)


def request(house: House, provider: str = "claude") -> tuple[bytes, Any]:
    """Head and body of the first request that a provider has got."""
    head, _, body = house.providers[provider].connections[0].requests[0].partition(b"\r\n\r\n")
    return head, json.loads(body)


async def test_a_whole_answer(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, claude=[[[(1.0, ok(REPLY))]]])
    answer = await one.ask()
    body = answer.json()
    assert body["object"] == "chat.completion"
    assert body["created"] == 1_000
    assert body["model"] == "claude-x"
    assert body["choices"][0]["message"]["content"] == "Hello \u00e4"
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 20, "cache_write_tokens": 3}
    assert body["x_kairosroute"]["provider"] == "Claude"
    assert answer.headers["x-kairosroute-provider"] == "claude"
    (receipt,) = one.receipts
    assert receipt.execution.usage == USED
    head, sent = request(one)
    assert head.startswith(b"POST /v1/messages ")
    assert b"\r\nanthropic-version: 2023-06-01" in head
    assert sent["max_tokens"] == 8_000
    assert sent["model"] == "m"
    assert one.at_rest()


async def test_a_stream(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, claude=[[STREAM]])
    talking = streamed(one)
    answer = await listen(talking)
    assert [at for at, _ in talking.pieces] == [2, 3, 4]
    assert answer.text == 'Hello "\u00e4"\n'
    assert answer.data[-1] == "[DONE]"
    last = answer.chunks[-1]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["x_kairosroute"]["provider"] == "Claude"
    assert all(chunk["choices"] and chunk["created"] == 1_000 for chunk in answer.chunks)
    assert one.receipts[0].execution.usage == USED
    assert one.at_rest()


async def test_usage_for_who_asked(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    one = house(nursery, claude=[[STREAM]])
    answer = await listen(streamed(one, stream_options={"include_usage": True}))
    *_, finished, used = answer.chunks
    assert finished["choices"][0]["finish_reason"] == "stop"
    assert (used["choices"], used["usage"]["total_tokens"]) == ([], 40)
    assert "x_kairosroute" in used


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        ([(1.0, ok(b'{"type":"error","error":{"type":"overloaded_error"}}', 529))], "unavailable"),
        ([(1.0, HEAD + piece([*OPENED, OVERLOADED]) + LAST_CHUNK)], "error_event"),
        ([(1.0, HEAD + piece([*OPENED, *ENDED[1:]]) + LAST_CHUNK)], "bad_body"),
        ([(1.0, HEAD + piece(OPENED) + LAST_CHUNK)], "closed_early"),
        ([(1.0, ok(b"{}", 401))], "credential"),
    ],
)
async def test_another_one_before_the_first_token(
    autojump_clock: MockClock, nursery: trio.Nursery, broken: Answer, fault: str
) -> None:
    one = house(nursery, *BOTH, claude=[[broken]], dear=[[GOOD]])
    answer = await listen(streamed(one))
    assert answer.text == "Onetwo"
    assert [outcome.fault for outcome in one.receipts[0].attempts] == [fault, None]
    assert one.at_rest()


@pytest.mark.parametrize("ending", [(1.0, piece([OVERLOADED])), (1.0, Act.CLOSE), (9.0, b"")])
async def test_one_error_event_after_it(
    autojump_clock: MockClock, nursery: trio.Nursery, ending: tuple[float, bytes | Act]
) -> None:
    one = house(nursery, *BOTH, claude=[[[*STREAM[:2], ending]]])
    answer = await listen(streamed(one))
    assert answer.text == "Hel"
    assert "error" in answer.chunks[-1]
    assert answer.data[-1] != "[DONE]"
    assert not answer.whole


async def test_a_broken_stream_is_continued_in_anthropics_words(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    cut = [*GOOD[:2], (1.0, Act.CLOSE)]
    models = (model("cheap/m", prefill=True), CLAUDE)
    one = house(nursery, *models, cheap=[[cut]], claude=[[STREAM]])
    answer = await listen(streamed(one, x_kairosroute={"rescue": True}))
    assert answer.text == 'OneHello "\u00e4"\n'
    assert answer.data[-1] == "[DONE]"
    assert answer.chunks[-1]["x_kairosroute"]["rescued"][0]["provider"] == "claude"
    _, sent = request(one)
    assert sent["messages"][-1]["role"] == "assistant"
    assert sent["messages"][-1]["content"] == [{"type": "text", "text": "One"}]


async def test_anthropics_own_stream_is_continued_elsewhere(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, *BOTH, claude=[[[*STREAM[:2], (1.0, Act.CLOSE)]]], dear=[[GOOD]])
    answer = await listen(streamed(one, x_kairosroute={"rescue": True}))
    assert answer.text == "HelOnetwo"
    _, sent = request(one, "dear")
    assert sent["messages"][-1] == {"role": "assistant", "content": "Hel"}


async def test_a_field_without_a_place_goes_to_who_has_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, *BOTH, dear=[[GOOD]])
    answer = await listen(streamed(one, logit_bias={"5": 1}))
    assert answer.text == "Onetwo"
    assert one.providers["claude"].dialled == []
    (receipt,) = one.receipts
    assert [(used.provider, used.ending) for used in receipt.attempts] == [
        ("dear", Ending.COMPLETE)
    ]
    (out,) = [found for found in receipt.candidates if found.filtered_out_by is not None]
    assert (out.provider, out.filtered_out_by) == ("claude", "unsupported_parameter")
    assert out.reasons == ("'logit_bias': Anthropic's API has nothing like 'logit_bias'.",)
    assert one.at_rest()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_field_without_a_place_is_named(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    one = house(nursery)
    answer = await one.ask(stream=stream, logit_bias={"5": 1})
    assert answer.status == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("logit_bias", "unsupported_parameter")
    assert error["type"] == "invalid_request_error"
    assert one.receipts == []
    assert one.at_rest()


@pytest.mark.parametrize("fields", [{}, {"x_kairosroute": {"heal": True}}])
async def test_json_without_a_schema_is_refused_before_anything_is_held(
    autojump_clock: MockClock, nursery: trio.Nursery, fields: dict[str, Any]
) -> None:
    one = house(nursery)
    answer = await one.ask(response_format={"type": "json_object"}, **fields)
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (400, "unsupported_parameter")
    assert error["param"] == "response_format"
    assert "use response_format json_schema" in error["message"]
    assert one.providers["claude"].dialled == []
    assert one.at_rest()


class Unasked(Anthropic):
    """It says only at dispatch what it has no words for."""

    def refuses(self, fields: Mapping[str, Raw]) -> NotCarried | None:
        return None


async def test_what_is_found_out_at_dispatch_was_no_attempt(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """It takes no attempt from those who are asked again."""
    models = [model(key) for key in ("claude/m", "first/m", "second/m")]
    one = House(
        nursery,
        models=models,
        scripts={"first": [[says("no JSON")]], "second": [[says('{"n":1}')]]},
        speaks={"claude": Unasked()},
    ).policy(retries=1)
    answer = await one.ask(response_format={"type": "json_object"})
    assert answer.text == '{"n":1}'
    (receipt,) = one.receipts
    assert [used.provider for used in receipt.attempts] == ["first", "second"]
    assert one.at_rest()


async def test_alone_it_is_refused_by_name(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = House(nursery, models=[CLAUDE], speaks={"claude": Unasked()})
    answer = await one.ask(n=2)
    assert (answer.status, answer.error["param"]) == (400, "n")
    (receipt,) = one.receipts
    assert (receipt.attempts, receipt.execution.status) == ((), Ending.REJECTED)
    assert one.at_rest()


async def test_a_system_text_beside_the_messages_goes_nowhere(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery)
    answer = await one.ask(system="word " * 600_000, x_kairosroute={"max_cost_usd": 0.01})
    error = answer.json()["error"]
    assert (answer.status, error["param"]) == (400, "system")
    assert one.providers["claude"].dialled == []


async def test_a_prompt_that_is_too_long_goes_to_a_longer_window(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    words = (
        b'{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long"}}'
    )
    large = model("dear/m", DEAR, context_tokens=1_000_000)
    one = house(nursery, CLAUDE, large, claude=[[[(1.0, ok(words, 400))]]], dear=[[GOOD]])
    assert (await listen(streamed(one))).text == "Onetwo"
    alone = house(nursery, claude=[[[(1.0, ok(words, 400))]]])
    answer = await alone.ask()
    assert answer.status == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"


async def test_a_callers_own_key_goes_in_anthropics_field(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    one = house(nursery, claude=[[[(1.0, ok(REPLY))]]])
    own = {"claude": Secret("sk-ant-own")}
    one.record = dataclasses.replace(one.record, provider_keys=own)
    assert (await one.ask()).status == 200
    head, _ = request(one)
    assert b"\r\nx-api-key: sk-ant-own\r\n" in head
    assert b"authorization" not in head.lower()
    assert one.receipts[0].attempts[0].own_key


async def test_every_cut_of_the_bytes_is_the_same_stream(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Chunk framing included: what a read ends in is nobody's business."""
    data = HEAD + b"".join(piece([one]) for one in EVENTS) + LAST_CHUNK
    cut = [(0.0, data[at : at + 7]) for at in range(0, len(data), 7)]
    one = house(nursery, claude=[[cut]])
    answer = await listen(streamed(one))
    assert answer.text == 'Hello "\u00e4"\n'
    assert answer.whole
