"""SIGHUP: read anew, put in force whole or not at all; nobody's answer suffers from it."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from kproxy.api.service import Service
from kproxy.config import Config, Overrides, load
from kproxy.endpoints import Endpoints
from kproxy.reload import Reload
from kproxy.transport.hub import Hub

ACME = '[providers.acme]\nbase_url = "http://127.0.0.1:9/v1"\nmodels = "any"\n'


class Assembled:
    """What a reload needs of an `Assembly`, and what was put in force."""

    def __init__(self, config: Config) -> None:
        self.hub = Hub()
        self.endpoints = Endpoints(self.hub)
        self.config = config
        self.generation = 1
        self.put: list[Config] = []
        self.looked_up = 0

    def adopt(self, draft: object) -> None:
        self.config = draft.config  # type: ignore[attr-defined]
        self.generation += 1

    async def name_left_out(self) -> None:
        self.looked_up += 1


class Site:
    """A reload of a file that the test writes."""

    def __init__(self, folder: Path, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.file = folder / "kproxy.toml"
        self.folder = folder
        self.looks = 0
        self.file.write_text(ACME)
        self.assembled = Assembled(self._load())
        self.hold: Callable[[], object] = lambda: None
        self.reload = Reload(self.assembled, self._reread, self._put)  # type: ignore[arg-type]

    def _load(self) -> Config:
        return load(Overrides(config=self.file, data_dir=self.folder / "data"), {})

    def _reread(self) -> Config:
        self.looks += 1
        self.hold()
        return self._load()

    def _put(self, service: Service, config: Config) -> None:
        self.assembled.put.append(config)

    async def look(self, text: str, caplog: pytest.LogCaptureFixture) -> str:
        """Write the file, have it looked at, and what the log says of it."""
        caplog.clear()
        self.file.write_text(text)
        await self.reload.look(self.nursery)
        return "\n".join(one.getMessage() for one in caplog.records)


@pytest.fixture
def site(tmp_path: Path, nursery: trio.Nursery) -> Site:
    return Site(tmp_path, nursery)


async def test_another_configuration(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    said = await site.look(ACME + "[timeouts]\ntotal = 5\n", caplog)
    assert said == "configuration 2 is in force: timeouts"
    assert [one.timeouts.total for one in site.assembled.put] == [5]


async def test_the_same_once_more(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for text in (ACME, "# a comment\n" + ACME):
        said = await site.look(text, caplog)
        assert said == "the configuration amounts to what is in force"
    assert (site.assembled.put, site.assembled.generation) == ([], 1)


async def test_a_wrong_one(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    said = await site.look(ACME + "[timeouts]\ntotal = 0\n", caplog)
    line = f"{site.file}:5: timeouts.total: expected `float` > 0.0"
    assert said == f"the configuration in force stays: {line}"
    assert caplog.records[-1].levelno == logging.ERROR
    assert (site.assembled.put, site.reload.refused) == ([], 1)
    assert "in force: attempts" in await site.look(ACME + "[attempts]\nretries = 1\n", caplog)


async def test_what_needs_a_restart_is_named_and_the_rest_is_done(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    text = 'auth = "none"\nledger = "strict"\n' + ACME + "[attempts]\nretries = 1\n"
    assert await site.look(text, caplog) == (
        "needs a restart and stays as it is: auth, ledger\nconfiguration 2 is in force: attempts"
    )
    assert site.assembled.config.auth == "keys"


async def test_accounts_are_looked_at_once_where_tiers_have_changed(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    lab = ACME + "[tiers.lab]\npaid = true\n"
    assert "in force: tiers" in await site.look(lab, caplog)
    assert site.assembled.looked_up == 1
    assert "in force: timeouts" in await site.look(lab + "[timeouts]\ntotal = 5\n", caplog)
    assert site.assembled.looked_up == 1


async def test_a_fault_of_ours_ends_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    site.hold = fail
    assert await site.look(ACME, caplog) == "the configuration in force stays"
    site.hold = lambda: None
    assert "amounts to" in await site.look(ACME, caplog)


async def test_signals_during_a_look_make_one_more(site: Site) -> None:
    """Whatever was written before the last of them is read."""
    begun = [threading.Event(), threading.Event()]
    go = [threading.Event(), threading.Event()]

    def wait() -> None:
        begun[site.looks - 1].set()
        go[site.looks - 1].wait(20)

    site.hold = wait
    site.nursery.start_soon(site.reload.run)
    site.reload.ask()
    await trio.to_thread.run_sync(begun[0].wait, 20)
    for _ in range(5):
        site.reload.ask()
    go[0].set()
    assert await trio.to_thread.run_sync(begun[1].wait, 20)
    assert not site.reload._asked.is_set(), "no third look"
    go[1].set()
