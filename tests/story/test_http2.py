"""`kproxy serve` over HTTP/2, from outside: official clients, curl, hang-ups, drains, receipts."""

import json
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx  # noqa: ASYNC127  # the official client stands on it
import openai
import pytest
import trustme
from openai import OpenAI

from tests.fakes.caller import chat, request
from tests.fakes.h2_socket import H2Socket
from tests.fakes.server import (
    Served,
    Simulated,
    provider_config,
    served,
    serving,
    simulating,
    until,
)
from tests.fakes.tls import client_context, write_files

pytestmark = pytest.mark.loopback

TLS = """\
[[listeners]]
address = "127.0.0.1:0"
[listeners.tls]
certificate = "cert.pem"
key = "key.pem"
"""
CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello!"}]
STREAMING = {"model": "acme/gpt-4.1!tokens=1000!pace=1,50", "stream": True}
SILENT = {"model": "acme/gpt-4.1!silence"}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    with simulating(tmp_path_factory.mktemp("sim")) as sim:
        yield sim


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, sim: Simulated, authority: trustme.CA
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve")
    write_files(folder, authority)
    with serving(folder, TLS + provider_config(acme=sim.base_url)) as server:
        yield server


@pytest.fixture(autouse=True)
def counted_from_zero(sim: Simulated) -> None:
    sim.forget()


def over_tls(server: Served) -> str:
    found = re.search(r"https://127\.0\.0\.1:(\d+)", server.said)
    assert found is not None
    return f"https://localhost:{found[1]}"


@contextmanager
def talking(server: Served, context: ssl.SSLContext | None = None) -> Iterator[httpx.Client]:
    """A client that speaks HTTP/2: over TLS by ALPN, without by prior knowledge."""
    with httpx.Client(
        base_url=server.url if context is None else over_tls(server),
        http1=context is not None,
        http2=True,
        verify=context or False,
        trust_env=False,
        timeout=60,
        headers={"authorization": f"Bearer {server.key}"},
    ) as client:
        yield client


def ask(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/v1/chat/completions", content=chat(**fields))


def test_an_official_client_by_alpn(server: Served, authority: trustme.CA) -> None:
    versions: list[str] = []

    def note(response: httpx.Response) -> None:
        versions.append(response.http_version)

    http = httpx.Client(
        http2=True,
        verify=client_context(authority),
        trust_env=False,
        event_hooks={"response": [note]},
    )
    client = OpenAI(
        base_url=f"{over_tls(server)}/v1", api_key=server.key, http_client=http, max_retries=0
    )
    with client:
        models = client.models.list()
        assert models.data[0].id == "auto"
        whole = client.chat.completions.create(model="acme/gpt-4.1", messages=HELLO)  # type: ignore[arg-type]
        assert whole.choices[0].message.content
        reasons = []
        with client.chat.completions.create(
            model="acme/gpt-4.1",
            messages=HELLO,  # type: ignore[arg-type]
            stream=True,
        ) as stream:
            text = ""
            for chunk in stream:
                if chunk.choices:
                    text += chunk.choices[0].delta.content or ""
                    reasons.append(chunk.choices[0].finish_reason)
        assert text
        assert reasons[-1] == "stop"
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="nobody", messages=HELLO)  # type: ignore[arg-type]
    assert set(versions) == {"HTTP/2"}


def test_the_same_answers_as_over_http_1(server: Served) -> None:
    """But for what names a request, and the framing."""
    with server.caller() as caller:
        old = {stream: caller.ask(model="acme/gpt-4.1", stream=stream) for stream in (True, False)}
    with talking(server) as client:
        for stream in (True, False):
            new = ask(client, model="acme/gpt-4.1", stream=stream)
            assert (new.http_version, new.status_code) == ("HTTP/2", 200)
            hidden = {"connection", "transfer-encoding", "content-length"}
            assert set(new.headers) - hidden == set(old[stream].headers) - hidden
            shown = re.compile(rb"rcpt_[0-9a-f]+")
            assert shown.sub(b"", new.content) == shown.sub(b"", old[stream].body)


def test_a_stream_that_breaks(server: Served) -> None:
    with (
        talking(server) as client,
        client.stream(
            "POST",
            CHAT,
            content=chat(model="acme/gpt-4.1!cut=3", stream=True),
        ) as answer,
    ):
        pieces: list[bytes] = []
        with pytest.raises(httpx.RemoteProtocolError):
            pieces.extend(answer.iter_raw())
    got = b"".join(pieces)
    *_, last = re.findall(rb"data: (.*)\n\n", got)
    assert "error" in json.loads(last)
    assert b"[DONE]" not in got


def playing(sim: Simulated) -> int:
    stats = sim.ask("/sim/stats")
    assert isinstance(stats, dict)
    return stats["streams"]


def test_a_stream_is_taken_back(server: Served, sim: Simulated) -> None:
    """RST_STREAM: the provider is told, and the connection and its other streams go on."""
    name = 'kproxy_requests_total{route="/v1/chat/completions",status="cancelled"}'
    before = server.metrics().get(name, 0)
    with H2Socket(server.address, server.key) as caller:
        beside = caller.ask(CHAT, chat(**STREAMING))
        caller.hear(beside)
        for number, fields in enumerate((STREAMING, SILENT) * 5):
            stream = caller.ask(CHAT, chat(**fields))
            if fields is STREAMING:
                caller.hear(stream)
            else:
                until(lambda: playing(sim) == 2, "the provider has the request")
            caller.reset(stream)
            until(lambda wanted=number + 1: sim.hangups() == wanted, "the provider is told")
        assert playing(sim) == 1
        heard = caller.hear(beside)
        assert len(caller.hear(beside, len(heard) + 1)) > len(heard)
    until(lambda: sim.hangups() == 11, "the end of the connection counts as well")
    until(server.at_rest)
    assert server.metrics()[name] == before + 11
    with talking(server) as client:
        receipts = client.get("/v1/receipts").json()["data"]
    assert [one["execution"]["status"] for one in receipts[:11]] == ["cancelled"] * 11


def test_many_streams_of_one_connection(server: Served, sim: Simulated) -> None:
    with H2Socket(server.address, server.key) as caller:
        ended = [caller.ask(CHAT, chat(model="acme/gpt-4.1", stream=True)) for _ in range(20)]
        open_ones = [caller.ask(CHAT, chat(**STREAMING)) for _ in range(20)]
        for stream in ended:
            assert caller.whole(stream).endswith(b"data: [DONE]\n\n")
        for stream in open_ones:
            caller.hear(stream)
        assert playing(sim) == 20
    until(lambda: sim.hangups() == 20)
    until(lambda: playing(sim) == 0)
    until(server.at_rest)


def test_a_caller_that_does_not_read_holds_up_its_provider_alone(
    server: Served, sim: Simulated
) -> None:
    """A stream larger than all the buffers between; its window stays shut."""
    with H2Socket(server.address, server.key, window=1_000) as caller:
        flat_out = {"model": "acme/gpt-4.1!tokens=5000!pace=1,0", "stream": True}
        stuck = caller.ask(CHAT, chat(**flat_out))
        caller.stuff(stuck, 1_000)
        assert len(caller.bodies[stuck]) == 1_000
        with talking(server) as client:
            assert ask(client, model="acme/gpt-4.1").status_code == 200
        assert playing(sim) == 1, "the provider is not done"
        caller.open_window(stuck, 2**24)
        assert caller.whole(stuck).endswith(b"data: [DONE]\n\n")
    until(server.at_rest)


def test_curl(server: Served, tmp_path: Path, require: Callable[[str], str]) -> None:
    curl = require("curl")
    features = subprocess.run([curl, "--version"], capture_output=True, text=True, check=True)
    if "HTTP2" not in features.stdout:
        pytest.skip("this curl knows no HTTP/2")
    command = [
        curl, "-sS", "--http2-prior-knowledge", f"{server.url}/v1/chat/completions",
        "-H", f"Authorization: Bearer {server.key}", "-w", "%{http_version}",
        "-d", chat(model="acme/gpt-4.1", stream=True).decode(),
    ]  # fmt: skip
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.endswith("data: [DONE]\n\n2")


def test_a_server_that_drains_lets_streams_end(tmp_path: Path, sim: Simulated) -> None:
    slow = chat(model="acme/gpt-4.1!tokens=40!pace=1,20", stream=True)
    server = served(tmp_path, provider_config(acme=sim.base_url))
    try:
        with (
            talking(server) as client,
            client.stream("POST", CHAT, content=slow) as answer,
        ):
            pieces = answer.iter_raw()
            got = next(pieces)
            server.process.signal()
            until(server.refuses)
            got += b"".join(pieces)
        assert got.endswith(b"data: [DONE]\n\n")
        assert server.process.wait() == 0
    finally:
        server.process.stop()
    assert server.process.complaints == ""


def test_http_1_beside_it(server: Served) -> None:
    with server.caller() as caller:
        caller.send(request("GET", "/livez"))
        assert caller.receive().status == 200
