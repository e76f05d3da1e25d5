"""What is written down of each request, and what never is."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kproxy.telemetry.accesslog import AccessLine, AccessLog
from tests.fakes.caller import chat, request
from tests.fakes.house import KEY, House, Talking
from tests.fakes.scripted import Act, head, ok

REPLY = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"secret words"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500}}'
)
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"secret words"}}]}\n\n'
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Kept(AccessLog):
    """Keeps the lines, as they would be written."""

    def __init__(self) -> None:
        super().__init__(Path("/dev/null"))
        self.lines: list[dict[str, Any]] = []

    def note(self, line: AccessLine) -> None:
        self.lines.append(json.loads(self._encoder.encode(line)))

    @property
    def only(self) -> dict[str, Any]:
        (line,) = self.lines
        return line


@pytest.fixture
def kept() -> Kept:
    return Kept()


async def test_a_whole_answer(autojump_clock: MockClock, kept: Kept, nursery: trio.Nursery) -> None:
    scripts = {"cheap": [[[(1, ok(b"", 500))]]], "dear": [[[(1.5, ok(REPLY))]]]}
    house = House(nursery, scripts=scripts, access=kept)
    body = chat(model="m")
    fields = (f"authorization: Bearer {KEY}", f"traceparent: {PARENT}")
    answer = await house.send("POST", "/api/v1/chat/completions?q=canary", *fields, body=body)
    assert answer.status == 200
    line = kept.only
    assert line.pop("bytes_out") > len(answer.body)
    assert line.pop("total_ms") == 2_500
    assert line == {
        "time": "1970-01-01T00:16:40Z",
        "request_id": answer.headers["x-request-id"],
        "trace_id": PARENT[3:35],
        "client": "192.0.2.1:4000",
        "method": "POST",
        "route": "/v1/chat/completions",
        "status": 200,
        "ending": "complete",
        "bytes_in": len(body),
        "account": "acct_1",
        "key": "key_1",
        "receipt_id": answer.headers["x-kairosroute-receipt"],
        "asked": "m",
        "provider": "dear",
        "model": "m",
        "attempts": len(house.receipts[0].attempts),
        "prompt_tokens": 1_000,
        "completion_tokens": 500,
        "cost_usd": 0.02,
    }


async def test_a_stream_that_its_caller_leaves(
    autojump_clock: MockClock, kept: Kept, nursery: trio.Nursery
) -> None:
    script = [(2, head(200, b"transfer-encoding: chunked") + b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK))]
    house = House(nursery, scripts={"cheap": [[script]]}, access=kept)
    fields = (f"authorization: Bearer {KEY}",)
    body = chat(model="cheap/m", stream=True)
    talking = Talking(house, request("POST", "/v1/chat/completions", *fields, body=body))
    await talking.until(lambda: b"secret words" in talking.raw)
    talking.link.close()
    await wait_all_tasks_blocked()
    line = kept.only
    assert (line["status"], line["ending"], line["stream"]) == (200, "cancelled", True)
    assert line["bytes_out"] == len(talking.raw)
    assert line["first_token_ms"] == 2_000
    assert line["completion_tokens"] > 0
    assert "secret" not in json.dumps(kept.lines)


@pytest.mark.parametrize(
    ("method", "path", "fields", "wanted"),
    [
        ("GET", "/livez", (), (200, "complete", "/livez", None, None)),
        ("GET", "/canary", (), (404, "rejected", "none", "not_found", None)),
        ("GET", "/v1/models", (), (401, "rejected", "/v1/models", "invalid_api_key", None)),
        (
            "GET", "/v1/models/canary", (f"x-api-key: {KEY}",),
            (404, "rejected", "/v1/models/{id}", "model_not_found", "key_1"),
        ),
        ("PUT", "/livez", (), (405, "rejected", "/livez", "method_not_allowed", None)),
    ],
)  # fmt: skip
async def test_other_requests(
    autojump_clock: MockClock, kept: Kept, nursery: trio.Nursery,
    method: str, path: str, fields: tuple[str, ...], wanted: tuple[object, ...],
) -> None:  # fmt: skip
    await House(nursery, access=kept).send(method, path, *fields)
    line = kept.only
    found = (line["status"], line["ending"], line["route"], line.get("error"), line.get("key"))
    assert found == wanted
    assert "canary" not in json.dumps(line)
    assert KEY not in json.dumps(line)


async def test_a_bad_body_and_a_provider_that_fails(
    autojump_clock: MockClock, kept: Kept, nursery: trio.Nursery
) -> None:
    house = House(nursery, scripts={"cheap": [[[(1, Act.CLOSE)]]] * 9}, access=kept)
    await house.send("POST", "/v1/chat/completions", f"x-api-key: {KEY}", body=b"{canary")
    await house.ask(model="cheap/m")
    refused, failed = kept.lines
    assert (refused["status"], refused["error"]) == (400, "invalid_request_error")
    assert "receipt_id" not in refused
    assert (failed["status"], failed["ending"]) == (503, "fault")
    assert failed["error"] == "all_models_unavailable"
    assert failed["provider"] == "cheap"
    assert "cost_usd" in failed
    assert "canary" not in json.dumps(kept.lines)


async def test_a_long_name_is_cut(
    autojump_clock: MockClock, kept: Kept, nursery: trio.Nursery
) -> None:
    house = House(nursery, access=kept)
    await house.send("X" * 5_000, "/livez")
    assert len(kept.only["method"]) == 128


async def test_what_is_no_request_is_counted_and_written_down(
    autojump_clock: MockClock, kept: Kept, nursery: trio.Nursery
) -> None:
    house = House(nursery, access=kept)
    talking = Talking(house, b"GET / HTTP/1.1\n\n")
    await talking.until(lambda: talking.ended)
    answer = talking.answer("GET")
    assert answer.status == 400
    assert kept.only == {
        "time": "1970-01-01T00:16:40Z",
        "request_id": answer.headers["x-request-id"],
        "client": "192.0.2.1:4000",
        "method": "",
        "route": "none",
        "status": 400,
        "ending": "rejected",
        "error": "invalid_request_error",
    }
    assert house.counted("kproxy_requests_total", route="none", status="400") == 1
    assert not house.counted("kproxy_request_duration_seconds_count", route="none")
    assert house.counted("kproxy_refused_total", code="invalid_request_error") == 1
