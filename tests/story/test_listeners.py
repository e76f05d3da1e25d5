"""`kproxy serve` on TLS, unix sockets, a passed-on socket, and an admin listener: real clients."""

import json
import re
import signal
import socket
import ssl
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
import trustme
from openai import DefaultHttpxClient, OpenAI

from tests.fakes.caller import Caller, request
from tests.fakes.server import Process, Served, served, serving, until
from tests.fakes.tls import client_context, write_files

pytestmark = pytest.mark.loopback

TLS = """\
[[listeners]]
address = "127.0.0.1:0"
[listeners.tls]
certificate = "cert.pem"
key = "key.pem"
"""
QUICK = "[sim]\nfirst_token_ms = 1\ntoken_ms = 0\njitter = 0\n"
HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def https_port(server: Served) -> int:
    found = re.search(r"https://127\.0\.0\.1:(\d+)", server.said)
    assert found is not None
    return int(found[1])


def official(server: Served, context: ssl.SSLContext) -> OpenAI:
    return OpenAI(
        base_url=f"https://localhost:{https_port(server)}/v1",
        api_key=server.key,
        http_client=DefaultHttpxClient(verify=context, trust_env=False),
        max_retries=0,
    )


def streamed(client: OpenAI) -> Iterator[str | None]:
    """The text of each chunk as it comes, and in the end the finish reason."""
    with client.chat.completions.create(model="auto", stream=True, messages=HELLO) as stream:  # type: ignore[call-overload]
        for chunk in stream:
            if chunk.choices and chunk.choices[0].finish_reason:
                yield chunk.choices[0].finish_reason
            elif chunk.choices:
                yield chunk.choices[0].delta.content


def refuse(client: OpenAI) -> None:
    with client, pytest.raises(openai.APIConnectionError):
        client.models.list()


def serial(port: int, context: ssl.SSLContext) -> object:
    """Of the certificate that a new connection is shown."""
    with (
        socket.create_connection(("127.0.0.1", port), 20) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as secure,
    ):
        shown = secure.getpeercert()
        assert shown is not None
        return shown["serialNumber"]


def test_an_official_client_over_https(tmp_path: Path, authority: trustme.CA) -> None:
    write_files(tmp_path, authority)
    with serving(tmp_path, TLS + QUICK) as server:
        with official(server, client_context(authority)) as client:
            whole = client.chat.completions.create(model="auto", messages=HELLO)  # type: ignore[call-overload]
            assert whole.choices[0].message.content
            *texts, reason = streamed(client)
            assert "".join(text or "" for text in texts)
            assert reason == "stop"
        refuse(official(server, client_context(trustme.CA())))
        until(lambda: server.metrics()["kproxy_connections_turned_away_total"] == 1)


def test_new_certificates_under_an_open_stream(tmp_path: Path, authority: trustme.CA) -> None:
    context = client_context(authority)
    files = write_files(tmp_path, authority)
    slow = "[sim]\nfirst_token_ms = 1\ntoken_ms = 20\njitter = 0\ntokens = '150'\n"
    with serving(tmp_path, TLS + slow) as server, official(server, context) as client:
        port = https_port(server)
        before = serial(port, context)
        stream = streamed(client)
        got = [next(stream)]
        write_files(tmp_path, authority)
        server.process.signal(signal.SIGHUP)
        until(lambda: serial(port, context) != before)
        files.certificate.write_text("nonsense")
        server.process.signal(signal.SIGHUP)
        until(lambda: f"the file {files.certificate} holds no cert" in server.process.errors)
        assert serial(port, context) != before
        got += stream
        assert got[-1] == "stop"
        assert len(got) > 100


def test_client_certificates(tmp_path: Path, authority: trustme.CA) -> None:
    clients = trustme.CA()
    write_files(tmp_path, authority, clients)
    with serving(tmp_path, TLS + 'client_ca = "clients.pem"\n' + QUICK) as server:
        known = client_context(authority, clients.issue_cert("caller@example.test"))
        with official(server, known) as client:
            assert client.models.list().data
        for context in (
            client_context(authority),
            client_context(authority, trustme.CA().issue_cert("caller@example.test")),
        ):
            refuse(official(server, context))
        until(lambda: server.metrics()["kproxy_connections_turned_away_total"] == 2)


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "k.sock"
    door = f'[[listeners]]\naddress = "unix:{path}"\nmode = "0660"\n'
    with serving(tmp_path, door + QUICK) as server:
        assert f", unix:{path}\n" in server.said
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        library = sys.modules[DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]]
        transport = library.HTTPTransport(uds=str(path))  # of the client's own HTTP library
        with OpenAI(
            base_url="http://localhost/v1",
            api_key=server.key,
            http_client=DefaultHttpxClient(transport=transport),
        ) as client:
            *texts, reason = streamed(client)
            assert "".join(text or "" for text in texts)
            assert reason == "stop"
    assert not path.exists()


ACTIVATE = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="kproxy.socket")
os.execv(sys.executable, [sys.executable, "-W", "error", "-m", "kproxy", *sys.argv[2:]])
"""


def test_a_socket_that_was_passed_on(tmp_path: Path) -> None:
    """What systemd does: it listens, starts us on demand, and the first caller has waited."""
    with socket.create_server(("127.0.0.1", 0)) as passed, socket.socket() as early:
        early.connect(passed.getsockname())
        early.sendall(request("GET", "/readyz", "connection: close"))
        process = Process(
            tmp_path, str(passed.fileno()), "serve", "--listen", "systemd:kproxy.socket",
            "--data-dir", str(tmp_path / "data"),
            program=("-c", ACTIVATE), passing=(passed.fileno(),),
        )  # fmt: skip
        try:
            host, port = passed.getsockname()
            assert f"ready on http://{host}:{port}\n" in process.printed("curl -N")
            early.settimeout(20)
            assert early.recv(65_536).startswith(b"HTTP/1.1 200 ")
            assert process.stop() == 0
        finally:
            process.stop()
        assert process.complaints == ""


def test_the_operators_listener_is_apart_and_outlives_the_drain(tmp_path: Path) -> None:
    admin = '[[listeners]]\naddress = "127.0.0.1:0"\nadmin = true\n'
    slow = "[sim]\nfirst_token_ms = 1\ntoken_ms = 20\njitter = 0\ntokens = '100'\n"
    server = served(tmp_path, admin + slow)
    try:
        found = re.search(r"for operators: http://127\.0\.0\.1:(\d+)", server.said)
        assert found is not None
        operators = ("127.0.0.1", int(found[1]))
        with server.caller() as caller, Caller(operators) as operator:
            for path in ("/livez", "/readyz", "/healthz", "/metrics"):
                assert caller.get(path).status == 404
                assert operator.get(path).status == 200
            for path in ("/v1/models", "/v1/chat/completions", "/api/auth"):
                assert operator.get(path).status == 404
            assert caller.get("/v1/models").status == 200
            begun = caller.begin(model="auto", stream=True)
            begun.until(b"data: ")
            server.process.signal()
            until(lambda: operator.get("/readyz").status == 503)
            assert operator.get("/livez").status == 200
            until(server.refuses)
            with Caller(operators) as another:
                assert json.loads(another.get("/readyz").body)["status"] == "draining"
            answer = begun.rest()
            assert answer.whole
            assert answer.data[-1] == "[DONE]"
        assert server.process.wait() == 0
    finally:
        server.process.stop()
    assert server.process.complaints == ""
