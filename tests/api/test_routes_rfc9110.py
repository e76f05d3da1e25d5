"""RFC 9110 (semantics) where it is about resources and about what passes through a gateway.

The other half, with how the table is read, is in `tests/downstream/test_connection_rfc9110.py`.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
import trio
from trio.testing import MockClock

from kproxy.api.routes import ROUTES
from kproxy.store.keystore import KeyStore, open_keystore
from kproxy.store.memories import MemoriesParams, Owner, Said
from tests.fakes.caller import chat, request
from tests.fakes.house import ACCOUNT, KEY, House, Talking, model
from tests.fakes.raw_provider import LAST_CHUNK, framed, sse
from tests.fakes.remembered import Inline
from tests.fakes.scripted import head, ok

CHAT = "/v1/chat/completions"
AUTHORIZED = f"authorization: Bearer {KEY}"
CHALLENGE = {"www-authenticate": 'Bearer realm="kproxy"'}
REPLY = b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}'
STOP = '{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}'
SECRET = "x-secret: 1"


class Asked(NamedTuple):
    """`section` of the RFC, what it `says`, a request, and what kproxy makes of it."""

    section: str
    says: str
    method: str
    path: str
    given: tuple[str, ...]
    status: int
    fields: Mapping[str, str] = MappingProxyType({})


def methods(path: bytes) -> str:
    """What Allow says there."""
    here = set(ROUTES[path])
    return ", ".join(
        sorted(name.decode() for name in here | ({b"HEAD"} if b"GET" in here else set()))
    )


EVERYWHERE = [path.decode().replace("{id}", "x") for path in ROUTES]
OURS = {path.decode().replace("{id}", "x"): methods(path) for path in ROUTES}
PROTECTED = [
    (method.decode(), path.decode().replace("{id}", "x"))
    for path, here in ROUTES.items()
    for method, route in here.items()
    if route.role == "key"
]
ALL = {"allow": "DELETE, GET, HEAD, OPTIONS, PATCH, POST"}

TABLE = [
    *(
        Asked(
            "15.5.6",
            "a 405 says in Allow what would do",
            method,
            path,
            (AUTHORIZED,),
            405,
            {"allow": OURS[path]},
        )
        for path in EVERYWHERE
        for method in ("BREW", "OPTIONS", "TRACE", "PUT", "get")
    ),
    *(
        Asked("11.6.1", "a 401 challenges", method, path, given, 401, CHALLENGE)
        for method, path in PROTECTED
        for given in ((), ("authorization: Basic a",), ("authorization: Bearer kr-wrong", SECRET))
    ),
    Asked("9.3.7", "OPTIONS * is about the server", "OPTIONS", "*", (), 204, ALL),
    Asked("9.3.7", "OPTIONS with an empty path is the same", "OPTIONS", "http://b", (), 204, ALL),
    Asked(
        "9.3.7", "whatever else is said", "OPTIONS", "*", ('if-match: "x"', "via: 1.1 a"), 204, ALL
    ),
    Asked("9.3.6", "CONNECT is refused by who does not tunnel", "CONNECT", "b:443", (), 501),
    Asked("7.6.2", "Max-Forwards: 0 is answered here", "OPTIONS", CHAT, ("max-forwards: 0",), 405),
    Asked("7.6.2", "Max-Forwards: 0 is answered here", "TRACE", CHAT, ("max-forwards: 0",), 405),
    Asked(
        "13.1.2",
        "If-None-Match: * fails where something is there",
        "GET",
        "/v1/models",
        (AUTHORIZED, "if-none-match: *"),
        304,
    ),
    Asked(
        "13.1.1",
        "If-Match fails where no entity tag matches",
        "GET",
        "/v1/models/auto",
        (AUTHORIZED, 'if-match: "x"'),
        412,
    ),
    Asked(
        "13.2.1",
        "conditions are ignored where the answer is no 2xx",
        "GET",
        "/v1/models/x",
        (AUTHORIZED, "if-none-match: *"),
        404,
    ),
    Asked(
        "13.2.1",
        "conditions are ignored where the answer is no 2xx",
        "GET",
        "/v1/models",
        ("if-none-match: *",),
        401,
    ),
    Asked(
        "8.4",
        "a 415 says what would do",
        "POST",
        CHAT,
        (AUTHORIZED, "content-encoding: gzip"),
        415,
        {"accept-encoding": "identity"},
    ),
    Asked(
        "8.4",
        "all codings of a body are in force, in whichever field they stand",
        "POST",
        CHAT,
        (AUTHORIZED, "content-encoding: identity", "content-encoding: gzip"),
        415,
        {"accept-encoding": "identity"},
    ),
    Asked(
        "8.4",
        "identity is no coding",
        "POST",
        CHAT,
        (AUTHORIZED, "content-encoding: identity", "content-encoding: Identity"),
        400,
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.section} {row.method} {row.path}")
async def test_rfc_9110(row: Asked, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    answer = await House(nursery).send(row.method, row.path, *row.given)
    assert answer.status == row.status
    assert {name: answer.headers.get(name) for name in row.fields} == row.fields
    assert b"x-secret" not in answer.body, "9.3.8: TRACE, or an error, would send it back"
    if row.status in (204, 304):
        assert answer.body == b""
        assert "content-length" not in answer.headers, "8.6"


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/models/auto", "/v1/performance", "/livez", "/readyz"]
)
async def test_head_is_get_without_content(
    path: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """9.1 and 9.3.2: both are there, with the same fields, the length among them (8.6)."""
    house = House(nursery)
    got, asked = await house.get(path), await house.get(path, method="HEAD")
    assert (asked.status, asked.body) == (got.status, b"")
    for answer in (got, asked):
        del answer.headers["x-request-id"]
    assert asked.headers == got.headers
    assert got.headers["content-length"] == str(len(got.body))


def bearer(key: str) -> str:
    return f"authorization: Bearer {key}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    store = open_keystore(tmp_path)
    yield store
    store.close()


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
@pytest.mark.parametrize("condition", ['if-match: "x"', "if-none-match: *"])
async def test_nothing_is_changed_against_a_condition(
    autojump_clock: MockClock, nursery: trio.Nursery, store: KeyStore, method: str, condition: str
) -> None:
    """13.1.1 and 13.1.2: the method must not be carried out."""
    house = House(nursery, store=store)
    store.create_account("acme", "team", 900)
    record, key = store.create_key("acme", "first", None, 900)
    fields = (f"authorization: Bearer {key}", condition)
    path, body = f"/api/auth/{record.key_id}", b'{"maxCostPerRequestUsd":1}'
    before = store.in_force(record.account.id)
    refused = await house.send(method, path, *fields, body=body)
    assert (refused.status, refused.error["code"]) == (412, "precondition_failed")
    assert store.in_force(record.account.id) == before
    done = await house.send(method, path, fields[0], "if-match: *", body=body)
    assert done.status == 200
    assert store.in_force(record.account.id) != before


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
@pytest.mark.parametrize("condition", ['if-match: "x"', "if-none-match: *"])
async def test_a_condition_on_a_key_that_is_not_there_is_ignored(
    autojump_clock: MockClock, nursery: trio.Nursery, store: KeyStore, method: str, condition: str
) -> None:
    """13.2.1: without it the answer would be a 404."""
    house = House(nursery, store=store)
    for account in ("acme", "other"):
        store.create_account(account, "team", 900)
    _, key = store.create_key("acme", "first", None, 900)
    theirs, _ = store.create_key("other", "first", None, 900)
    for missing in ("key_x", theirs.key_id):
        answer = await house.send(
            method, f"/api/auth/{missing}", f"authorization: Bearer {key}", condition, body=b"{}"
        )
        assert (answer.status, answer.error["code"]) == (404, "key_not_found")


@pytest.mark.parametrize("condition", ['if-match: "x"', "if-none-match: *"])
@pytest.mark.parametrize(
    ("method", "body", "given", "status"),
    [
        ("PUT", b"{}", (), 405),
        ("BREW", b"{}", (), 405),
        ("PATCH", b"{", (), 400),
        ("PATCH", b'{"allowedProviders":["nobody"]}', (), 400),
        ("PATCH", b"{}", ("content-encoding: gzip",), 415),
        ("PATCH", b'{"providerKeys":{"cheap":"sk-1"}}', (), 501),
        ("PATCH", b'{"providerKeys":{}}', (), 412),
        ("PATCH", b"{}", ("authorization: Bearer kr-no",), 401),
    ],
)
async def test_a_condition_is_ignored_where_the_request_is_refused_anyway(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    store: KeyStore,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    body: bytes,
    given: tuple[str, ...],
    status: int,
    condition: str,
) -> None:
    """13.2.1: the answer is that without it; here the server cannot seal a key of a provider."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    house = House(nursery, store=store)
    store.create_account("acme", "team", 900)
    record, key = store.create_key("acme", "first", None, 900)
    fields = given if any(name.startswith("auth") for name in given) else (bearer(key), *given)
    answer = await house.send(method, f"/api/auth/{record.key_id}", *fields, condition, body=body)
    assert answer.status == status
    assert store.in_force(record.account.id) == (record,)


@pytest.mark.parametrize("condition", ['if-match: "x"', "if-none-match: *"])
async def test_a_condition_on_a_memory(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path, condition: str
) -> None:
    """13.1 of one that is there, 13.2.1 of one that is not."""
    memories = Inline(tmp_path, MemoriesParams())
    house = House(nursery, memories=memories)
    fields, account = (AUTHORIZED, condition), ACCOUNT.id
    await memories.recall(Owner(account, ""), [], [Said("I am Ada.")], 900)
    page = await memories.page(account, None, 1, None)
    assert page is not None
    there = f"/v1/memories/{page.memories[0].id}"
    codes = []
    for path in (there, "/v1/memories/mem_x"):
        answer = await house.send("DELETE", path, *fields)
        codes.append((answer.status, answer.error["code"]))
    assert codes == [(412, "precondition_failed"), (404, "memory_not_found")]
    assert (await house.send("DELETE", there, AUTHORIZED)).status == 200
    memories.close()


# --- what passes through

PASSING = (
    "connection: close, X-Hop, OpenAI-Beta", "x-hop: 1", "openai-beta: assistants=v2",
    "keep-alive: timeout=5",
    "proxy-connection: keep-alive", "proxy-authorization: Basic c2VjcmV0",
    "proxy-authenticate: Basic", "te: trailers",
    "trailer: X", "upgrade: h2c", "http2-settings: AAMAAABk", "cookie: a=b",
    "forwarded: for=1.2.3.4", "x-forwarded-for: 1.2.3.4",
    "expect: 100-continue", "max-forwards: 3", "range: bytes=0-1", "if-none-match: *",
    "accept-encoding: gzip", "content-type: application/json", "user-agent: curl",
    "via: 1.0 fred, 1.1 p.example.net (Apache/1.1)", "origin: https://evil.test",
    "x-api-key: kr-other", "date: Sun, 06 Nov 1994 08:49:37 GMT",
)  # fmt: skip
BACK = (
    b"connection: keep-alive, X-Hop", b"x-hop: 1", b"keep-alive: timeout=5",
    b"proxy-authenticate: Basic", b"proxy-authentication-info: a", b"upgrade: h2c", b"trailer: X",
    b"set-cookie: a=b", b"via: 1.1 provider", b"server: nginx",
    b"date: Sun, 06 Nov 1994 08:49:37 GMT", b"alt-svc: h3=\":443\"", b"www-authenticate: Basic",
    b"x-request-id: req_theirs",
    b"location: http://evil.test/", b"content-location: /x", b"etag: \"x\"",
    b"accept-ranges: bytes", b"strict-transport-security: max-age=1",
)  # fmt: skip


async def test_what_reaches_a_provider(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """7.6.1: nothing of the caller's connection, and nothing that Connection names; 7.6.3: a Via
    that says how it came; 11.7.1: no credentials for a proxy; 7.2: the provider's own Host."""
    house = House(nursery, models=[model("cheap/m")], scripts={"cheap": [[[(0.0, ok(REPLY))]]]})
    answer = await house.send("POST", CHAT, AUTHORIZED, *PASSING, body=chat())
    assert answer.status == 200
    sent = house.providers["cheap"].connections[0].requests[0].partition(b"\r\n\r\n")[0]
    line, *fields = sent.decode().split("\r\n")
    assert line == "POST /v1/chat/completions HTTP/1.1"
    assert sorted(fields) == [
        "accept-encoding: identity",
        "accept: application/json, text/event-stream",
        "content-length: 64",
        "content-type: application/json",
        "host: provider.test",
        "user-agent: kproxy",
        "via: 1.0 gateway, 1.1 gateway, 1.1 kproxy",
    ]


async def test_the_via_says_by_which_version_it_came(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    house = House(nursery, models=[model("cheap/m")], scripts={"cheap": [[[(0.0, ok(REPLY))]]]})
    body = chat()
    talking = Talking(
        house, request("POST", CHAT, AUTHORIZED, body=body).replace(b"HTTP/1.1", b"HTTP/1.0")
    )
    await talking.until(lambda: talking.ended)
    assert talking.answer().status == 200
    assert b"\r\nvia: 1.0 kproxy\r\n" in house.providers["cheap"].connections[0].requests[0]


@pytest.mark.parametrize("stream", [False, True])
async def test_what_comes_back(
    autojump_clock: MockClock, nursery: trio.Nursery, stream: bool
) -> None:
    """7.6.1 for answers. A head of ours is written by us: no field of a provider's is in it."""
    answers = [ok(REPLY, 200, *BACK)]
    if stream:
        answers = [
            head(200, b"transfer-encoding: chunked", *BACK)
            + framed(b"".join(sse(STOP, "[DONE]")))
            + LAST_CHUNK
        ]
    house = House(
        nursery, models=[model("cheap/m")], scripts={"cheap": [[[(0.0, one)] for one in answers]]}
    )
    answer = await house.ask(stream=stream)
    assert answer.status == 200
    usual = {
        "content-type",
        "connection",
        "x-request-id",
        "x-kairosroute-provider",
        "x-kairosroute-receipt",
        "server-timing",
    }
    ours = (
        {"transfer-encoding", "cache-control", "x-accel-buffering"}
        if stream
        else {"content-length", "x-kairosroute-cost", "x-kairosroute-savings"}
    )
    assert set(answer.headers) == usual | ours
    assert answer.headers["x-request-id"] != "req_theirs"
    assert answer.headers["connection"] == "close"


async def test_a_loop_ends(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """7.6: a message must not come back to its sender for ever."""
    house = House(nursery, scripts={"cheap": [[[(0.0, ok(REPLY))]]]})
    via = "via: " + ", ".join(["1.1 kproxy"] * 5)
    answer = await house.send("POST", CHAT, AUTHORIZED, via, body=chat())
    assert (answer.status, answer.error["code"]) == (400, "loop_detected")
    assert house.providers["cheap"].dialled == []
    less = "via: " + ", ".join(["1.1 kproxy"] * 4)
    assert (await house.send("POST", CHAT, AUTHORIZED, less, body=chat())).status == 200
