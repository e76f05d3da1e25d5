"""The composition root: a configuration in, the right parts out, and an orderly end."""

import signal
import socket
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kproxy.app import CannotStart, Started, serve
from kproxy.catalog.load import load_packaged
from kproxy.config import Config, Overrides, load
from kproxy.config.providers import SEED_PROVIDERS

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
    await stream.send_all(b"GET %b HTTP/1.1\r\nhost: a\r\n\r\n" % path.encode())
    return await stream.receive_some()


@pytest.mark.loopback
async def test_announced_once_served_and_drained(nursery: trio.Nursery, tmp_path: Path) -> None:
    watched = Watched()
    nursery.start_soon(watched.run, configured(tmp_path))
    stream = await watched.connect()
    assert (await ask(stream, "/readyz")).startswith(b"HTTP/1.1 200 ")
    signal.raise_signal(signal.SIGTERM)
    assert await stream.receive_some() == b"", "an idle connection is closed"
    await stream.aclose()
    await watched.over.wait()
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
