"""What a server that waits has not loaded. A megabyte of a library comes unseen with one import."""

import subprocess
import sys
from pathlib import Path

import pytest

SERVING = """
import os, sys
from pathlib import Path
import kproxy.cli.root, kproxy.cli.serve
import trio
from kproxy import app
from kproxy.config import Overrides, load

directory = Path(sys.argv[1])
file = directory / "kproxy.toml"
named = Overrides(("127.0.0.1:0",), file if file.exists() else None, directory)

async def main():
    async with trio.open_nursery() as nursery:
        def ready(started):
            print(*sys.modules)
            nursery.cancel_scope.cancel()
        nursery.start_soon(app.serve, load(named, {}), ready)

trio.run(main)
"""

NEVER = (
    # of another way to do the same
    "asyncio", "multiprocessing", "unittest", "numpy", "requests", "httpx",
    # of what is switched off
    "re2", "jsonschema_rs", "cryptography", "pypdf", "pydantic_monty", "wasmtime",
    "kproxy.transport.fetch", "kproxy.workers", "kproxy.plugins.sandbox", "importlib.metadata",
    # of what nobody has asked for yet
    "prometheus_client", "http.server", "http.client", "urllib.request", "email",
    "h2", "hpack", "hyperframe", "kproxy.wire.h2", "kproxy.downstream.h2_connection",
    "kproxy.wire.h2_client", "kproxy.transport.h2_trunks",
    "h11", "kproxy.wire.h1_general",
    # of what a provider at an address needs not
    "httpcore", "anyio", "certifi", "importlib.resources",
)  # fmt: skip
"""Exact names of modules. To add one here is a gain; to take one off wants a reason."""

PLAIN = """
[providers.acme]
dialect = "openai"
base_url = "http://127.0.0.1:9/v1"
api_key = "k"
models = "any"
"""


def loaded(directory: Path) -> set[str]:
    """The modules of a process that serves by the configuration there, and has done nothing yet."""
    command = [sys.executable, "-c", SERVING, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.loopback
def test_a_server_by_the_defaults(tmp_path: Path) -> None:
    found = loaded(tmp_path)
    assert {"kproxy.app", "kproxy.downstream.listener", "kproxy.sim.serve"} <= found
    assert found.isdisjoint(NEVER), sorted(found & set(NEVER))


@pytest.mark.loopback
def test_a_server_with_a_provider_at_an_address(tmp_path: Path) -> None:
    (tmp_path / "kproxy.toml").write_text(PLAIN)
    found = loaded(tmp_path)
    assert "kproxy.upstream.endpoint" in found
    assert found.isdisjoint(NEVER), sorted(found & set(NEVER))
    assert found.isdisjoint({"kproxy.sim.serve", "kproxy.sim.provider", "kproxy.sim.tape"})


@pytest.mark.loopback
def test_a_provider_with_a_name_has_its_library_before_the_first_request(tmp_path: Path) -> None:
    """Importing it while requests wait would hold all of them up."""
    (tmp_path / "kproxy.toml").write_text(PLAIN.replace("127.0.0.1", "localhost"))
    assert "httpcore" in loaded(tmp_path)
