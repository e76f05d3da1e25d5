"""The newcomer's minute: one command without configuration, curl, the official OpenAI client.

What is compared with a number here is only the promise that the server is ready; how fast it is,
bench measures.
"""

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest

from tests.fakes.caller import Answer, chat, request
from tests.fakes.server import Process, Served, served, serving, until

pytestmark = pytest.mark.loopback

SEED_MODELS = [
    "gpt-4.1",
    "claude-sonnet-4-20250514",
    "grok-4.1-fast",
    "deepseek-chat",
    "minimax-m2.5",
]
HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]
QUICK = "[sim]\nfirst_token_ms = 5\ntoken_ms = 1\n"
"""The simulated models of a server without providers, faster than real ones."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("quick"), QUICK) as server:
        yield server


@pytest.fixture
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


def keys(folder: Path, *arguments: str) -> Any:
    """`kproxy keys ...` as JSON."""
    process = Process(folder, "keys", *arguments, "--json", "--data-dir", str(folder / "data"))
    said = process.printed("}")
    assert process.wait() == 0
    process.stop()
    return json.loads(said)


# --- one command


def test_without_configuration(tmp_path: Path, require: Callable[[str], str]) -> None:
    require("curl")
    bash = require("bash")
    with serving(tmp_path) as server:
        assert all(model in server.said for model in SEED_MODELS)
        assert server.said.count(server.key) == 2  # told once, and in the line to try
        line = server.said.strip().splitlines()[-1].strip()
        tried = subprocess.run([bash, "-c", line], capture_output=True, text=True, timeout=60)
    assert tried.returncode == 0
    answer = Answer(200, {"content-type": "text/event-stream"}, tried.stdout.encode())
    assert answer.data[-1] == "[DONE]"
    assert answer.text
    assert answer.chunks[-1]["x_kairosroute"]["routed_from"] == "auto"


def test_the_first_key_is_shown_once_and_stays(tmp_path: Path) -> None:
    with serving(tmp_path, QUICK) as first:
        assert first.key
    with serving(tmp_path, QUICK) as second:
        assert not second.key
        assert "$KPROXY_KEY" in second.said
        assert "kr-" not in second.said
        second.key = first.key
        with second.caller() as caller:
            assert caller.ask().status == 200


def test_an_address_in_use_is_one_line(tmp_path: Path, server: Served) -> None:
    process = Process(tmp_path, "serve", "--listen", server.url.removeprefix("http://"))
    assert process.wait() == 1
    assert "Traceback" not in process.errors
    assert process.errors.startswith("Error: cannot listen on ")
    process.stop()


# --- keys


def test_a_key_made_beside_a_running_server_works_at_once_until_it_is_revoked(
    server: Served,
) -> None:
    folder = server.process.folder
    made = keys(folder, "create", "--account", "team-a", "--tier", "unlimited")
    with server.caller() as caller:
        caller.key = made["key"]
        assert caller.ask().status == 200
        keys(folder, "revoke", made["id"])
        refused = caller.ask()
        assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
        caller.key = server.key
        assert caller.ask().status == 200


# --- the official client


def test_models(client: openai.OpenAI) -> None:
    listed = client.models.list().data
    assert [model.id for model in listed[:6]] == ["auto", *SEED_MODELS]
    owners = {model.owned_by for model in listed[1:]}
    assert owners == {"openai", "anthropic", "xai", "deepseek", "minimax"}
    assert len(listed) == len({model.id for model in listed}) > 15
    assert listed[0].owned_by == "kairosroute"
    assert client.models.retrieve("deepseek-chat") == listed[4]
    assert client.models.retrieve("openai/gpt-4.1").owned_by == "openai"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-0")
    assert caught.value.code == "model_not_found"


def test_a_whole_answer(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=HELLO)
    answer = raw.parse()
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    routed = answer.x_kairosroute
    assert routed["provider"] == "DeepSeek"
    assert routed["routed_from"] == "auto"
    assert routed["model"] == answer.model == "deepseek-flash"
    assert routed["attempts"] == 1
    assert routed["strategy"] == "single"
    assert re.fullmatch(r"rcpt_\w+", routed["receipt_id"])
    assert 0 < routed["cost_usd"] < 1
    assert 0 < routed["savings_usd"] < 1
    headers = raw.headers
    assert headers["x-kairosroute-provider"] == "deepseek"
    assert re.fullmatch(r"0\.[0-9]+", headers["x-kairosroute-cost"])
    assert float(headers["x-kairosroute-cost"]) == routed["cost_usd"]
    assert float(headers["x-kairosroute-savings"]) == routed["savings_usd"]
    assert headers["x-kairosroute-receipt"] == routed["receipt_id"]
    assert "first_token;dur=" in headers["server-timing"]
    assert answer._request_id == headers["x-request-id"]
    assert headers["date"].endswith(" GMT")


def test_a_pinned_model_saves_nothing(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="openai/gpt-4.1", messages=HELLO)
    routed = answer.x_kairosroute
    assert routed["provider"] == "OpenAI"
    assert routed["routed_from"] == "openai/gpt-4.1"
    assert routed["savings_usd"] == 0


@pytest.mark.parametrize("usage", [None, False, True])
def test_a_streamed_answer(client: openai.OpenAI, usage: bool | None) -> None:
    options: Any = {} if usage is None else {"stream_options": {"include_usage": usage}}
    whole = client.chat.completions.create(model="auto", messages=HELLO)
    with client.chat.completions.create(
        model="auto", messages=HELLO, stream=True, **options
    ) as stream:
        assert stream.response.headers["x-kairosroute-provider"] == "deepseek"
        assert "x-kairosroute-cost" not in stream.response.headers
        chunks = list(stream)
    spoken = [chunk for chunk in chunks if chunk.choices]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in spoken)
    assert text == whole.choices[0].message.content
    assert spoken[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in spoken][-2:] == [None, "stop"]
    assert (len(chunks) - len(spoken)) == (1 if usage else 0)
    if usage:
        assert chunks[-1].usage == whole.usage
    routed = chunks[-1].x_kairosroute
    assert routed["cost_usd"] == whole.x_kairosroute["cost_usd"]
    assert [chunk for chunk in chunks[:-1] if hasattr(chunk, "x_kairosroute")] == []


def test_tools(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="auto", messages=HELLO, tools=TOOLS)
    assert whole.choices[0].finish_reason == "tool_calls"
    calls = whole.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.name == "get_weather"
    arguments = calls[0].function.arguments
    assert set(json.loads(arguments)) == {"city"}
    with client.chat.completions.create(
        model="auto", messages=HELLO, tools=TOOLS, stream=True
    ) as stream:
        deltas = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or ()]
    assert deltas[0].id == calls[0].id
    assert "".join(delta.function.arguments or "" for delta in deltas) == arguments
    answered = [
        *HELLO,
        {"role": "assistant", "tool_calls": [calls[0].model_dump()]},
        {"role": "tool", "tool_call_id": calls[0].id, "content": '{"celsius": 21}'},
    ]
    final = client.chat.completions.create(model="auto", messages=answered, tools=TOOLS)
    assert final.choices[0].finish_reason == "stop"


def test_json_mode(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="auto", messages=HELLO, response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)
    schema: Any = {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "schema": {"type": "object", "properties": {"n": {"type": "integer"}}},
        },
    }
    answer = client.chat.completions.create(model="gpt-4.1", messages=HELLO, response_format=schema)
    assert isinstance(json.loads(answer.choices[0].message.content or "")["n"], int)


def test_errors_are_the_clients_own(client: openai.OpenAI, server: Served) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="auto", messages=[], temperature=9)
    assert (bad.value.code, bad.value.param) == ("invalid_request_error", "messages")
    assert bad.value.type == "invalid_request_error"
    assert bad.value.request_id
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-0", messages=HELLO)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    stranger = client.with_options(api_key="kr-" + "x" * 43)
    with pytest.raises(openai.AuthenticationError) as wrong:
        stranger.chat.completions.create(model="auto", messages=HELLO)
    assert wrong.value.code == "invalid_api_key"
    assert "Incorrect API key provided" in wrong.value.message
    elsewhere = client.with_options(base_url=f"{server.url}/v2")
    with pytest.raises(openai.NotFoundError):
        elsewhere.models.list()


async def talk(server: Served, text: list[str]) -> None:
    """The asynchronous client: models, whole, streamed and an error."""
    async with openai.AsyncOpenAI(
        base_url=f"{server.url}/api/v1", api_key=server.key, max_retries=0
    ) as client:
        assert (await client.models.retrieve("auto")).id == "auto"
        whole = await client.chat.completions.create(model="auto", messages=HELLO)
        text.append(whole.choices[0].message.content or "")
        stream = await client.chat.completions.create(model="auto", messages=HELLO, stream=True)
        async with stream:
            text.append("".join([c.choices[0].delta.content or "" async for c in stream]))
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="gpt-0", messages=HELLO)


# At `[DONE]` the client stops reading and leaves its generators to the garbage collector.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_the_asynchronous_client_under_trio(server: Served) -> None:
    text: list[str] = []
    await talk(server, text)
    assert text[0] == text[1] != ""


def test_the_asynchronous_client_under_asyncio(server: Served) -> None:
    text: list[str] = []
    anyio.run(talk, server, text, backend="asyncio")
    assert text[0] == text[1] != ""


# --- operators


def test_the_second_prefix_serves_the_same(server: Served) -> None:
    with server.caller() as caller:
        assert caller.get("/api/v1/models").body == caller.get("/v1/models").body
        answer = caller.post(chat(), path="/api/v1/chat/completions")
        assert answer.status == 200
        assert caller.get("/api/v1/metrics").status == 404


def test_operators_endpoints(server: Served) -> None:
    with server.caller() as caller:
        for path in ("/livez", "/readyz", "/healthz"):
            caller.send(request("GET", path))
            assert caller.receive().status == 200
            caller.send(request("HEAD", path))
            head = caller.receive("HEAD")
            assert (head.status, head.body) == (200, b"")
        assert caller.ask().status == 200
        caller.send(request("GET", "/metrics"))
        metrics = caller.receive()
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'kproxy_requests_total{route="/v1/chat/completions",status="200"}' in metrics.body
    assert b"kproxy_first_token_seconds_bucket" in metrics.body
    assert server.key.encode() not in metrics.body


def test_sigterm_lets_a_stream_finish(tmp_path: Path) -> None:
    """Not ready and closed to newcomers at once, the stream whole, then exit status 0."""
    server = served(tmp_path, '[sim]\nfirst_token_ms = 1\ntoken_ms = 30\ntokens = "30"\n')
    try:
        with server.caller() as streaming, server.caller() as idle:
            assert idle.get("/readyz").status == 200
            fields = (streaming.authorization,)
            streaming.send(request("POST", "/v1/chat/completions", *fields, body=chat(stream=True)))
            assert streaming.socket.recv(15) == b"HTTP/1.1 200 OK"
            server.process.signal(signal.SIGTERM)
            assert idle.closed()
            until(server.refuses, "no new connections")
            rest = _to_the_end(streaming.socket)
        assert rest.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert server.process.wait() == 0
    finally:
        server.process.stop()
    assert server.process.complaints == ""


def _to_the_end(sock: Any) -> bytes:
    data = b""
    while more := sock.recv(65_536):
        data += more
    return data
