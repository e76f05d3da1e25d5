"""Whole requests and the spans they leave: who is recorded, what nests in what, and no words."""

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.ledger.spans import LENGTH, REASONS, Span, spans_of
from kproxy.ledger.trace import Sampler
from kproxy.telemetry.otlp import OtlpParams
from kproxy.telemetry.traces import Finished, Traces
from tests.api.test_access import Kept as KeptLines
from tests.fakes.caller import chat, request
from tests.fakes.h2_caller import calling
from tests.fakes.house import KEY, House, Talking, model
from tests.fakes.raw_provider import LAST_CHUNK
from tests.fakes.scripted import Act, ok
from tests.fakes.streams import END, HEAD, ONE, ROLE, TWO, event, listen, streamed

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"
REPLY = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m-2","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"secret words"},"finish_reason":"length"}],'
    b'"usage":{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500}}'
)


class Kept(Traces):
    """Keeps what is noted."""

    def __init__(self, sampler: Sampler) -> None:
        params = OtlpParams("http://c.test", (), {}, sampler, False, 1.0, False)
        super().__init__(params, None)  # type: ignore[arg-type]  # nothing is sent
        self.noted: list[Finished] = []

    def note(self, finished: Finished) -> None:
        self.noted.append(finished)

    @property
    def only(self) -> tuple[Span, ...]:
        (one,) = self.noted
        return spans_of(one.trace, one.served)


@pytest.fixture
def kept() -> Kept:
    return Kept(Sampler())


def parents(house: House, slug: str) -> list[str]:
    """The `traceparent` of each request that a provider got."""
    found = []
    for connection in house.providers[slug].connections:
        for sent in connection.requests:
            lines = sent.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")
            found += [one.partition(": ")[2] for one in lines if one.startswith("traceparent")]
    return found


def asking(house: House, body: bytes, *fields: str) -> Any:
    known = (f"authorization: Bearer {KEY}", f"traceparent: {PARENT}", *fields)
    return house.send("POST", "/api/v1/chat/completions?q=canary", *known, body=body)


async def test_a_fallback_nests_under_its_caller(
    autojump_clock: MockClock, kept: Kept, nursery: trio.Nursery
) -> None:
    scripts = {"cheap": [[[(1, ok(b"", 500))]]] * 9, "dear": [[[(1.5, ok(REPLY))]]]}
    lines = KeptLines()
    house = House(nursery, scripts=scripts, traces=kept, access=lines)
    answer = await asking(house, chat(model="m", temperature=0.5, max_tokens=7), "tracestate: a=1")
    assert answer.status == 200
    served, *attempts = kept.only
    assert (served.trace_id, served.parent_id, served.state) == (TRACE, CALLER, "a=1")
    assert {one.parent_id for one in attempts} == {served.span_id}
    told = [f"00-{TRACE}-{one.span_id}-01" for one in attempts]
    assert parents(house, "cheap") + parents(house, "dear") == told
    assert len(set(told)) == len(told) >= 2
    why = [one.attributes["kproxy.attempt.why"] for one in attempts]
    assert (why[0], why[-1]) == ("plan", "fallback")
    assert attempts[0].attributes["http.response.status_code"] == 500
    assert attempts[0].is_error
    last = attempts[-1]
    assert last.end - last.start == 1_500_000_000
    expected = {
        "gen_ai.provider.name": "dear",
        "gen_ai.request.model": "m",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.response.model": "m-2",
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.usage.input_tokens": 1_000,
        "server.address": "provider.test",
        "kproxy.attempt.connected_seconds": 0.0,
    }
    assert {name: last.attributes.get(name) for name in expected} == expected
    assert served.attributes["url.path"] == "/api/v1/chat/completions"
    assert served.attributes["kproxy.receipt_id"] == answer.headers["x-kairosroute-receipt"]
    assert served.end - served.start == sum(one.end - one.start for one in attempts)
    assert lines.only["trace_id"] == TRACE
    assert "secret" not in str(kept.only)
    assert "canary" not in str(kept.only)


async def test_a_hedge_has_a_winner_and_one_that_was_overtaken(
    autojump_clock: MockClock, kept: Kept, nursery: trio.Nursery
) -> None:
    quick = [(0.5, HEAD + event(ROLE) + event(ONE)), (0.5, event(TWO) + END)]
    scripts = {"cheap": [[[(9.0, HEAD)]]], "dear": [[quick]]}
    house = House(nursery, scripts=scripts, traces=kept)
    hedge = {"strategy": "hedge", "first_token_ms": 4_000}
    await listen(streamed(house, x_kairosroute=hedge))
    served, slow, won = kept.only
    names = ("kproxy.ending", "kproxy.attempt.why", "kproxy.attempt.shown")
    assert [tuple(one.attributes[name] for name in names) for one in (slow, won)] == [
        ("superseded", "plan", False),
        ("complete", "hedge", True),
    ]
    assert won.attributes["gen_ai.response.time_to_first_chunk"] == 0.5
    assert won.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert won.attributes["gen_ai.request.stream"] is True
    assert not any(one.is_error for one in (served, slow, won))
    assert served.parent_id == ""
    assert parents(house, "cheap") == [f"00-{served.trace_id}-{slow.span_id}-01"]


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_long_waits_for_a_collector(
    autojump_clock: MockClock, kept: Kept, nursery: trio.Nursery, stream: bool
) -> None:
    word, name = "w" * 10_000, "m" * 200
    choices = [
        {"index": index, "finish_reason": word,
         "message": {"role": "assistant", "content": "a"}, "delta": {"content": "a"}}
        for index in range(REASONS + 4)
    ]  # fmt: skip
    said = json.dumps({"id": "c", "created": 1, "model": word, "choices": choices})
    end = event("[DONE]") + LAST_CHUNK
    script = [(1, HEAD + event(said) + end)] if stream else [(1, ok(said.encode()))]
    house = House(
        nursery,
        models=[model(f"cheap/{name}")],
        scripts={"cheap": [[script]]},
        traces=kept,
    )
    await asking(house, chat(model=name, n=len(choices), stream=stream))
    (one,) = kept.noted
    (asked,) = one.trace.attempts
    assert asked.answered == word[:LENGTH]
    assert asked.reasons == (word[:LENGTH],) * REASONS
    assert asked.model == name[:LENGTH]
    assert one.served.accounted is not None
    assert one.served.accounted.asked == name[:LENGTH]


async def test_a_caller_who_leaves(
    autojump_clock: MockClock, kept: Kept, nursery: trio.Nursery
) -> None:
    script = [(2, HEAD + event(ONE))]
    house = House(nursery, scripts={"cheap": [[script]]}, traces=kept)
    fields = (f"authorization: Bearer {KEY}",)
    body = chat(model="cheap/m", stream=True)
    talking = Talking(house, request("POST", "/v1/chat/completions", *fields, body=body))
    await talking.until(lambda: b"One" in talking.raw)
    talking.link.close()
    await wait_all_tasks_blocked()
    served, attempt = kept.only
    for one in (served, attempt):
        assert one.attributes["kproxy.ending"] == "cancelled"
        assert not one.is_error
    assert attempt.attributes["kproxy.usage_estimated"] is True


async def test_a_failure(autojump_clock: MockClock, kept: Kept, nursery: trio.Nursery) -> None:
    house = House(nursery, scripts={"cheap": [[[(1, Act.CLOSE)]]] * 9}, traces=kept)
    assert (await house.ask(model="cheap/m")).status == 503
    served, *attempts = kept.only
    assert served.attributes["error.type"] == "all_models_unavailable"
    assert attempts
    assert all(one.attributes["error.type"] == "closed_early" for one in attempts)


@pytest.mark.parametrize(
    ("method", "path", "fields", "wanted"),
    [
        ("GET", "/v1/models", (), ("GET /v1/models", 401, "/v1/models")),
        (
            "GET", "/v1/models/canary", (f"x-api-key: {KEY}",),
            ("GET /v1/models/{id}", 404, None),
        ),
        ("GET", "/livez", (), None),
        ("GET", "/canary", (), None),
        ("PUT", "/v1/models", (), None),
    ],
)  # fmt: skip
async def test_other_requests(
    autojump_clock: MockClock, kept: Kept, nursery: trio.Nursery,
    method: str, path: str, fields: tuple[str, ...], wanted: tuple[object, ...] | None,
) -> None:  # fmt: skip
    await House(nursery, traces=kept).send(method, path, *fields)
    if wanted is None:
        assert kept.noted == [], "no handler of the API was asked"
        return
    (span,) = kept.only
    found = span.attributes
    assert (span.name, found["http.response.status_code"], found.get("url.path")) == wanted
    assert "canary" not in str(span)
    assert not span.is_error


async def test_over_http_2(autojump_clock: MockClock, kept: Kept, nursery: trio.Nursery) -> None:
    house = House(nursery, traces=kept)
    async with calling(house.router) as caller:
        got = await caller.whole(await caller.ask("/v1/models", authorization=f"Bearer {KEY}"))
    assert got.status == 200
    (span,) = kept.only
    assert (span.name, span.attributes["network.protocol.version"]) == ("GET /v1/models", "2")
    assert "url.scheme" not in span.attributes


async def test_who_is_not_recorded_leaves_nothing_and_its_context_goes_on(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    kept = Kept(Sampler(ratio=0))
    house = House(nursery, scripts={"cheap": [[[(1, ok(REPLY))], [(1, ok(REPLY))]]]}, traces=kept)
    unsampled = PARENT[:-1] + "0"
    fields = (f"authorization: Bearer {KEY}", f"traceparent: {unsampled}")
    body = chat(model="cheap/m")
    assert (await house.send("POST", "/v1/chat/completions", *fields, body=body)).status == 200
    assert (await house.ask(model="cheap/m")).status == 200
    given, begun = parents(house, "cheap")
    assert given == unsampled
    assert begun.endswith("-00")
    assert begun[3:35] != TRACE
    assert kept.noted == []


async def test_without_tracing_a_context_goes_on_as_it_is(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[[(1, ok(REPLY))], [(1, ok(REPLY))]]]})
    assert (await asking(house, chat(model="cheap/m"))).status == 200
    assert (await house.ask(model="cheap/m")).status == 200
    assert parents(house, "cheap") == [PARENT]
