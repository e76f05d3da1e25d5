"""Whatever a caller sends: a clear error in OpenAI's shape, and a connection in a sound state.

The table is sent over one kept connection, each line followed by a good request, so that nothing
of one can reach the next. At the end of the module the server must have said nothing on standard
error (`serving`), so no trace, no key and no prompt can be there.
"""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.fakes.caller import Answer, Caller, chat, request
from tests.fakes.server import Process, Served, serving, until

pytestmark = pytest.mark.loopback

BODY_LIMIT = 1_000_000
PROMPT = "a secret of the caller"
CONFIG = f"[sim]\nfirst_token_ms = 1\ntoken_ms = 0\n[limits]\nbody = {BODY_LIMIT}\n"
CHAT = "/v1/chat/completions"

Wanted = tuple[int, str, str | None]
"""Status, code and param."""

MALFORMED: Wanted = (400, "invalid_request_error", None)


def wrong(param: str, code: str = "invalid_request_error") -> Wanted:
    return (400, code, param)


def left_out(param: str) -> Wanted:
    return wrong(param, "no_models_available")


def with_member(text: str) -> bytes:
    """A good body with one more member in front, as text."""
    return b"{" + text.encode("utf-8", "surrogatepass") + b"," + body()[1:]


def body(**fields: Any) -> bytes:
    return chat(**{"messages": [{"role": "user", "content": PROMPT}], **fields})


def deep(opening: str, inside: str, closing: str, levels: int) -> bytes:
    return with_member('"metadata":' + opening * levels + inside + closing * levels)


BODIES: dict[str, tuple[bytes, Wanted]] = {
    "nothing": (b"", MALFORMED),
    "blanks": (b" \r\n", MALFORMED),
    "cut": (body()[:-1], MALFORMED),
    "more than one value": (body() + b"{}", MALFORMED),
    "a byte order mark": (b"\xef\xbb\xbf" + body(), MALFORMED),
    "not JSON": (b"model=auto", MALFORMED),
    "a list": (b"[" + body() + b"]", MALFORMED),
    "null": (b"null", MALFORMED),
    "NaN": (with_member('"temperature":NaN'), MALFORMED),
    "infinity": (with_member('"temperature":Infinity'), MALFORMED),
    "a number beyond all": (with_member('"temperature":1e999'), MALFORMED),
    "a number of 5,000 digits": (with_member('"seed":' + "9" * 5_000), MALFORMED),
    "65 levels": (deep("[", "", "]", 64), MALFORMED),
    "100,000 brackets": (b"[" * 100_000, MALFORMED),
    "100,000 levels": (deep("[", "", "]", 100_000), MALFORMED),
    "50,000 objects": (deep('{"a":', "1", "}", 50_000), MALFORMED),
    "10,001 members": (
        with_member('"metadata":' + json.dumps({str(n): 0 for n in range(10_001)})),
        MALFORMED,
    ),
    "a lone surrogate": (with_member('"user":"\\ud800"'), MALFORMED),
    "a lone surrogate in a message": (body().replace(b"secret", b"\\udfff"), MALFORMED),
    "a surrogate in UTF-8": (with_member('"user":"\ud800"'), MALFORMED),
    "not UTF-8": (body().replace(b"secret", b"\xff\xfe"), MALFORMED),
    "not UTF-8 in an unknown field": (body()[:-1] + b',"x":"\xc3"}', MALFORMED),
    "a name twice": (with_member('"model":"gpt-4.1"'), wrong("model")),
    "a name twice, escaped": (with_member('"mod\\u0065l":"gpt-4.1"'), wrong("model")),
    "messages twice": (with_member('"messages":[]'), wrong("messages")),
    "10,001 messages": (
        chat(messages=[{"role": "user", "content": "x"}] * 10_001),
        wrong("messages"),
    ),
    "no model": (b'{"messages":[{"role":"user","content":"x"}]}', wrong("model")),
    "no messages": (b'{"model":"auto"}', wrong("messages")),
}

FIELDS: dict[str, tuple[dict[str, Any], Wanted]] = {
    "model 7": ({"model": 7}, wrong("model")),
    "model empty": ({"model": ""}, wrong("model")),
    "model with NUL": ({"model": "gpt\x00-4.1"}, wrong("model")),
    "model with a line end": ({"model": "gpt-4.1\r\nx-evil: 1"}, wrong("model")),
    "model with an escape": ({"model": "gpt-4.1\x1b[2J"}, wrong("model")),
    "model of 257": ({"model": "m" * 257}, wrong("model")),
    "unknown model": ({"model": "gpt-0"}, (404, "model_not_found", "model")),
    "unknown provider": ({"model": "acme/gpt-4.1"}, (404, "model_not_found", "model")),
    "compare in a stream": ({"model": "kr-compare", "stream": True}, wrong("stream")),
    "compare one": ({"model": "kr-compare", "models": ["gpt-4.1"]}, wrong("models")),
    "no message": ({"messages": []}, wrong("messages")),
    "role 1": ({"messages": [{"role": 1, "content": PROMPT}]}, wrong("messages[0].role")),
    "no role": ({"messages": [{"content": PROMPT}]}, wrong("messages[0].role")),
    "content {}": ({"messages": [{"role": "user", "content": {}}]}, wrong("messages[0].content")),
    "hot": ({"temperature": "hot"}, wrong("temperature")),
    "too hot": ({"temperature": 2.001}, wrong("temperature")),
    "max_tokens 0": ({"max_tokens": 0}, wrong("max_tokens")),
    "max_tokens 1.5": ({"max_tokens": 1.5}, wrong("max_tokens")),
    "max_tokens huge": ({"max_tokens": 10**60}, wrong("max_tokens")),
    "stream yes": ({"stream": "yes"}, wrong("stream")),
    "n 129": ({"n": 129}, wrong("n")),
    "latency 0": ({"preferred_max_latency": 0}, wrong("preferred_max_latency")),
    "throughput -1": ({"preferred_min_throughput": -1}, wrong("preferred_min_throughput")),
    "fp7": ({"min_quantization": "fp7"}, wrong("min_quantization")),
    "min above max": (
        {"min_quantization": "fp32", "max_quantization": "int8"},
        wrong("min_quantization"),
    ),
    "maybe": ({"data_collection": "maybe"}, wrong("data_collection")),
    "zdr 1": ({"zdr": 1}, wrong("zdr")),
    "extension []": ({"x_kairosroute": []}, wrong("x_kairosroute")),
    "extension unknown": ({"x_kairosroute": {"fast": 1}}, wrong("x_kairosroute.fast")),
    "deadline 0": ({"x_kairosroute": {"deadline_ms": 0}}, wrong("x_kairosroute.deadline_ms")),
    "unknown plugin": ({"plugins": ["web-search", "nope"]}, wrong("plugins")),
    "free plugin": ({"plugins": ["web-search"]}, wrong("plugins", "plugin_not_available")),
    "nothing is that precise": ({"min_quantization": "fp8"}, left_out("min_quantization")),
    "pinned, zdr": ({"model": "deepseek-chat", "zdr": True}, left_out("zdr")),
    "pinned, deny": (
        {"model": "grok-4.1-fast", "data_collection": "deny"},
        left_out("data_collection"),
    ),
    "pinned, JSON": (
        {"model": "minimax-m2.5", "response_format": {"type": "json_object"}},
        left_out("response_format"),
    ),
    "pinned, too long": ({"model": "deepseek-chat", "max_tokens": 8_193}, left_out("max_tokens")),
    "nothing that cheap": (
        {"x_kairosroute": {"max_cost_usd": 1e-9}},
        (402, "cost_guardrail_exceeded", "x_kairosroute.max_cost_usd"),
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("serve"), CONFIG) as server:
        yield server


@pytest.fixture
def caller(server: Served) -> Iterator[Caller]:
    with server.caller() as caller:
        yield caller


def refused(answer: Answer, wanted: Wanted, server: Served) -> None:
    """The error that is wanted, and nobody's secret in it."""
    error = answer.error
    assert (answer.status, error["code"], error["param"]) == wanted
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    assert PROMPT not in error["message"]
    assert server.key not in str(answer)
    assert len(answer.body) < 2_000
    assert not {"x-kairosroute-cost", "x-kairosroute-receipt"} & set(answer.headers)


def attempts(server: Served) -> float:
    """How many requests have reached a provider."""
    return sum(
        value
        for name, value in server.metrics().items()
        if name.startswith("kproxy_attempts_total")
    )


def test_bodies(server: Served, caller: Caller) -> None:
    before = attempts(server)
    for name, (data, wanted) in BODIES.items():
        try:
            refused(caller.post(data), wanted, server)
        except Exception as error:
            error.add_note(name)
            raise
        assert caller.get("/livez").status == 200, name
    assert attempts(server) == before
    assert caller.ask().status == 200


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_fields(server: Served, caller: Caller, stream: bool) -> None:
    """A stream that is refused is refused by status, too."""
    before = attempts(server)
    for name, (fields, wanted) in FIELDS.items():
        try:
            refused(caller.post(body(**{"stream": stream, **fields})), wanted, server)
        except Exception as error:
            error.add_note(name)
            raise
    assert attempts(server) == before
    assert caller.ask(stream=stream).status == 200


def test_the_message_names_the_constraint(caller: Caller) -> None:
    answer = caller.ask(model="deepseek-chat", zdr=True, data_collection="deny")
    assert "data_collection" in answer.error["message"]
    assert "deepseek/deepseek-chat" in answer.error["message"]


def test_limits_are_allowed_themselves(caller: Caller) -> None:
    good = body()
    assert caller.post(good + b" " * (BODY_LIMIT - len(good))).status == 200
    assert caller.ask(messages=[{"role": "user", "content": "x"}] * 10_000).status == 200
    assert caller.post(deep("[", "", "]", 63)).status == 200
    assert caller.ask(metadata={"kept": [1, 2.5, None]}, unknown_field="passes").status == 200


def test_the_cheapest_of_what_is_left(caller: Caller) -> None:
    """A constraint on `auto` leaves the others."""
    kept = caller.ask(zdr=True).headers["x-kairosroute-provider"]
    assert kept in ("anthropic", "openai"), "the two of the simulated ones that promise it"
    denied = caller.ask(data_collection="deny", response_format={"type": "json_object"})
    assert denied.headers["x-kairosroute-provider"] == "openai"


# --- keys


@pytest.mark.parametrize(
    "field",
    [
        "authorization: Bearer kr-" + "x" * 43,
        "authorization: Bearer sk-anything",
        "authorization: Bearer",
        "authorization: Basic a3I6eA==",
        "x-api-key: kr-" + "y" * 600,
        "x-other: 1",
    ],
)
def test_a_key_that_is_none(server: Served, caller: Caller, field: str) -> None:
    for path, method in ((CHAT, "POST"), ("/v1/models", "GET"), ("/v1/models/auto", "GET")):
        caller.send(request(method, path, field, body=body() if method == "POST" else None))
        answer = caller.receive(method)
        refused(answer, (401, "invalid_api_key", None), server)
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("name", ["x-api-key", "api-key", "authorization: bearer"])
def test_other_fields_for_a_key(server: Served, caller: Caller, name: str) -> None:
    line = f"{name} {server.key}" if " " in name else f"{name}: {server.key}"
    caller.send(request("POST", CHAT, line, body=body()))
    assert caller.receive("POST").status == 200


def test_an_expired_key(server: Served, caller: Caller) -> None:
    folder = server.process.folder
    arguments = ("keys", "create", "--account", "short", "--tier", "free", "--expires-in", "1")
    process = Process(folder, *arguments, "--json", "--data-dir", str(folder / "data"))
    caller.key = json.loads(process.printed("}"))["key"]
    assert process.wait() == 0
    process.stop()
    until(lambda: caller.get("/v1/models").status == 401, "expired")
    answer = caller.get("/v1/models")
    refused(answer, (401, "invalid_api_key", None), server)
    assert "expired" in answer.error["message"]


def test_a_paid_plugin_on_a_free_account(server: Served, caller: Caller) -> None:
    folder = server.process.folder
    arguments = ("keys", "create", "--account", "free", "--tier", "free", "--json")
    process = Process(folder, *arguments, "--data-dir", str(folder / "data"))
    caller.key = json.loads(process.printed("}"))["key"]
    assert process.wait() == 0
    process.stop()
    answer = caller.post(body(plugins=["image-gen"]))
    refused(answer, (403, "PLUGIN_REQUIRES_PAID", "plugins"), server)


# --- the official client


def test_the_openai_client(server: Served) -> None:
    def create(**fields: Any) -> None:
        usual = {"model": "auto", "messages": [{"role": "user", "content": PROMPT}]}
        client.chat.completions.create(**{**usual, **fields})

    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as constraint:
            create(model="deepseek-chat", extra_body={"zdr": True})
        assert (constraint.value.code, constraint.value.param) == ("no_models_available", "zdr")
        with pytest.raises(openai.APIStatusError) as capped:
            create(extra_body={"x_kairosroute": {"max_cost_usd": 0}})
        assert (capped.value.status_code, capped.value.code) == (402, "cost_guardrail_exceeded")
        with pytest.raises(openai.BadRequestError) as plugin:
            create(extra_body={"plugins": ["nope"]}, stream=True)
        assert plugin.value.param == "plugins"
        with pytest.raises(openai.APIStatusError) as large:
            create(messages=[{"role": "user", "content": "x" * BODY_LIMIT}])
        assert large.value.status_code == 413
