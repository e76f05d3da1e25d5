"""Routes, keys, rules and figures of the simulated providers, without a socket."""

import json

import pytest

from kproxy.sim.params import MODELS, SimParams
from kproxy.sim.provider import Provider
from kproxy.sim.show import Ending
from kproxy.wire.events import RequestHead
from tests.fakes.simulated import EXACT, anthropic_body, events, openai_body, said, unchunked

CHAT = b"/v1/chat/completions"
MESSAGES = b"/v1/messages"
VERSION = (b"anthropic-version", b"2023-06-01")
AT_ONCE = SimParams(first_token_ms=0, token_ms=0, jitter=0, tokens="6")


def ask(provider, body=b"", path=CHAT, method=b"POST", headers=(), now=0.0, http_10=False):
    """(status, fields, body, ending) of one answer."""
    request = RequestHead(
        method=method,
        target=path,
        headers=list(headers),
        content_length=len(body),
        keep_alive=True,
        expect_continue=False,
        http_10=http_10,
    )
    answer = provider.answer(request, body, now)
    if isinstance(answer, bytes):
        data, ending = answer, None
    else:
        data, ending = b"".join(data for _, data in answer.beats), answer.ending
    if not data:
        return 0, {}, b"", ending
    head, _, rest = data.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    chunked = "transfer-encoding" in fields
    return int(head.split()[1]), fields, unchunked(rest) if chunked else rest, ending


def get(provider, path, method=b"GET", **more):
    return ask(provider, path=path, method=method, **more)


@pytest.fixture
def provider():
    return Provider(EXACT, 0.0)


def test_chat(provider):
    status, fields, body, ending = ask(provider, openai_body())
    assert (status, ending) == (200, Ending.KEEP)
    assert fields["x-request-id"].startswith("req_")
    assert json.loads(body)["object"] == "chat.completion"
    status, fields, body, _ = ask(provider, openai_body(stream=True))
    assert fields["content-type"] == "text/event-stream; charset=utf-8"
    assert events(body)[-1] == "[DONE]"


def test_messages(provider):
    status, fields, body, _ = ask(provider, anthropic_body(), MESSAGES, headers=[VERSION])
    assert (status, json.loads(body)["type"]) == (200, "message")
    assert fields["request-id"].startswith("req_")


def test_messages_want_their_version(provider):
    status, _, body, _ = ask(provider, anthropic_body(), MESSAGES)
    assert status == 400
    assert "anthropic-version" in json.loads(body)["error"]["message"]


def test_an_answer_that_is_due_is_whole_bytes():
    status, _, body, ending = ask(Provider(AT_ONCE, 0.0), openai_body())
    assert (status, ending) == (200, None)
    assert json.loads(body)["usage"]["completion_tokens"] == 6
    assert ask(Provider(AT_ONCE, 0.0), openai_body(), http_10=True)[3] is Ending.CLOSE


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer bad-key")],
        [(b"authorization", b"bearer bad-key")],
        [(b"authorization", b"bad-key")],
        [(b"x-api-key", b"bad-key")],
    ],
)
def test_the_bad_key(provider, headers):
    status, _, body, _ = ask(provider, openai_body(), headers=headers)
    assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")
    status, _, body, _ = ask(provider, anthropic_body(), MESSAGES, headers=[*headers, VERSION])
    assert (status, json.loads(body)["error"]["type"]) == (401, "authentication_error")
    assert get(provider, b"/v1/models", headers=headers)[0] == 401


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Bearer x")], [(b"x-api-key", b"y")]])
def test_any_other_key(provider, headers):
    assert ask(provider, openai_body(), headers=headers)[0] == 200


def test_a_prefix_is_a_provider_of_its_own(provider):
    paths = [CHAT, b"/acme" + CHAT, b"/other" + CHAT]
    bodies = {ask(provider, openai_body(), path)[2] for path in paths}
    assert len(bodies) == 3
    assert ask(provider, openai_body(), b"/chat/completions")[2] in bodies
    assert ask(provider, openai_body(), CHAT + b"?x=1")[2] in bodies


def test_models(provider):
    listed = json.loads(get(provider, b"/acme/v1/models")[2])
    assert [model["id"] for model in listed["data"]] == list(MODELS)
    assert json.loads(get(provider, b"/v1/models/gpt-4.1")[2])["id"] == "gpt-4.1"
    status, _, body, _ = get(provider, b"/v1/models/none")
    assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")
    assert get(provider, b"/v1/modelsx")[0] == 404


def test_head_has_no_body(provider):
    status, fields, body, _ = get(provider, b"/v1/models", b"HEAD")
    assert (status, body) == (200, b"")
    assert int(fields["content-length"]) == len(get(provider, b"/v1/models")[2])
    for path in (b"/none", CHAT):
        _, fields, body, _ = get(provider, path, b"HEAD")
        assert body == b""
        assert int(fields["content-length"]) > 0


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        (CHAT, b"GET", "POST"),
        (MESSAGES, b"DELETE", "POST"),
        (b"/v1/models", b"POST", "GET, HEAD"),
        (b"/sim/stats", b"PUT", "GET, HEAD, DELETE"),
        (b"/sim/hangups", b"DELETE", "GET, HEAD"),
    ],
)
def test_other_methods(provider, path, method, allow):
    status, fields, body, _ = get(provider, path, method)
    assert (status, fields["allow"]) == (405, allow)
    assert "error" in json.loads(body)


@pytest.mark.parametrize("path", [b"/", b"/v1", b"/v1/embeddings", b"*", b"/models"])
def test_other_paths(provider, path):
    status, _, body, _ = get(provider, path)
    assert (status, json.loads(body)["error"]["code"]) == (404, "not_found")


def test_broken_requests_are_answered_by_their_wire(provider):
    status, _, body, _ = ask(provider, b"{")
    assert status == 400
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    status, _, body, _ = ask(provider, b"{", MESSAGES, headers=[VERSION])
    assert (status, json.loads(body)["type"]) == (400, "error")


def test_faults_of_the_models_name(provider):
    assert ask(provider, openai_body(model="gpt-4.1!503"))[0] == 503
    assert ask(provider, openai_body(model="gpt-4.1!reset"))[3] is Ending.RESET
    assert ask(provider, openai_body(model="gpt-4.1!nonsense"))[0] == 400


@pytest.mark.parametrize(
    ("path", "model", "status"),
    [
        (CHAT, "other", 500),
        (CHAT, "gpt-4.1", 503),
        (b"/acme" + CHAT, "gpt-4.1", 529),
        (b"/acme" + CHAT, "other", 429),
        (b"/acme" + CHAT, "other!ok", 200),
        (CHAT, "gpt-4.1!404", 404),
    ],
)
def test_the_most_exact_rule_counts_alone(path, model, status):
    faults = ("500", "gpt-4.1!503", "acme/gpt-4.1!529", "acme/*!429")
    provider = Provider(SimParams(faults=faults), 0.0)
    assert ask(provider, openai_body(model=model), path)[0] == status


def test_without_a_rule_for_it_a_request_is_good():
    provider = Provider(SimParams(faults=("gpt-4.1!503",)), 0.0)
    assert ask(provider, openai_body(model="other"))[0] == 200


def test_counting_faults_count_until_the_reset(provider):
    def once():
        return ask(provider, openai_body(model="m!once=429"))[0]

    assert [once(), once()] == [429, 200]
    assert get(provider, b"/sim/stats", b"DELETE")[0] == 200
    assert [once(), once()] == [429, 200]


def test_flapping_by_time(provider):
    def flap(now):
        return ask(provider, openai_body(model="m!flap-seconds=5,2"), now=now)[0]

    assert [flap(now) for now in (0.0, 4.9, 5.0, 6.9, 7.0)] == [200, 200, 503, 503, 200]


def test_figures(provider):
    for model in ("a", "a", "b"):
        ask(provider, openai_body(model=model))
    provider.note_hangup(17)
    provider.connections, provider.streams = 2, 1
    stats = json.loads(get(provider, b"/sim/stats")[2])
    assert stats == {
        "requests": 3,
        "models": {"a": 2, "b": 1},
        "streams": 1,
        "connections": 2,
        "hangups": 1,
    }
    assert json.loads(get(provider, b"/sim/hangups")[2]) == [17]
    get(provider, b"/sim/stats", b"DELETE")
    assert json.loads(get(provider, b"/sim/hangups")[2]) == []
    assert json.loads(get(provider, b"/sim/stats")[2])["requests"] == 0
    assert repr(provider) == "<Provider 0 requests, 1 streams>"


def test_figures_are_bounded(provider):
    for number in range(10_001):
        provider.note_hangup(number)
    hangups = json.loads(get(provider, b"/sim/hangups")[2])
    assert (len(hangups), hangups[0]) == (10_000, 1)
    for number in range(1_001):
        ask(provider, openai_body(model=str(number)))
    ask(provider, openai_body(model="0"))
    stats = json.loads(get(provider, b"/sim/stats")[2])
    assert (len(stats["models"]), stats["requests"], stats["models"]["0"]) == (1_000, 1_002, 2)


def test_the_table_of_faults(provider):
    table = json.loads(get(provider, b"/sim/faults")[2])
    assert "cut" in table
    assert "429" in table


def test_a_seed_is_another_answer(provider):
    body = openai_body(stream=True)
    mine = said(ask(provider, body)[2])
    assert said(ask(Provider(EXACT, 5.0), body)[2]) == mine
    assert said(ask(Provider(SimParams(seed=1), 0.0), body)[2]) != mine


def test_what_is_remembered_changes_nothing():
    provider = Provider(AT_ONCE, 0.0)
    for number in range(600):
        body = openai_body(messages=[{"role": "user", "content": str(number % 300)}])
        fresh = Provider(AT_ONCE, 0.0) if number % 50 == 0 else provider
        assert ask(provider, body) == ask(fresh, body)
    assert ask(provider, body, b"/acme" + CHAT) != ask(provider, body)
    assert ask(provider, body, MESSAGES, headers=[VERSION])[0] == 400
