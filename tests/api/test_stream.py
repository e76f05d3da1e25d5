"""A streamed answer: what is held back until the first token, and what happens after it."""

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakes.caller import chat, request
from tests.fakes.house import KEY, House, Talking, model
from tests.fakes.raw_provider import LAST_CHUNK, framed, sse
from tests.fakes.scripted import Act, ok
from tests.fakes.streams import (
    END,
    GOOD,
    HEAD,
    ONE,
    ROLE,
    STOP,
    TWO,
    USAGE,
    event,
    listen,
    streamed,
)


async def test_the_head_leaves_with_the_first_token(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[GOOD]]})
    talking = streamed(house)
    answer = await listen(talking)
    assert [at for at, _ in talking.pieces] == [2, 3, 4]
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-kairosroute-provider"] == "cheap"
    assert not {"x-kairosroute-cost", "x-kairosroute-savings"} & set(answer.headers)
    assert answer.headers["server-timing"].endswith("first_token;dur=2000.000")
    assert house.counted("kproxy_first_token_seconds_sum", provider="cheap", model="m") == 2
    assert house.at_rest()


async def test_bytes_go_through_as_they_came(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Chunk framing included; only the last chunk of text is another one."""
    house = House(nursery, scripts={"cheap": [[GOOD]]})
    talking = streamed(house)
    await listen(talking)
    first, second, end = (data for _, data in talking.pieces)
    assert first.endswith(b"\r\n\r\n" + framed(b"".join(sse(ROLE, ONE))))
    assert second == event(TWO)
    answer = talking.answer()
    assert [json.loads(ROLE), json.loads(ONE), json.loads(TWO)] == answer.chunks[:3]
    assert answer.chunks[3]["choices"] == json.loads(STOP)["choices"]
    assert answer.chunks[3]["x_kairosroute"]["cost_usd"] == 0.002
    assert answer.data[4:] == ["[DONE]"]
    assert end.endswith(LAST_CHUNK)


async def test_one_event_in_two_chunks_stays_in_two(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    (data,) = sse(TWO)
    halves = framed(data[:9]) + framed(data[9:])
    script = [(0.0, HEAD + event(ONE)), (1.0, halves), (1.0, END)]
    house = House(nursery, scripts={"cheap": [[script]]})
    talking = streamed(house)
    await listen(talking)
    assert talking.pieces[1] == (1, halves)


async def test_the_usage_chunk_carries_ours_where_it_was_asked_for(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[GOOD]]})
    answer = await listen(streamed(house, stream_options={"include_usage": True}))
    assert answer.data[3] == STOP
    assert answer.chunks[4]["usage"] == USAGE
    assert answer.chunks[4]["x_kairosroute"]["savings_usd"] == 0.018


async def test_a_connection_is_kept_behind_a_whole_stream(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[GOOD, GOOD]]})
    talking = streamed(house)
    await listen(talking)
    assert not talking.ended
    again = request("GET", "/livez")
    await talking.link.send_all(again)
    await talking.until(lambda: b'{"status":"ok"}' in talking.raw)
    await listen(streamed(house))
    assert len(house.providers["cheap"].connections) == 1


async def test_http_1_0_gets_no_chunks(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    house = House(nursery, scripts={"cheap": [[GOOD]]})
    body = chat(stream=True)
    old = request("POST", "/v1/chat/completions", f"authorization: Bearer {KEY}", body=body)
    talking = Talking(house, old.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    await talking.until(lambda: talking.ended)
    answer = talking.answer()
    assert "transfer-encoding" not in answer.headers
    assert answer.text == "Onetwo"
    assert talking.raw.endswith(b"data: [DONE]\n\n")


# --- before the first token


@pytest.mark.parametrize(
    ("script", "kind", "after"),
    [
        ([(1.0, Act.RESET)], "reset", 1),
        ([(1.0, ok(b"", 500))], "unavailable", 1),
        ([(1.0, ok(b"", 429))], "rate_limited", 1),
        ([(1.0, HEAD), (1.0, Act.CLOSE)], "closed_early", 2),
        ([(1.0, HEAD + event(ROLE)), (1.0, LAST_CHUNK)], "closed_early", 2),
        ([(1.0, HEAD + event(ROLE)), (1.0, event("[DONE]"))], "no_content", 2),
        ([(1.0, HEAD + event("{")), (1.0, END)], "bad_body", 1),
        ([(1.0, HEAD + event('{"error":{"message":"no"}}'))], "error_event", 1),
        ([(1.0, HEAD + b"zz\r\n")], "bad_framing", 1),
        ([(1.0, HEAD + event(ROLE))], "first_token_timeout", 10),
        ([], "first_token_timeout", 10),
    ],
)
async def test_the_next_provider_unseen(
    autojump_clock: MockClock, nursery: trio.Nursery, script: Any, kind: str, after: float
) -> None:
    house = House(nursery, scripts={"cheap": [[script]], "dear": [[GOOD]]})
    talking = streamed(house)
    answer = await listen(talking)
    assert talking.pieces[0][0] == after + 2
    assert answer.text == "Onetwo"
    assert answer.chunks[-1]["x_kairosroute"]["attempts"] == 2
    assert house.counted("kproxy_faults_total", provider="cheap", fault=kind) == 1
    assert house.at_rest()


async def test_nothing_left(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    wait = [(0.0, ok(b"", 503, b"retry-after: 7"))]
    house = House(nursery, scripts={"cheap": [[wait]]})
    talking = streamed(house)
    await talking.until(lambda: b"all_models_unavailable" in talking.raw)
    answer = talking.answer()
    assert (answer.status, answer.headers["retry-after"]) == (503, "7")
    assert "cheap/m: HTTP 503" in answer.error["message"]
    assert "dear/m: " in answer.error["message"]


async def test_a_refusal_by_the_provider_ends_the_plan(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    body = b'{"error":{"message":"too long","code":"context_length_exceeded","param":"messages"}}'
    house = House(nursery, scripts={"cheap": [[[(0.0, ok(body, 400))]]], "dear": [[GOOD]]})
    talking = streamed(house)
    await talking.until(lambda: b"too long" in talking.raw)
    error = talking.answer().error
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert house.providers["dear"].dialled == []
    assert (
        house.counted("kproxy_attempts_total", provider="cheap", model="m", ending="rejected") == 1
    )


# --- heartbeats


async def test_heartbeats_until_the_first_token(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Other attempts stay possible behind the head."""
    house = House(nursery, scripts={"cheap": [[[]]], "dear": [[GOOD]]}, heartbeat=4.5)
    talking = streamed(house)
    answer = await listen(talking)
    assert [at for at, _ in talking.pieces] == [4.5, 9, 12, 13, 14]
    assert "x-kairosroute-provider" not in answer.headers
    assert answer.body.startswith(b": waiting\n\n: waiting\n\ndata: ")
    assert answer.text == "Onetwo"
    assert answer.whole


async def test_a_failure_behind_a_heartbeat_is_an_event(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, models=[model("cheap/m")], scripts={"cheap": [[[]]]}, heartbeat=4)
    house.policy(retries=0)
    answer = await listen(streamed(house))
    assert (answer.status, answer.whole) == (200, False)
    assert answer.chunks[-1]["error"]["code"] == "all_models_unavailable"
    assert trio.current_time() == 10


# --- after the first token


@pytest.mark.parametrize(
    ("script", "kind", "after"),
    [
        ([(1.0, Act.CLOSE)], "closed_early", 1),
        ([(1.0, Act.RESET)], "closed_early", 1),
        ([(1.0, LAST_CHUNK)], "closed_early", 1),
        ([(1.0, event("[DONE]"))], "no_content", 1),
        ([(1.0, event("{"))], "bad_body", 1),
        ([(1.0, event('{"error":{}, "error":{"code":500}}'))], "error_event", 1),
        ([(1.0, b"zz\r\n")], "bad_framing", 1),
        ([], "gap_timeout", 5),
        ([(4.5, event(TWO)), (4.5, event(TWO)), (5.5, END)], "gap_timeout", 14),
    ],
)
async def test_a_broken_stream(
    autojump_clock: MockClock, nursery: trio.Nursery, script: Any, kind: str, after: float
) -> None:
    begun = [(0.0, HEAD + event(ROLE) + event(ONE)), *script]
    house = House(nursery, scripts={"cheap": [[begun]], "dear": [[GOOD]]})
    talking = streamed(house)
    answer = await listen(talking)
    assert trio.current_time() == after
    assert talking.ended
    assert not answer.whole
    assert "[DONE]" not in answer.data
    assert set(answer.chunks[-1]) == {"error"}
    assert sum("error" in one for one in answer.chunks) == 1
    assert answer.text.startswith("One")
    assert house.providers["dear"].dialled == []
    assert house.counted("kproxy_faults_total", provider="cheap", fault=kind) == 1
    assert house.at_rest()


async def test_the_deadline_of_the_whole(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dripping = [(0.0, HEAD + event(ONE)), *[(1.0, event(TWO))] * 200]
    house = House(nursery, scripts={"cheap": [[dripping]]})
    await listen(streamed(house, x_kairosroute={"deadline_ms": 30_500}))
    assert trio.current_time() == 30.5
    assert house.counted("kproxy_faults_total", provider="cheap", fault="total_timeout") == 1


@pytest.mark.parametrize("act", [Act.CLOSE, Act.RESET])
async def test_an_end_behind_a_finish_reason_is_a_good_one(
    autojump_clock: MockClock, nursery: trio.Nursery, act: Act
) -> None:
    """The usage never came, so it is estimated, and said to be."""
    finished = [(0.0, HEAD + event(ONE)), (1.0, event(STOP)), (1.0, act)]
    house = House(nursery, scripts={"cheap": [[finished]]})
    answer = await listen(streamed(house))
    assert answer.whole
    assert answer.data[-1] == "[DONE]"
    assert answer.chunks[-1]["x_kairosroute"]["estimated"] is True


async def test_silence_behind_a_finish_reason_is_a_good_end_of_the_answer_alone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    finished = [(0.0, HEAD + event(ONE)), (1.0, event(STOP)), (1_000.0, b"")]
    house = House(nursery, scripts={"cheap": [[finished]]})
    answer = await listen(streamed(house))
    assert answer.whole
    assert answer.data[-1] == "[DONE]"
    assert house.pools["cheap"].statistics().idle == 0, "who knows what still comes on it"
    assert house.at_rest()


async def test_broken_framing_behind_a_finish_reason_costs_the_connection(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """What follows could be taken for the answer to the next request."""
    broken = [(0.0, HEAD + event(ONE)), (1.0, event(STOP)), (0.1, b"zz\r\n"), (0.1, LAST_CHUNK)]
    house = House(nursery, scripts={"cheap": [[broken]]})
    answer = await listen(streamed(house))
    assert answer.whole
    await trio.sleep(10)
    assert house.pools["cheap"].statistics().idle == 0
    assert house.at_rest()


async def test_the_callers_slowness_is_the_providers(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Backpressure: what the caller does not take is not read from the provider."""
    begun = HEAD + event(ONE)
    flood = [(0.0, begun), (1.0, event(TWO)), *[(0.0, event(TWO))] * 100]
    house = House(nursery, scripts={"cheap": [[flood]]})
    talking = streamed(house, deaf=True)
    await trio.sleep(30)
    assert house.providers["cheap"].connections[0].link.sent == len(begun)
    assert house.counted("kproxy_faults_total", provider="cheap", fault="gap_timeout") == 0
    await trio.sleep(30.5)
    assert talking.link.peer_ended, "a caller that takes nothing for 60 s is given up"
    assert house.at_rest()


@pytest.mark.parametrize("after", [0.5, 1.5, 2.5])
async def test_a_caller_that_leaves(
    autojump_clock: MockClock, nursery: trio.Nursery, after: float
) -> None:
    """Before the head, before the first token, in the middle."""
    house = House(nursery, scripts={"cheap": [[GOOD]]})
    talking = streamed(house)
    await trio.sleep(after)
    talking.link.close()
    await wait_all_tasks_blocked()
    assert house.providers["cheap"].connections[0].closed == after
    assert house.at_rest()
    assert (
        house.counted("kproxy_attempts_total", provider="cheap", model="m", ending="cancelled") == 1
    )
    assert (
        sum(
            house.counted("kproxy_faults_total", provider="cheap", fault=kind)
            for kind in ("reset", "closed_early")
        )
        == 0
    )
