"""Several workers on one port: what they share, and what becomes of the others when one is killed.

Real processes and real signals. Which worker serves a connection is asked of the kernel.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.caller import Answer, Caller
from tests.fakes.crew import callers, exists, workers
from tests.fakes.server import (
    Process,
    Served,
    Simulated,
    provider_config,
    served,
    simulating,
    until,
)

pytestmark = pytest.mark.loopback

# A rate that gives one request back in a minute, so that none comes back while it is used up.
TIERS = """
[tiers.team]
requests_per_minute = 1
burst = 40
[tiers.business]
requests_per_minute = 100000
burst = 1000
tokens_per_month = 5000
hard_cap = true
[tiers.enterprise]
requests_per_minute = 100000
burst = 1000
tokens_per_month = 6000
hard_cap = true
"""
MODELS = """
[[models]]
id = "dead"
provider = "acme"
upstream = "m!503=60"
[[models]]
id = "quick"
provider = "acme"
upstream = "m!pace=0,0"
"""
QUICK = {"model": "acme/m!pace=0,0"}
SLOW = {"model": "acme/m!tokens=30!pace=1,50", "stream": True}
ENDLESS = {"model": "acme/m!tokens=100000!pace=1,50", "stream": True}
ENDED = re.compile(r"ERROR kproxy.workers: worker \d \(process \d+\) was ended by SIGKILL; another")
REQUESTS = 'kproxy_requests_total{route="/v1/chat/completions",status="200"}'


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    with simulating(tmp_path_factory.mktemp("sim")) as sim:
        yield sim


def config(sim: Simulated) -> str:
    return "workers = 2\n" + provider_config(acme=sim.base_url) + MODELS + TIERS


@pytest.fixture
def server(tmp_path: Path, sim: Simulated) -> Iterator[Served]:
    """What is left of it at the end is killed."""
    server = served(tmp_path, config(sim))
    pids = workers(server)
    try:
        yield server
    finally:
        server.process.stop()
        for pid in filter(exists, pids):
            os.kill(pid, signal.SIGKILL)


def command(server: Served, *arguments: str) -> str:
    data = str(server.process.folder / "data")
    made = subprocess.run(
        [sys.executable, "-m", "kproxy", *arguments, "--data-dir", data],
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout


def key_of(server: Served, tier: str) -> str:
    said = command(server, "keys", "create", "--account", tier, "--tier", tier)
    found = re.search(r"kr-\S+", said)
    assert found is not None
    return found[0]


def at_once(count: int, one: Callable[[], Answer]) -> list[Answer]:
    with ThreadPoolExecutor(40) as pool:
        return [each.result() for each in [pool.submit(one) for _ in range(count)]]


def calling(server: Served, key: str) -> Callable[[], Answer]:
    def call() -> Answer:
        with Caller(server.address, key) as caller:
            return caller.ask(**QUICK)

    return call


def statuses(answers: list[Answer]) -> dict[int, int]:
    found = [answer.status for answer in answers]
    return {status: found.count(status) for status in set(found)}


def test_limits_keys_and_metrics_are_those_of_one_server(server: Served) -> None:
    rated, bounded = key_of(server, "team"), key_of(server, "business")

    answers = at_once(120, calling(server, rated))
    let_in = statuses(answers)[200]
    assert 40 <= let_in <= 41, "the burst, and what a minute gives back"
    assert set(statuses(answers)) == {200, 429}

    answers = at_once(200, calling(server, bounded))
    used = sum(one.json()["usage"]["total_tokens"] for one in answers if one.status == 200)
    assert 0 < used <= 5_000
    assert set(statuses(answers)) == {200, 429}
    let_in += statuses(answers)[200]

    with callers(server) as both:
        assert [caller.ask(**QUICK).status for caller in both.values()] == [200, 200]
        until(lambda: server.metrics()[REQUESTS] == let_in + 2, "whoever is asked tells of all")
        listed = command(server, "keys", "list").splitlines()
        (first,) = [line.split()[0] for line in listed if "first key" in line]
        command(server, "keys", "revoke", first)
        assert [caller.ask(**QUICK).status for caller in both.values()] == [401, 401]
    assert server.process.stop() == 0
    assert server.process.complaints == ""


def test_what_one_learns_of_a_provider_the_others_know(server: Served, sim: Simulated) -> None:
    sim.forget()
    with callers(server) as both:
        one, other = both.values()
        assert [one.ask(model="quick").status for _ in range(3)] == [200] * 3
        assert one.ask(model="dead").status == 503
        until(lambda: performance(other, "quick")["samples"] == 3, "the figures")
        assert performance(other, "quick")["sufficient"]
        until(lambda: performance(other, "dead")["resting_ms"] > 0, "the rest")
        asked = asked_at_all(sim)
        assert asked > 3
        refused = other.ask(model="dead")
        assert (refused.status, refused.error["code"]) == (503, "all_models_unavailable")
        assert asked_at_all(sim) == asked, "it said when to come back, to the other one"
    assert server.process.stop() == 0


def performance(caller: Caller, model: str) -> dict[str, Any]:
    routes = caller.get("/v1/performance").json()["data"]
    (found,) = [one for one in routes if one["model"] == model]
    return found


def asked_at_all(sim: Simulated) -> int:
    stats = sim.ask("/sim/stats")
    assert isinstance(stats, dict)
    return sum(stats["models"].values())


def test_one_that_is_killed_is_replaced_and_nobody_else_is_harmed(server: Served) -> None:
    key = key_of(server, "enterprise")
    with callers(server) as both:
        (dying, doomed), (living, other) = both.items()
        doomed.key = key
        assert doomed.ask(**QUICK).status == 200
        # Most of the month's tokens are reserved by the one that dies.
        lost = doomed.begin(**SLOW, max_tokens=5_500)
        kept = other.begin(**SLOW)
        assert lost.until(b'"content":"')
        assert kept.until(b'"content":"')
        assert fits(server, key) == 429
        before = until(lambda: server.metrics().get(REQUESTS, 0), "it is told of")

        os.kill(dying, signal.SIGKILL)
        assert not lost.rest().whole
        assert kept.rest().whole
        assert other.ask(**QUICK).status == 200
    until(lambda: not exists(dying), "it is gone")
    until(lambda: living in workers(server) and len(workers(server)) == 2, "another one")
    until(lambda: server.metrics()["kproxy_workers"] == 2, "which is ready")
    assert server.metrics()["kproxy_workers_replaced_total"] == 1
    assert server.metrics()[REQUESTS] >= before, "what the dead one has counted is kept"
    assert fits(server, key) == 200
    with callers(server) as both:
        assert [caller.ask(**QUICK).status for caller in both.values()] == [200, 200]
    assert server.process.stop() == 0
    assert ENDED.search(server.process.complaints)
    assert server.process.complaints.count("\n") == 1


def fits(server: Served, key: str) -> int:
    """The status of a request that reserves most of the month's tokens."""
    with Caller(server.address, key) as caller:
        return caller.ask(**QUICK, max_tokens=5_500).status


def test_a_drain_lets_streams_finish(server: Served) -> None:
    with callers(server) as both:
        begun = [caller.begin(**SLOW) for caller in both.values()]
        assert all(one.until(b'"content":"') for one in begun)
        server.process.signal()
        until(server.refuses, "nothing listens")
        assert [one.rest().whole for one in begun] == [True, True]
    assert server.process.wait() == 0
    assert server.process.complaints == ""


def test_a_second_signal_ends_them_all(server: Served) -> None:
    pids = workers(server)
    with callers(server) as both:
        begun = [caller.begin(**ENDLESS) for caller in both.values()]
        assert all(one.until(b'"content":"') for one in begun)
        server.process.signal()
        until(server.refuses, "nothing listens")
        server.process.signal()
        assert server.process.wait() == 0
        assert [one.rest().whole for one in begun] == [False, False]
    assert [pid for pid in pids if exists(pid)] == []


def test_no_worker_outlives_its_parent(server: Served) -> None:
    pids = workers(server)
    with callers(server) as both:
        # The one that was forked last has inherited most, and goes on longest.
        begun = both[pids[0]].begin(**SLOW)
        endless = both[pids[-1]].begin(**ENDLESS)
        assert begun.until(b'"content":"')
        assert endless.until(b'"content":"')
        server.process.signal(signal.SIGKILL)
        server.process.wait()
        until(server.refuses, "nothing listens")
        assert begun.rest().whole, "they drain"
        until(lambda: not exists(pids[0]), "who has nothing left to do ends")
        both[pids[-1]].socket.shutdown(socket.SHUT_RDWR)
    until(lambda: not any(map(exists, pids)), "they end")


def test_what_keeps_them_from_starting_is_said_once(tmp_path: Path, sim: Simulated) -> None:
    (tmp_path / "data").write_text("no directory")
    file = tmp_path / "kproxy.toml"
    file.write_text(config(sim))
    process = Process(
        tmp_path, "serve", "--listen", "127.0.0.1:0", "--config", str(file),
        "--data-dir", str(tmp_path / "data"),
    )  # fmt: skip
    try:
        assert process.wait() == 1
    finally:
        process.stop()
    assert process.errors.count("Error: ") == 1
    assert process.errors.count("\n") == 1
    assert str(tmp_path / "data") in process.errors
