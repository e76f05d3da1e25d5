"""Comparisons on a real server, with providers that fail in their own ways beside good ones."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.fakes.caller import Answer, Caller, request
from tests.fakes.server import Served, Simulated, provider_config, serving, simulating, until

pytestmark = pytest.mark.loopback

HELLO: list[Any] = [{"role": "user", "content": "Hello, how are you?"}]
CONFIG = """
[[models]]
id = "cheap"
provider = "acme"
quality = 0.5
price = { input = 1.00, output = 2.00 }

[[models]]
id = "dear"
provider = "acme"
quality = 0.5
price = { input = 10.00, output = 20.00 }

[[models]]
id = "cut"
provider = "acme"
quality = 0.5
upstream = "cut!cut=4"
price = { input = 1.00, output = 2.00 }

[[models]]
id = "cut"
provider = "other"
quality = 0.5
price = { input = 2.00, output = 4.00 }

[[models]]
id = "silent"
provider = "acme"
quality = 0.5
upstream = "silent!silence"
timeouts = { total = 1.0 }

[attempts]
retries = 1
breaker_failures = 100
"""


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    with simulating(tmp_path_factory.mktemp("sim")) as sim:
        yield sim


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sim: Simulated) -> Iterator[Served]:
    config = provider_config(acme=sim.base_url, other=sim.base_url) + CONFIG
    with serving(tmp_path_factory.mktemp("front"), config) as server:
        yield server


def ask(caller: Caller, **fields: Any) -> Answer:
    body = json.dumps({"messages": HELLO, **fields}).encode()
    caller.send(request("POST", "/v1/compare", caller.authorization, body=body))
    return caller.receive("POST")


def test_the_official_client(server: Served) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        answer = client.chat.completions.create(
            model="kr-compare",
            messages=HELLO,
            extra_body={"x_kairosroute": {"models": ["dear", "cheap"]}},
        )
    assert answer.model == "kr-compare"
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.message.content and choice.finish_reason for choice in answer.choices)
    assert answer.model_extra is not None
    assert answer.model_extra["x_kairosroute"]["summary"]["cheapest"] == "cheap"
    told = [(choice.model_extra or {})["x_kairosroute"] for choice in answer.choices]
    assert [one["model"] for one in told] == ["dear", "cheap"]
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    total = answer.model_extra["x_kairosroute"]["cost_usd"]
    assert round(total * 1e9) == sum(round(one["cost_usd"] * 1e9) for one in told)


def test_the_official_client_is_told_that_it_cannot_be_streamed(server: Served) -> None:
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        client.chat.completions.create(model="kr-compare", messages=HELLO, stream=True)
    assert caught.value.param == "stream"


def test_the_routers_choice(server: Served) -> None:
    """Equally good, so the cheapest first."""
    with server.caller() as caller:
        answer = ask(caller)
    assert answer.status == 200
    told = [choice["x_kairosroute"] for choice in answer.json()["choices"]]
    assert [one["model"] for one in told] == ["cheap", "cut", "dear"]
    assert [one["provider"] for one in told] == ["acme", "other", "acme"], "cut at its next one"
    assert all(one["error"] is None for one in told)


def test_faults_are_entries(server: Served, sim: Simulated) -> None:
    """Each in its own way, and the good one beside them whole; nothing is left behind."""
    names = ["cheap", "acme/a!503", "acme/b!400", "acme/c!cut=3", "silent", "acme/e!garbage"]
    hangups = sim.hangups()
    with server.caller() as caller:
        answer = ask(caller, models=names)
        assert answer.status == 200
        good, *failed = answer.json()["choices"]
        assert good["message"]["content"]
        errors = [choice["x_kairosroute"]["error"] for choice in failed]
        refused = errors.pop(1)
        assert refused["type"] == "invalid_request_error", "the provider's word"
        assert {error["code"] for error in errors} == {"all_models_unavailable"}
        summary = answer.json()["x_kairosroute"]["summary"]
        assert summary == {"cheapest": "cheap", "fastest": "cheap"}
        caller.send(
            request(
                "GET",
                f"/v1/receipts/{answer.headers['x-kairosroute-receipt']}",
                caller.authorization,
            )
        )
        receipt = caller.receive().json()
    assert receipt["decision"]["strategy"] == "compare"
    assert receipt["execution"]["status"] == "complete"
    assert {one["model"] for one in receipt["attempts"]} == {
        "cheap", "a!503", "b!400", "c!cut=3", "silent", "e!garbage",
    }  # fmt: skip
    until(server.at_rest)
    until(lambda: sim.hangups() > hangups)


def test_all_fail(server: Served) -> None:
    with server.caller() as caller:
        answer = ask(caller, models=["acme/f!503", "acme/g!cut=3"])
    assert (answer.status, answer.error["code"]) == (503, "all_models_unavailable")


def test_a_caller_that_leaves(server: Served, sim: Simulated) -> None:
    hangups = sim.hangups()
    names = ["acme/h!silence", "acme/i!silence", "acme/j!silence"]
    body = json.dumps({"messages": HELLO, "models": names}).encode()
    with server.caller() as caller:
        started = sim.ask("/sim/stats")
        assert isinstance(started, dict)
        caller.send(request("POST", "/v1/compare", caller.authorization, body=body))
        until(lambda: sim.ask("/sim/stats")["requests"] >= started["requests"] + 3)  # type: ignore[index]
    until(lambda: sim.hangups() >= hangups + 3)
    until(server.at_rest)
