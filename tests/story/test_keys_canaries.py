"""Secrets are planted, and looked for wherever they do not belong.

Prompts, callers' keys and provider keys, good ones and wrong ones, in their own places and in
wrong ones, on a server that works and on one that has lost its seal key. They may be in the answer
that creates a key, and nowhere else: no other answer, no metric, no line on standard error, no
file.
"""

import base64
import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.caller import Caller, request
from tests.fakes.server import Served, served

pytestmark = pytest.mark.loopback

QUICK = "[sim]\nfirst_token_ms = 5\ntoken_ms = 1\n"


class Planter:
    """A caller that keeps every secret it has sent or got, and every answer but a created key's."""

    def __init__(self) -> None:
        self.canaries: list[str] = []
        self.heard: list[bytes] = []

    def plant(self, prefix: str = "sk-") -> str:
        canary = prefix + secrets.token_hex(20)
        self.canaries.append(canary)
        return canary

    def ask(self, caller: Caller, key: str, method: str, path: str, body: Any = None) -> int:
        data = None if body is None else json.dumps(body).encode()
        caller.send(request(method, path, f"authorization: Bearer {key}", body=data))
        answer = caller.receive(method)
        if answer.status == 201:
            self.canaries.append(answer.json()["key"])
        else:
            self.heard.append(str(answer.headers).encode() + answer.body)
        return answer.status

    def use(self, caller: Caller, key: str) -> None:
        """A key of its own, its provider keys, and every mishap that holds a secret."""
        assert self.ask(caller, key, "POST", "/api/auth", {"name": "canary"}) == 201
        made = self.canaries[-1]
        assert self.ask(caller, key, "POST", "/api/auth", {"name": 1, "key": self.plant()}) == 400
        assert self.ask(caller, made, "POST", "/v1/chat/completions", {"model": []}) == 400
        assert self.ask(caller, self.plant("kr-"), "GET", "/api/auth") == 401
        assert self.ask(caller, self.plant(), "GET", "/v1/models") == 401
        caller.send(request("GET", "/api/auth", f"authorization: Bearer {made}"))
        listed = caller.receive()
        self.heard.append(listed.body)
        path = f"/api/auth/{listed.json()['data'][-1]['id']}"
        for status, patch in (
            (200, {"providerKeys": {"openai": self.plant(), "DeepSeek": self.plant()}}),
            (400, {"providerKeys": {"nobody": self.plant()}}),
            (400, {"providerKeys": {self.plant(): "openai"}}),
            (400, {"providerKeys": {"openai": [self.plant()]}}),
            (400, {"providerKeys": {"openai": f"{self.plant()} {self.plant()}"}}),
            (400, {"providerKeys": self.plant()}),
            (400, {"allowedProviders": [self.plant()]}),
            (400, {"maxCostPerRequestUsd": self.plant()}),
        ):
            assert self.ask(caller, made, "PATCH", path, patch) == status, patch
        assert self.ask(caller, made, "GET", "/api/auth") == 200
        self.chat(caller, key)
        self.chat(caller, made)

    def chat(self, caller: Caller, key: str) -> None:
        """Prompts, in answers that end well and badly; what comes back is not looked at, since the
        simulated provider may say anything."""
        chat = "/v1/chat/completions"
        for more in ({}, {"stream": True}, {"model": "gpt-4.1", "max_tokens": 1}, {"zdr": True}):
            message = {"role": "user", "content": self.plant("secret ")}
            body = {"model": "auto", "messages": [message], "user": self.plant("user "), **more}
            data = json.dumps(body).encode()
            caller.send(request("POST", chat, f"authorization: Bearer {key}", body=data))
            assert caller.receive().status == 200
        for path in ("/v1/receipts", "/v1/performance"):
            assert self.ask(caller, key, "GET", path) == 200


def stop(planter: Planter, server: Served) -> None:
    with server.caller() as caller:
        caller.send(request("GET", "/metrics"))
        planter.heard.append(caller.receive().body)
    assert server.process.stop() == 0


def test_no_canary_is_found_where_it_was_not_put(tmp_path: Path) -> None:
    planter = Planter()
    first = served(tmp_path, QUICK)
    try:
        key = first.key
        planter.canaries.append(key)
        with first.caller() as caller:
            for _ in range(4):
                planter.use(caller, key)
        stop(planter, first)
    finally:
        first.process.stop()
    seal = tmp_path / "data" / "kproxy.seal"
    planter.canaries.append(seal.read_text().strip())
    seal.unlink()

    second = served(tmp_path, QUICK)
    try:
        with second.caller() as caller:
            caller.send(request("GET", "/api/auth", f"authorization: Bearer {key}"))
            for entry in caller.receive().json()["data"]:
                path = f"/api/auth/{entry['id']}"
                patch = {"providerKeys": {"groq": planter.plant()}}
                assert planter.ask(caller, key, "PATCH", path, patch) == 503
            for made in [canary for canary in planter.canaries if canary.startswith("kr-")]:
                planter.ask(caller, made, "GET", "/v1/models")
        stop(planter, second)
    finally:
        second.process.stop()

    errors = second.process.errors
    assert "cannot use its own key for openai: there is no seal key" in errors
    assert "a provider key cannot be sealed: there is no seal key" in errors
    files = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    everything = b"\n".join([errors.encode(), *planter.heard, *files])
    assert len(planter.canaries) > 50
    for canary in planter.canaries:
        plain = canary.encode()
        for spelled in (plain, plain.hex().encode(), base64.b64encode(plain)[:-4], plain[8:]):
            assert spelled not in everything, f"{canary} was found as {spelled!r}"
