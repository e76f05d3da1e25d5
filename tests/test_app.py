"""The composition root: a configuration in, the right parts out, and an orderly end."""

import json
import signal
import socket
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kproxy.admission.keys import Secret
from kproxy.admission.patch import Change
from kproxy.app import Started, serve
from kproxy.catalog.load import load_packaged
from kproxy.config import Config, Overrides, load
from kproxy.config.providers import SEED_PROVIDERS
from kproxy.opening import CannotStart
from kproxy.store.keystore import open_keystore
from kproxy.store.segment import segment_names
from kproxy.telemetry import traces
from kproxy.telemetry.accesslog import AccessLogError

ACME = '[providers.acme]\nbase_url = "http://127.0.0.1:9/v1"\n'


def configured(tmp_path: Path, text: str = "", **environ: str) -> Config:
    file = tmp_path / "kproxy.toml"
    file.write_text(text)
    overrides = Overrides(("127.0.0.1:0",), file, tmp_path / "data")
    return load(overrides, environ)


# --- serving


class Watched:
    """The task that runs `serve`, and what it announced."""

    def __init__(self) -> None:
        self.started: list[Started] = []
        self.announced = trio.Event()
        self.over = trio.Event()

    def announce(self, started: Started) -> None:
        self.started.append(started)
        self.announced.set()

    async def run(self, config: Config) -> None:
        await serve(config, self.announce)
        self.over.set()

    async def connect(self) -> trio.SocketStream:
        await self.announced.wait()
        address = self.started[0].addresses[0]
        return await trio.open_tcp_stream(address.host, address.port)


async def ask(stream: trio.SocketStream, path: str) -> bytes:
    await stream.send_all(b"GET %b HTTP/1.1\r\nhost: localhost\r\n\r\n" % path.encode())
    return await stream.receive_some()


@pytest.mark.loopback
async def test_announced_once_served_and_drained(nursery: trio.Nursery, tmp_path: Path) -> None:
    watched = Watched()
    nursery.start_soon(watched.run, configured(tmp_path))
    stream = await watched.connect()
    assert (await ask(stream, "/readyz")).startswith(b"HTTP/1.1 200 ")
    assert b"kproxy_ledger_healthy 1.0" in await ask(stream, "/metrics")
    assert segment_names(tmp_path / "data" / "spool") != []
    signal.raise_signal(signal.SIGTERM)
    assert await stream.receive_some() == b"", "an idle connection is closed"
    await stream.aclose()
    await watched.over.wait()
    assert segment_names(tmp_path / "data" / "spool") == [], "the journal is closed in order"
    (started,) = watched.started
    assert started.simulated
    assert started.models[:2] == ("gpt-4.1", "claude-sonnet-4-20250514")
    assert len(started.models) == len(load_packaged().at_providers(SEED_PROVIDERS).models)
    assert started.first_key is not None
    with pytest.raises(OSError, match="all attempts to connect"):
        await watched.connect()


@pytest.mark.loopback
async def test_an_idle_server_ends_at_once(nursery: trio.Nursery, tmp_path: Path) -> None:
    for number in range(2):
        watched = Watched()
        nursery.start_soon(watched.run, configured(tmp_path, ACME))
        await watched.announced.wait()
        assert (watched.started[0].first_key is None) == (number == 1), "a key is shown once"
        assert not watched.started[0].simulated
        signal.raise_signal(signal.SIGINT)
        await watched.over.wait()


@pytest.mark.loopback
async def test_the_drain_time_bounds_what_it_waits_for(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    watched = Watched()
    nursery.start_soon(watched.run, configured(tmp_path, "drain_timeout = 0.0\n"))
    stream = await watched.connect()
    key = watched.started[0].first_key
    assert key is not None
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n"
    await stream.send_all(f"{head}authorization: Bearer {key}\r\n\r\n{{".encode())
    await wait_all_tasks_blocked()
    signal.raise_signal(signal.SIGTERM)
    await watched.over.wait()
    await stream.aclose()


@pytest.mark.loopback
async def test_a_second_signal_does_not_wait_for_a_collector(
    nursery: trio.Nursery,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(traces, "FLUSH", 1e9)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        watched = Watched()
        nursery.start_soon(
            watched.run, configured(tmp_path, f'[telemetry.otel]\nendpoint = "{url}"\n')
        )
        stream = await watched.connect()
        assert (await ask(stream, "/v1/models")).startswith(b"HTTP/1.1 401 ")
        await stream.aclose()
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
            await wait_all_tasks_blocked(0.05)
        await watched.over.wait()
    assert f"{url}/v1/traces: 1 spans were not sent in time" in caplog.messages
    assert segment_names(tmp_path / "data" / "spool") == [], "the journal is closed in order"


@pytest.mark.loopback
async def test_cancelled_it_leaves_nothing(tmp_path: Path) -> None:
    """pytest would tell of a socket or a descriptor that is left to the garbage collector."""
    watched = Watched()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.run, configured(tmp_path))
        stream = await watched.connect()
        assert await ask(stream, "/livez")
        nursery.cancel_scope.cancel()
    await stream.aclose()
    assert not watched.over.is_set()


@pytest.mark.loopback
async def test_an_address_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        overrides = Overrides((f"127.0.0.1:{taken.getsockname()[1]}",), None, tmp_path)
        with pytest.raises(CannotStart, match=r"cannot listen on 127\.0\.0\.1:"):
            await serve(load(overrides, {}), Watched().announce)


@pytest.mark.loopback
async def test_an_access_log(nursery: trio.Nursery, tmp_path: Path) -> None:
    watched = Watched()
    nursery.start_soon(watched.run, configured(tmp_path, '[log]\naccess = "access.jsonl"\n'))
    stream = await watched.connect()
    assert await ask(stream, "/livez")
    assert b"kproxy_access_log_dropped_total 0.0" in await ask(stream, "/metrics")
    await stream.aclose()
    signal.raise_signal(signal.SIGTERM)
    await watched.over.wait()
    lines = [json.loads(one) for one in (tmp_path / "access.jsonl").read_bytes().splitlines()]
    assert [one["route"] for one in lines] == ["/livez", "/metrics"]
    assert all(one["client"].startswith("127.0.0.1:") for one in lines)


@pytest.mark.loopback
async def test_an_access_log_that_cannot_be(tmp_path: Path) -> None:
    config = configured(tmp_path, '[log]\naccess = "no/access.jsonl"\n')
    with pytest.raises(AccessLogError, match="No such file"):
        await serve(config, Watched().announce)


# --- keys, and none


@pytest.mark.loopback
async def test_without_keys_none_is_made(nursery: trio.Nursery, tmp_path: Path) -> None:
    watched = Watched()
    nursery.start_soon(watched.run, configured(tmp_path, 'auth = "none"\n'))
    stream = await watched.connect()
    assert (await ask(stream, "/v1/models")).startswith(b"HTTP/1.1 200 ")
    assert b"keys_disabled" in await ask(stream, "/api/auth")
    (started,) = watched.started
    assert (started.keyless, started.first_key) == (True, None)
    await stream.aclose()
    signal.raise_signal(signal.SIGTERM)
    await watched.over.wait()
    store = open_keystore(tmp_path / "data")
    assert (store.accounts(), store.list()) == ([], [])
    store.close()


@pytest.mark.loopback
async def test_provider_keys_that_cannot_be_opened_are_said_at_the_start(
    nursery: trio.Nursery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_a_locked_key(tmp_path / "data")
    watched = Watched()
    nursery.start_soon(watched.run, configured(tmp_path, KPROXY_SEAL_KEY="A" * 43 + "="))
    stream = await watched.connect()
    assert (await ask(stream, "/readyz")).startswith(b"HTTP/1.1 200 ")
    assert "another key than that of KPROXY_SEAL_KEY" in caplog.text
    assert "canary" not in caplog.text
    await stream.aclose()
    signal.raise_signal(signal.SIGTERM)
    await watched.over.wait()


@pytest.mark.loopback
async def test_accounts_of_a_tier_that_is_not_configured_are_told_of_at_the_start(
    nursery: trio.Nursery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_keystore(tmp_path / "data")
    store.create_account("acme", "lab", 0)
    store.close()
    watched = Watched()
    nursery.start_soon(watched.run, configured(tmp_path))
    await watched.announced.wait()
    assert 'tier "lab" is not configured: its accounts (1) get 403' in caplog.messages
    signal.raise_signal(signal.SIGTERM)
    await watched.over.wait()


def with_a_locked_key(data: Path) -> None:
    """A provider key in the store, and its seal key gone."""
    store = open_keystore(data)
    store.create_account("acme", "team", 0)
    record, _ = store.create_key("acme", "k", None, 0)
    change = Change(provider_keys={"openai": Secret("sk-canary")})
    store.change(record.key_id, record.account.id, change)
    store.close()
    (data / "kproxy.seal").unlink()


@pytest.mark.loopback
async def test_last_uses_are_written_at_the_end(nursery: trio.Nursery, tmp_path: Path) -> None:
    watched = Watched()
    nursery.start_soon(watched.run, configured(tmp_path))
    stream = await watched.connect()
    head = "GET /v1/models HTTP/1.1\r\nhost: a\r\nauthorization: Bearer "
    await stream.send_all(f"{head}{watched.started[0].first_key}\r\n\r\n".encode())
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
    signal.raise_signal(signal.SIGTERM)
    await watched.over.wait()
    await stream.aclose()
    store = open_keystore(tmp_path / "data")
    (record,) = store.list()
    assert record.last_used_at is not None
    assert record.last_used_at >= record.created_at
    store.close()
