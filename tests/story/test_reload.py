"""A hundred reloads under a steady load of whole answers and streams: none fails, none is cut."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from tests.fakes.crew import callers, exists, workers
from tests.fakes.server import Served, served, serving, simulating, until

pytestmark = pytest.mark.loopback

RELOADS = 100
STREAMS, ASKERS = 20, 4


def text(number: int, url: str) -> str:
    """Each has other prices; some have another pool, or a provider more."""
    lines = [f"[timeouts]\nconnect = {5 + number % 2}\n"]
    for slug in ("acme", "more")[: 1 + number % 3 // 2]:
        lines.append(f'[providers.{slug}]\nbase_url = "{url}"\n')
        lines.append(f'[[models]]\nid = "m"\nprovider = "{slug}"\n')
        lines.append(f"price = {{ input = {number}, output = {number} }}\n")
    return "".join(lines)


class Load:
    """Callers in threads, each with one connection, until told to stop; what went wrong."""

    def __init__(self, server: Served) -> None:
        self._server = server
        self._over = threading.Event()
        self.wrong: list[object] = []
        self.done = {True: 0, False: 0}
        self._threads = [
            threading.Thread(target=self._call, args=(number < STREAMS,))
            for number in range(STREAMS + ASKERS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self, stream: bool) -> None:
        try:
            with self._server.caller() as caller:
                while not self._over.is_set():
                    answer = caller.ask(model="m", stream=stream)
                    good = answer.status == 200 and answer.whole and answer.text
                    if not good or (stream and answer.data[-1] != "[DONE]"):
                        self.wrong.append(answer)
                    self.done[stream] += 1
        except Exception as error:
            self.wrong.append(error)


def generation(server: Served, least: int) -> Callable[[], bool]:
    return lambda: server.metrics()["kproxy_config_generation"] >= least


def test_a_hundred_reloads(tmp_path: Path) -> None:
    with simulating(tmp_path / "sim", "--token-ms", "10", "--tokens", "40") as sim:
        file = tmp_path / "kproxy.toml"
        with serving(tmp_path, text(1, sim.base_url)) as server, Load(server) as load:
            for number in range(2, RELOADS + 2):
                file.write_text(text(number, sim.base_url))
                server.process.signal(signal.SIGHUP)
                until(generation(server, number))
            file.write_text("[timeouts]\ntotal = -1\n")
            server.process.signal(signal.SIGHUP)
            until(lambda: f"{file}:2: timeouts.total" in server.process.errors)
            file.write_text(text(RELOADS + 1, sim.base_url))
            server.process.signal(signal.SIGHUP)
            until(lambda: "amounts to what is in force" in server.process.errors)
            found = server.metrics()
            assert found["kproxy_config_generation"] == RELOADS + 1
            assert found["kproxy_config_refused_total"] == 1
    assert load.wrong == []
    assert min(load.done.values()) > 0


def test_every_worker_and_those_that_come_later(tmp_path: Path) -> None:
    """One that is replaced begins with the configuration that is in force."""
    with simulating(tmp_path / "sim") as sim:
        many = "workers = 2\n" + text(1, sim.base_url)
        server = served(tmp_path, many)
        try:
            assert models(server) == [["auto", "m"]] * 2
            file = tmp_path / "kproxy.toml"
            file.write_text(many.replace('id = "m"', 'id = "n"'))
            server.process.signal(signal.SIGHUP)
            until(lambda: models(server) == [["auto", "n"]] * 2)
            first, _ = workers(server)
            os.kill(first, signal.SIGKILL)
            until(lambda: not exists(first))
            until(lambda: len(workers(server)) == 2 and first not in workers(server))
            until(lambda: server.metrics()["kproxy_workers"] == 2)
            assert models(server) == [["auto", "n"]] * 2
        finally:
            assert server.process.stop() == 0
        assert server.process.errors.count("configuration 2 is in force: models") == 2


def models(server: Served) -> list[list[str]]:
    """What each worker lists."""
    with callers(server) as each:
        answers = [one.get("/v1/models").json() for one in each.values()]
    return [[one["id"] for one in answer["data"]] for answer in answers]
