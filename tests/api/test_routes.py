"""(method, path) to handler, what is not there, and how each request is counted."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from kproxy.api.routes import ADMIN_ROUTES, PUBLIC_ROUTES, ROUTES, Router
from tests.fakes.caller import chat, request
from tests.fakes.house import DEAR, KEY, House, Talking, model
from tests.fakes.scripted import ok

CHAT, WITH_KEY = "/v1/chat/completions", f"authorization: Bearer {KEY}"
REPLY = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}'
)


@pytest.fixture
def house(autojump_clock: MockClock, nursery: trio.Nursery) -> House:
    return House(nursery)


def test_the_whole_surface() -> None:
    """Contract section 1, as far as it is built."""
    assert {path: set(methods) for path, methods in ROUTES.items()} == {
        b"/v1/chat/completions": {b"POST"},
        b"/v1/compare": {b"POST"},
        b"/v1/models": {b"GET"},
        b"/v1/models/{id}": {b"GET"},
        b"/v1/performance": {b"GET"},
        b"/api/auth": {b"GET", b"POST"},
        b"/api/auth/{id}": {b"DELETE", b"PATCH"},
        b"/v1/receipts": {b"GET"},
        b"/v1/receipts/{id}": {b"GET"},
        b"/v1/memories": {b"GET", b"DELETE"},
        b"/v1/memories/{id}": {b"DELETE"},
        b"/livez": {b"GET"},
        b"/readyz": {b"GET"},
        b"/healthz": {b"GET"},
        b"/metrics": {b"GET"},
    }


@pytest.mark.parametrize("path", [path.decode() for path in ROUTES])
async def test_another_method(house: House, path: str) -> None:
    answer = await house.send("PUT", path.replace("{id}", "m"))
    methods = ROUTES[path.encode()].keys()
    allowed = sorted({*methods, b"HEAD"} if b"GET" in methods else methods)
    assert (answer.status, answer.headers["allow"]) == (405, b", ".join(allowed).decode())
    assert answer.error["code"] == "method_not_allowed"
    assert house.counted("kproxy_requests_total", route=path, status="405") == 1


@pytest.mark.parametrize(
    "path",
    [
        "/", "/v1", "/v2/models", "/livez/", "/V1/models", "/v1/models/",
        "/api/auth/", "/v1/auth", "/api/v1/auth", "/auth",
    ],
)  # fmt: skip
async def test_another_path(house: House, path: str) -> None:
    answer = await house.get(path)
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert house.counted("kproxy_requests_total", route="none", status="404") == 1


def test_operators_and_callers_share_nothing_and_leave_nothing_out() -> None:
    assert set(ADMIN_ROUTES) == {b"/livez", b"/readyz", b"/healthz", b"/metrics"}
    assert dict(ROUTES) == {**PUBLIC_ROUTES, **ADMIN_ROUTES}
    assert not set(PUBLIC_ROUTES) & set(ADMIN_ROUTES)


@pytest.mark.parametrize("path", [path.decode() for path in ROUTES])
async def test_each_is_where_it_belongs_and_nowhere_else(house: House, path: str) -> None:
    for routes in (PUBLIC_ROUTES, ADMIN_ROUTES):
        house.router = Router(house.service, routes)
        answer = await house.send("PUT", path.replace("{id}", "m"))
        assert answer.status == (405 if path.encode() in routes else 404)


async def test_a_long_path_is_not_repeated_whole(house: House) -> None:
    answer = await house.get("/" + "a" * 4_000)
    assert answer.status == 404
    assert len(answer.error["message"]) < 300


async def test_head_is_get_without_its_body(house: House) -> None:
    got, head = await house.get("/v1/models"), await house.get("/v1/models", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.body))


async def test_the_second_prefix(house: House) -> None:
    assert (await house.get("/api/v1/models")).body == (await house.get("/v1/models")).body
    assert (await house.get("/api/v1/models/m")).status == 200
    assert (await house.get("/api/v1/livez")).status == 404
    assert (await house.get("/api/livez")).status == 404
    assert house.counted("kproxy_requests_total", route="/v1/models", status="200") == 2


async def test_a_query_is_no_part_of_the_path(house: House) -> None:
    assert (await house.get("/livez?verbose=1")).status == 200
    assert (await house.get("/v1/models?limit=1")).status == 200


async def test_another_service_is_for_what_begins(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A request under way keeps the one with which it began, whole: here its provider's script."""
    scripts = {"cheap": [[[(5.0, ok(REPLY))]]], "dear": [[[(0.0, ok(REPLY))]]]}
    house = House(nursery, scripts=scripts)
    first = Talking(house, request("POST", CHAT, WITH_KEY, body=chat(model="m")))
    await trio.sleep(1)
    dear = replace(house.service.catalog, models=(model("dear/m", DEAR),))
    house.router.use(replace(house.service, catalog=dear))
    second = await house.ask(model="m")
    assert trio.current_time() == 1
    assert second.headers["x-kairosroute-provider"] == "dear"
    await first.until(lambda: b"dur=" in first.raw)
    assert (trio.current_time(), b"provider: cheap" in first.raw) == (5, True)
    assert [one.decision.provider for one in house.receipts] == ["dear", "cheap"]
