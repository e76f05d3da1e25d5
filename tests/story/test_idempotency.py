"""Idempotency-Key on real servers: fifty twins at once, and `kill -9` at any moment.

KPROXY_ANSWER_KILLS says how often a server is killed; 10 by default.
"""

import http.client
import json
import os
import secrets
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.caller import Answer, Caller, chat, request
from tests.fakes.server import (
    Process,
    Served,
    Simulated,
    provider_config,
    served,
    serving,
    simulating,
    until,
)

pytestmark = pytest.mark.loopback

KILLS = int(os.environ.get("KPROXY_ANSWER_KILLS", "10"))
CALLERS = 4
TWINS = 50
PATH = "/v1/chat/completions"


def usage(folder: Path) -> dict[str, Any]:
    """The total of `kproxy usage --json`."""
    process = Process(folder / "usage", "usage", "--json", "--data-dir", str(folder / "data"))
    text = process.printed("}}")
    process.stop()
    total: dict[str, Any] = json.loads(text)["total"]
    return total


def asking(caller: Caller, key: str) -> bytes:
    """A request with that key; its body is the key's own."""
    body = chat(model="sim/any", messages=[{"role": "user", "content": f"Say {key}."}])
    return request("POST", PATH, caller.authorization, f"idempotency-key: {key}", body=body)


def ask(address: tuple[str, int], secret: str, key: str) -> Answer:
    with Caller(address, secret) as caller:
        caller.send(asking(caller, key))
        return caller.receive("POST")


def requests(sim: Simulated) -> int:
    """How many the provider has seen."""
    stats: Any = sim.ask("/sim/stats")
    return int(stats["requests"])


@contextmanager
def fifty(servers: list[Served], secret: str) -> Iterator[list[Caller]]:
    """Callers, spread over these servers, with nothing sent."""
    with ExitStack() as stack:
        addresses = [servers[number % len(servers)].address for number in range(TWINS)]
        yield [stack.enter_context(Caller(address, secret)) for address in addresses]


@pytest.mark.parametrize("processes", [1, 2])
def test_fifty_twins_at_once(tmp_path: Path, processes: int) -> None:
    """Two processes of one data directory keep the promise together."""
    with ExitStack() as stack:
        sim = stack.enter_context(simulating(tmp_path / "sim", "--first-token-ms", "300"))
        config = provider_config(sim=sim.base_url)
        folder = tmp_path / "front"
        servers = [stack.enter_context(serving(folder, config)) for _ in range(processes)]
        with fifty(servers, servers[0].key) as callers:
            for caller in callers:
                caller.send(asking(caller, "k"))
            answers = [caller.receive("POST") for caller in callers]
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body for answer in answers}) == 1
        assert sum("idempotent-replayed" in answer.headers for answer in answers) == TWINS - 1
        assert len({answer.headers["x-kairosroute-receipt"] for answer in answers}) == 1
        assert requests(sim) == 1
        assert usage(folder)["requests"] == 1


class Round:
    """One server's life: callers that ask under ever new keys until it is killed."""

    def __init__(self, number: int, server: Served, secret: str) -> None:
        self.number = number
        self.server = server
        self.secret = secret
        self.seen: dict[str, bytes] = {}  # answers that came whole
        self.tried: set[str] = set()

    def caller(self, place: int) -> None:
        """Until the server is gone."""
        for count in range(10_000):
            key = f"{self.number}-{place}-{count}"
            self.tried.add(key)
            try:
                answer = ask(self.server.address, self.secret, key)
            except (OSError, http.client.HTTPException):
                return
            if not answer.whole:
                return
            assert answer.status == 200
            self.seen[key] = answer.body

    def live(self, answers: int) -> None:
        """Kill the server once so many answers have come."""
        with ThreadPoolExecutor(CALLERS) as pool:
            futures = [pool.submit(self.caller, place) for place in range(CALLERS)]
            try:
                until(lambda: len(self.seen) >= answers, "answers")
            finally:
                self.server.process.signal(signal.SIGKILL)
            wait(futures)
        for future in futures:
            future.result()
        assert self.server.process.stop() == -signal.SIGKILL


@pytest.mark.timeout(60 + 10 * KILLS)
def test_a_kill_at_any_moment_leaves_one_charge_and_the_same_answer(tmp_path: Path) -> None:
    chance = secrets.SystemRandom()  # a seed could not make the kernel do the same again
    folder, secret = tmp_path / "front", ""
    tried: set[str] = set()
    seen: dict[str, bytes] = {}
    with simulating(tmp_path / "sim") as sim:
        config = provider_config(sim=sim.base_url)
        for number in range(KILLS):
            server = served(folder, config)
            secret = secret or server.key
            one = Round(number, server, secret)
            one.live(chance.randint(1, 60))
            tried |= one.tried
            seen |= one.seen
        with serving(folder, config) as server:
            for key in tried:
                answer = ask(server.address, secret, key)
                assert answer.status == 200
                if key in seen:
                    assert answer.headers["idempotent-replayed"] == "true"
                    assert answer.body == seen[key]
        total = usage(folder)
        assert (total["requests"], total["errors"]) == (len(tried), 0)
        assert len(tried) <= requests(sim) <= len(tried) + KILLS * CALLERS
    assert len(seen) >= KILLS
