"""Requests that fail before their body means anything: methods, paths, heads, sizes, framing.

Whatever can be answered is answered in OpenAI's shape; where the next request would begin is either
known, and the connection kept, or not, and it is closed with notice.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.caller import Answer, Caller, chat, request
from tests.fakes.server import Served, served, serving, until

pytestmark = pytest.mark.loopback

BODY_LIMIT = 1_000_000
CONFIG = f"[sim]\nfirst_token_ms = 1\ntoken_ms = 0\n[limits]\nbody = {BODY_LIMIT}\n"
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("serve"), CONFIG) as server:
        yield server


@pytest.fixture
def caller(server: Served) -> Iterator[Caller]:
    with server.caller() as caller:
        yield caller


def too_large(answer: Answer) -> None:
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert str(BODY_LIMIT) in answer.error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, "POST"),
        ("HEAD", CHAT, "POST"),
        ("DELETE", CHAT, "POST"),
        ("OPTIONS", CHAT, "POST"),
        ("BREW", CHAT, "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("PUT", "/v1/models/auto", "GET, HEAD"),
        ("TRACE", "/livez", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
    ],
)
def test_another_method(caller: Caller, method: str, path: str, allowed: str) -> None:
    caller.send(request(method, path, caller.authorization, body=b"{}"))
    answer = caller.receive(method)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)
    if method != "HEAD":
        assert answer.error["code"] == "method_not_allowed"
    assert caller.get("/v1/models").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/model", "/v1/models/", "/api/v1", "//v1/models", "/%2e%2e/x"]
)
def test_another_path(caller: Caller, path: str) -> None:
    answer = caller.get(path)
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert caller.get("/v1/models").status == 200


@pytest.mark.parametrize("name", ["gpt-0", "%00", "%ff%fe", "a%2Fb", "x" * 3_000, "..", "%0d%0a"])
def test_an_unknown_model_by_path(caller: Caller, name: str) -> None:
    answer = caller.get(f"/v1/models/{name}")
    error = answer.error
    assert (answer.status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert len(answer.body) < 2_000
    assert caller.get("/v1/models/auto").status == 200


ENDING: dict[str, tuple[bytes, int]] = {
    "a field too large": (request("GET", "/livez", "x: " + "a" * 17_000), 431),
    "fields too large": (
        request("GET", "/livez", *[f"x-{n}: {'a' * 999}" for n in range(40)]),
        431,
    ),
    "too many fields": (request("GET", "/livez", *[f"x-{n}: a" for n in range(101)]), 431),
    "a line too long": (request("GET", "/" + "a" * 9_000), 414),
    "an announced body": (request("POST", CHAT, f"content-length: {BODY_LIMIT + 1}"), 401),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "two lengths": (request("POST", CHAT, "content-length: 1", "content-length: 2"), 400),
    "length and chunks": (
        request("POST", CHAT, "transfer-encoding: chunked", "content-length: 5") + b"0\r\n\r\n",
        400,
    ),
    "no host": (b"GET /livez HTTP/1.1\r\n\r\n", 400),
    "bare LF": (b"GET /livez HTTP/1.1\nhost: a\n\n", 400),
    "a NUL": (request("GET", "/livez", "x: \x00"), 400),
    "a tunnel": (request("CONNECT", "a:1"), 501),
}


@pytest.mark.parametrize("name", ENDING)
def test_what_ends_the_connection(server: Served, name: str) -> None:
    data, status = ENDING[name]
    with server.caller() as caller:
        caller.send(data)
        answer = caller.receive()
        assert answer.status == status
        assert answer.error["message"]
        assert answer.headers["connection"] == "close"
        assert caller.closed()


@pytest.mark.parametrize("expecting", [False, True])
def test_an_announced_body_over_the_limit(caller: Caller, expecting: bool) -> None:
    """Refused before it is read, and before it is asked for."""
    fields = [caller.authorization, f"content-length: {BODY_LIMIT + 1}"]
    caller.send(request("POST", CHAT, *fields, *(["expect: 100-continue"] if expecting else [])))
    too_large(caller.receive("POST"))
    assert caller.closed()


def test_a_chunked_body_over_the_limit(caller: Caller) -> None:
    chunk = b"%x\r\n%b\r\n" % (1_000, b" " * 1_000)
    head = request("POST", CHAT, caller.authorization, "transfer-encoding: chunked")
    caller.send(head + chunk * (BODY_LIMIT // 1_000 + 1))
    too_large(caller.receive("POST"))
    assert caller.closed()


def test_a_chunked_body_at_the_limit(caller: Caller) -> None:
    good = chat()
    pieces = [good, b" " * (BODY_LIMIT - len(good)), b""]
    head = request("POST", CHAT, caller.authorization, "transfer-encoding: chunked")
    caller.send(head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces))
    assert caller.receive("POST").status == 200
    assert caller.ask().status == 200, "the connection is kept"


def test_requests_in_a_row_are_answered_in_order(caller: Caller) -> None:
    caller.send(
        request("POST", CHAT, caller.authorization, body=b"{}")
        + request("GET", "/v1/nothing", caller.authorization)
        + request("GET", "/livez", "connection: close")
    )
    data = b""
    while more := caller.socket.recv(65_536):
        data += more
    assert [part[:3] for part in data.split(b"HTTP/1.1 ")[1:]] == [b"400", b"404", b"200"]


def test_a_second_signal_ends_what_the_drain_waits_for(tmp_path: Path) -> None:
    server = served(tmp_path, CONFIG)
    try:
        with server.caller() as caller:
            caller.send(request("POST", CHAT, caller.authorization, "content-length: 10") + b"{")
            until(lambda: server.metrics()["kproxy_connections"] == 2)
            server.process.signal(signal.SIGINT)
            until(server.refuses)
            server.process.signal(signal.SIGINT)
            answer = caller.receive()
            assert (answer.status, answer.error["code"]) == (503, "shutting_down")
            assert caller.closed()
            assert server.process.wait() == 0
    finally:
        server.process.stop()
    assert server.process.complaints == ""
