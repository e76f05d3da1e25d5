"""`kproxy sim` as a process, asked by the official clients; and `serve` inside another program."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import anthropic
import openai
import pytest
import trio

from kproxy.sim.params import SimParams
from kproxy.sim.serve import serve
from kproxy.transport.accept import open_listeners
from kproxy.transport.hub import Hub
from tests.fakes.simulated import (
    CLOCK,
    HELLO,
    WEATHER,
    anthropic_tools,
    openai_body,
    openai_tools,
)

pytestmark = pytest.mark.loopback

SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["answer", "size"],
    "additionalProperties": False,
}
SHAPE = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}


def start(*options):
    """A `kproxy sim` that is ready, and what it said about itself."""
    command = [sys.executable, "-m", "kproxy", "sim", "--listen", "127.0.0.1:0", "--json", *options]
    environ = {name: value for name, value in os.environ.items() if "KPROXY" not in name}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    return process, json.loads(process.stdout.readline())


def end(process, number=signal.SIGTERM):
    process.send_signal(number)
    process.stdout.close()
    return process.wait(timeout=10)


@pytest.fixture(scope="module")
def base_url():
    process, said = start(
        "--first-token-ms", "2", "--token-ms", "0.1", "--jitter", "0.2", "--tokens", "8-12"
    )  # fmt: skip
    yield said["base_url"]
    assert end(process) == 0


@pytest.fixture
def client(base_url):
    with openai.OpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(base_url):
    address = base_url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=address, api_key="any", max_retries=0) as claude:
        yield claude


def complete(client, **fields):
    return client.chat.completions.create(**{"model": "gpt-4.1", "messages": HELLO, **fields})


def message(claude, **fields):
    request = {"model": "claude-simulated", "max_tokens": 100, "messages": HELLO}
    return claude.messages.create(**{**request, **fields})


def test_a_completion(client):
    answer = complete(client)
    assert answer.model == "gpt-4.1"
    assert answer.choices[0].finish_reason == "stop"
    assert 8 <= answer.usage.completion_tokens <= 12
    assert complete(client) == answer


def test_a_stream(client):
    chunks = list(complete(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    answer = complete(client)
    assert text == answer.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage == answer.usage
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices for chunk in complete(client, stream=True))


# The client stops reading at [DONE] and leaves its generators to the collector, as trio tells us.
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
async def test_an_asynchronous_stream(base_url):
    async with openai.AsyncOpenAI(base_url=base_url, api_key="any") as client:
        stream = await complete(client, stream=True)
        parts = [chunk.choices[0].delta.content async for chunk in stream]
        answer = await complete(client)
    assert "".join(filter(None, parts)) == answer.choices[0].message.content


def test_the_clients_own_accumulation_of_tool_calls(client):
    tools = openai_tools(WEATHER, CLOCK)
    with client.chat.completions.stream(model="gpt-4.1", messages=HELLO, tools=tools) as stream:
        whole = stream.get_final_completion()
    calls = whole.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert set(json.loads(calls[0].function.arguments)) == {"city", "unit"}
    plain = complete(client, tools=tools).choices[0].message.tool_calls
    assert [call.id for call in plain] == [call.id for call in calls]


def test_structured_answers(client):
    value = json.loads(complete(client, response_format=SHAPE).choices[0].message.content)
    assert isinstance(value["answer"], str)
    assert isinstance(value["size"], int)
    text = complete(client, response_format={"type": "json_object"}).choices[0].message.content
    assert isinstance(json.loads(text), dict)


def test_models(client):
    assert "deepseek-chat" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-4.1").id == "gpt-4.1"


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("m!400", openai.BadRequestError),
        ("m!context-length", openai.BadRequestError),
        ("m!401", openai.AuthenticationError),
        ("m!404", openai.NotFoundError),
        ("m!429=7", openai.RateLimitError),
        ("m!503", openai.InternalServerError),
        ("m!reset", openai.APIConnectionError),
        ("m!html", None),
    ],
)
def test_what_the_client_makes_of_faults(client, model, error):
    if error is None:
        assert "DOCTYPE" in str(complete(client, model=model))
        return
    with pytest.raises(error) as caught:
        complete(client, model=model)
    if "429" in model:
        assert caught.value.response.headers["retry-after"] == "7"
    if "context" in model:
        assert caught.value.code == "context_length_exceeded"


def test_the_bad_key(base_url):
    with (
        openai.OpenAI(base_url=base_url, api_key="bad-key") as client,
        pytest.raises(openai.AuthenticationError),
    ):
        complete(client)


def test_an_error_inside_a_stream(client):
    with pytest.raises(openai.APIError, match="The server had an error"):
        list(complete(client, model="m!error-event=2", stream=True))


def test_a_message(claude):
    answer = message(claude, system="Be short.")
    assert (answer.role, answer.stop_reason) == ("assistant", "end_turn")
    assert 8 <= answer.usage.output_tokens <= 12
    assert message(claude, max_tokens=2).stop_reason == "max_tokens"


def test_a_message_streamed(claude):
    with claude.messages.stream(model="claude-simulated", max_tokens=100, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        whole = stream.get_final_message()
    answer = message(claude)
    assert text == answer.content[0].text
    assert whole.usage.output_tokens == answer.usage.output_tokens
    assert whole.stop_reason == "end_turn"


def test_tool_use(claude):
    tools = anthropic_tools(WEATHER, CLOCK)
    answer = message(claude, tools=tools)
    assert answer.stop_reason == "tool_use"
    with claude.messages.stream(
        model="claude-simulated", max_tokens=100, messages=HELLO, tools=tools
    ) as stream:
        whole = stream.get_final_message()
    assert [block.input for block in whole.content] == [block.input for block in answer.content]
    result = {"type": "tool_result", "tool_use_id": answer.content[0].id, "content": "4"}
    turns = [
        *HELLO,
        {"role": "assistant", "content": [block.model_dump() for block in answer.content]},
        {"role": "user", "content": [result]},
    ]
    assert message(claude, tools=tools, messages=turns).content[0].type == "text"


def test_errors_of_messages(claude, base_url):
    with pytest.raises(anthropic.InternalServerError) as caught:
        message(claude, model="m!529")
    assert caught.value.status_code == 529
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(message(claude, model="m!error-event=1", stream=True))
    bad = anthropic.Anthropic(base_url=base_url.removesuffix("/v1"), api_key="bad-key")
    with bad, pytest.raises(anthropic.AuthenticationError):
        message(bad)


def test_a_client_that_leaves_is_in_the_list_of_hangups(client, base_url):
    address = base_url.removesuffix("/v1") + "/sim/"
    with urllib.request.urlopen(address + "hangups") as answer:
        before = json.load(answer)
    with complete(client, model="m!pace=0,60000", stream=True) as stream:
        next(iter(stream))
    stats = {"streams": 1}
    while stats["streams"]:  # until the end of the connection has come through
        with urllib.request.urlopen(address + "stats") as answer:
            stats = json.load(answer)
    with urllib.request.urlopen(address + "hangups") as answer:
        assert len(json.load(answer)) == len(before) + 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_a_good_end_and_a_line_says_where(number):
    command = [sys.executable, "-m", "kproxy", "sim", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("Simulated providers at http://127.0.0.1:")
    port = int(line.rpartition(":")[2].removesuffix("/v1\n"))
    with socket.create_connection(("127.0.0.1", port)) as caller:  # and a stream in the middle
        body = openai_body(model="m!pace=0,60000", stream=True)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
        caller.sendall(head.encode() + b"\r\n" + body)
        assert caller.recv(100).startswith(b"HTTP/1.1 200")
        assert end(process, number) == 0


async def test_refuse_for_everything_closes_the_listener(nursery):
    listeners = open_listeners("127.0.0.1", 0)
    port = listeners[0].getsockname()[1]
    await nursery.start(serve, SimParams(faults=("refuse",)), listeners)
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", port)
    nursery.cancel_scope.cancel()


async def test_inside_another_program_with_its_hub(nursery):
    hub = Hub()
    await nursery.start(hub.run)
    listeners = open_listeners("127.0.0.1", 0)
    port = listeners[0].getsockname()[1]
    async with trio.open_nursery() as inner:
        provider = await inner.start(serve, SimParams(), listeners, hub)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET /sim/stats HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
            assert provider.connections == 1
        inner.cancel_scope.cancel()
    assert hub.statistics().sockets == 0
    nursery.cancel_scope.cancel()
