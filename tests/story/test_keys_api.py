"""An account and its keys, as their owner meets them: raw HTTP, official client, two servers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.fakes.caller import Answer, Caller, request
from tests.fakes.server import Process, Served, serving, until

pytestmark = pytest.mark.loopback

HELLO: list[Any] = [{"role": "user", "content": "Hello!"}]
QUICK = "[sim]\nfirst_token_ms = 5\ntoken_ms = 1\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("keys"), QUICK) as server:
        yield server


class Owner:
    """Somebody with a key and curl."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        fields = (self.caller.authorization, "content-type: application/json")
        self.caller.send(request(method, path, *fields, body=data))
        return self.caller.receive(method)

    def make(self, name: str, **fields: Any) -> dict[str, Any]:
        answer = self.ask("POST", "/api/auth", {"name": name, **fields})
        assert answer.status == 201
        made: dict[str, Any] = answer.json()
        return made

    def listed(self) -> dict[str, dict[str, Any]]:
        answer = self.ask("GET", "/api/auth")
        assert answer.status == 200
        return {entry["id"]: entry for entry in answer.json()["data"]}

    def works(self, key: str) -> bool:
        fields = f"authorization: Bearer {key}"
        self.caller.send(request("GET", "/v1/models", fields))
        status = self.caller.receive().status
        assert status in (200, 401)
        return status == 200


@pytest.fixture
def owner(server: Served) -> Iterator[Owner]:
    with server.caller() as caller:
        yield Owner(caller)


def account(server: Served, name: str) -> dict[str, Any]:
    """A new account's key, from the command line."""
    folder = server.process.folder
    arguments = ("keys", "create", "--account", name, "--tier", "unlimited", "--json")
    process = Process(folder, *arguments, "--data-dir", str(folder / "data"))
    made: dict[str, Any] = json.loads(process.printed("}"))
    assert process.wait() == 0
    process.stop()
    return made


# --- the life of a key


def test_made_used_listed_and_revoked(owner: Owner) -> None:
    made = owner.make("Production Key", expires_in=7_776_000)
    assert made["expires_at"] == made["created_at"] + 7_776_000
    assert owner.listed()[made["id"]]["last_used_at"] is None
    assert owner.works(made["key"])
    entry = owner.listed()[made["id"]]
    assert entry["last_used_at"] >= made["created_at"], "known at once, written later"
    assert (entry["name"], entry["prefix"]) == ("Production Key", made["key"][:8])
    assert made["key"] not in json.dumps(owner.listed())
    answer = owner.ask("DELETE", f"/api/auth/{made['id']}")
    assert (answer.status, answer.json()) == (200, {"id": made["id"], "deleted": True})
    assert not owner.works(made["key"])
    assert made["id"] not in owner.listed()
    assert owner.ask("DELETE", f"/api/auth/{made['id']}").status == 404


def test_a_key_of_a_second_expires(owner: Owner) -> None:
    made = owner.make("short", expires_in=1)
    until(lambda: not owner.works(made["key"]), "expired")


def test_accounts_do_not_see_each_other(server: Served, owner: Owner) -> None:
    mine = owner.make("mine")
    other = account(server, "stranger")
    with server.caller() as caller:
        caller.key = other["key"]
        stranger = Owner(caller)
        assert set(stranger.listed()) == {other["id"]}
        for method, body in (("DELETE", None), ("PATCH", {"maxCostPerRequestUsd": 1})):
            answer = stranger.ask(method, f"/api/auth/{mine['id']}", body)
            assert (answer.status, answer.error["code"]) == (404, "key_not_found")
    assert owner.works(mine["key"])
    assert owner.listed()[mine["id"]]["guardrails"]["maxCostPerRequestUsd"] is None


def test_guardrails_are_kept(owner: Owner) -> None:
    made = owner.make("guarded")
    path = f"/api/auth/{made['id']}"
    answer = owner.ask(
        "PATCH",
        path,
        {
            "maxCostPerRequestUsd": 0.01,
            "allowedProviders": ["OpenAI", "deepseek"],
            "minQualityThreshold": 0.7,
            "providerKeys": {"DeepSeek": "sk-mine"},
        },
    )
    wanted = {
        "maxCostPerRequestUsd": 0.01,
        "allowedProviders": ["deepseek", "openai"],
        "excludedProviders": [],
        "minQualityThreshold": 0.7,
        "providerKeys": ["deepseek"],
    }
    assert (answer.status, answer.json()["guardrails"]) == (200, wanted)
    assert owner.listed()[made["id"]]["guardrails"] == wanted
    refused = owner.ask("PATCH", path, {"allowedProviders": ["nobody"]})
    assert (refused.status, refused.error["param"]) == (400, "allowedProviders[0]")
    answer = owner.ask("PATCH", path, {"allowedProviders": [], "providerKeys": None})
    assert answer.json()["guardrails"] == wanted | {"allowedProviders": [], "providerKeys": []}


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "DELETE", "PATCH"])
def test_another_method(owner: Owner, method: str) -> None:
    answer = owner.ask(method, "/api/auth")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    answer = owner.ask("POST", "/api/auth/key_1")
    assert (answer.status, answer.headers["allow"]) == (405, "DELETE, PATCH")


# --- the official client


def test_the_clients_401(server: Served, owner: Owner) -> None:
    revoked = owner.make("revoked")
    owner.ask("DELETE", f"/api/auth/{revoked['id']}")
    for key, word in (
        ("sk-no-key-of-ours", "start with 'kr-'"),
        ("kr-" + "x" * 43, "Incorrect API key provided"),
        (revoked["key"], "Incorrect API key provided"),
    ):
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError) as models:
                client.models.list()
            with pytest.raises(openai.AuthenticationError) as chat:
                client.chat.completions.create(model="auto", messages=HELLO)
            with pytest.raises(openai.AuthenticationError):
                client.chat.completions.create(model="auto", messages=HELLO, stream=True)
        for caught in (models, chat):
            assert caught.value.code == "invalid_api_key"
            assert caught.value.type == "authentication_error"
            assert word in caught.value.message
            assert key not in str(caught.value)


def test_a_client_loses_its_key_between_two_calls(server: Served, owner: Owner) -> None:
    made = owner.make("client")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=made["key"], max_retries=0) as client:
        answer = client.chat.completions.create(model="auto", messages=HELLO)
        assert answer.choices[0].message.content
        owner.ask("DELETE", f"/api/auth/{made['id']}")
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model="auto", messages=HELLO)


# --- several servers, and restarts


def test_what_one_server_changes_holds_at_the_other_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, QUICK) as first, serving(tmp_path, QUICK) as second:
        second.key = first.key
        with first.caller() as one, second.caller() as two:
            here, there = Owner(one), Owner(two)
            for _ in range(10):
                made = here.make("shared")
                assert there.works(made["key"])
                cost = {"maxCostPerRequestUsd": 0.5}
                assert there.ask("PATCH", f"/api/auth/{made['id']}", cost).status == 200
                assert here.listed()[made["id"]]["guardrails"]["maxCostPerRequestUsd"] == 0.5
                assert there.ask("DELETE", f"/api/auth/{made['id']}").status == 200
                assert not here.works(made["key"])
                assert not there.works(made["key"])


def test_the_other_server_comes_to_know_of_a_use(tmp_path: Path) -> None:
    with serving(tmp_path, QUICK) as first, serving(tmp_path, QUICK) as second:
        second.key = first.key
        with first.caller() as one, second.caller() as two:
            made = Owner(one).make("used at the first")
            assert Owner(one).works(made["key"])
            there = Owner(two)
            until(lambda: there.listed()[made["id"]]["last_used_at"], "written by its task")


def test_a_restart_keeps_guardrails_provider_keys_and_last_use(tmp_path: Path) -> None:
    with serving(tmp_path, QUICK) as first:
        with first.caller() as caller:
            owner = Owner(caller)
            (key_id,) = owner.listed()
            body = {"excludedProviders": ["xai"], "providerKeys": {"openai": "sk-kept"}}
            before = owner.ask("PATCH", f"/api/auth/{key_id}", body).json()
        key = first.key
    with serving(tmp_path, QUICK) as second:
        second.key = key
        with second.caller() as caller:
            after = Owner(caller).listed()[key_id]
    assert after["guardrails"] == before["guardrails"]
    assert after["last_used_at"] >= before["last_used_at"] > 0


# --- a sidecar


def test_a_sidecar_needs_no_key(tmp_path: Path) -> None:
    with serving(tmp_path, f'auth = "none"\n{QUICK}') as server:
        assert "no key is needed" in server.said
        assert "kr-" not in server.said
        assert "Authorization" not in server.said
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
            answer = client.chat.completions.create(model="auto", messages=HELLO)
            assert answer.choices[0].message.content
        with server.caller() as caller:
            caller.send(request("GET", "/v1/models"))
            assert caller.receive().status == 200
            caller.send(request("GET", "/v1/models", "origin: https://example.org"))
            assert caller.receive().status == 403
            assert Owner(caller).ask("GET", "/api/auth").status == 404
            caller.send(request("GET", "/v1/receipts"))
            (receipt,) = caller.receive().json()["data"]
            assert receipt["key_id"] == "key_none"
    assert not (tmp_path / "data" / "kproxy.seal").exists()


def test_a_sidecar_that_others_could_reach_does_not_start(tmp_path: Path) -> None:
    file = tmp_path / "kproxy.toml"
    file.write_text('listen = ["0.0.0.0:0"]\nauth = "none"\n')
    process = Process(tmp_path, "serve", "--config", str(file))
    assert process.wait() == 1
    assert process.errors.startswith(f"Error: {file}:2: auth: ")
    assert process.errors.count("\n") == 1
    process.stop()
