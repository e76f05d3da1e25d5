"""Which plugins a configuration offers, and what is loaded and started for them."""

import subprocess
import sys
from pathlib import Path

import pytest

from kproxy.app import serve
from kproxy.config import Config, Overrides, load
from kproxy.offering import open_plugins
from kproxy.plugins.sandbox import SandboxRefused
from kproxy.store.memories import Memories, MemoriesParams
from tests.fakes.hubbed import hubbed

ALL = """
[plugins]
rounds = 7
[plugins.web-search]
backend = "searxng"
base_url = "http://127.0.0.1:9"
[plugins.gutenberg]
[plugins.image-gen]
model = "m"
base_url = "http://127.0.0.1:9/v1"
price = 0.04
[plugins.code-exec]
enabled = {enabled}
require = {require}
"""
OFF = """
[plugins.pdf-reader]
enabled = false
[plugins.memory]
enabled = false
[plugins.code-exec]
enabled = false
"""


def configured(tmp_path: Path, text: str = "") -> Config:
    file = tmp_path / "kproxy.toml"
    file.write_text(text)
    return load(Overrides(("127.0.0.1:0",), file, tmp_path / "data"), {})


async def offered(config: Config) -> tuple[set[str], int, bool]:
    """Names, rounds, and whether the sandbox was opened."""
    memories = Memories(config.data_dir, MemoriesParams())
    async with hubbed() as (hub, _), open_plugins(config, hub, memories, lambda: 0.0) as plugins:
        return set(plugins.offered), plugins.rounds, bool(plugins.layers())


async def test_without_configuration_there_is_what_needs_nobody(tmp_path: Path) -> None:
    names, rounds, opened = await offered(configured(tmp_path))
    assert (names, rounds) == ({"pdf-reader", "memory", "code-exec"}, 5)
    assert not opened


async def test_everything_can_be_switched_off(tmp_path: Path) -> None:
    assert (await offered(configured(tmp_path, OFF)))[0] == set()


async def test_everything_that_is_configured(tmp_path: Path) -> None:
    config = configured(tmp_path, ALL.format(enabled="true", require='["process"]'))
    names, rounds, opened = await offered(config)
    assert names == {
        "web-search", "gutenberg", "image-gen", "pdf-reader", "memory", "code-exec"
    }  # fmt: skip
    assert rounds == 7
    assert opened, "tried at the start, since the operator insists on it"


@pytest.mark.loopback
async def test_a_sandbox_that_must_hold_and_does_not_is_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kproxy.plugins.sandbox.unavailable", lambda params: "it is not there")
    config = configured(tmp_path, ALL.format(enabled="true", require='["process"]'))
    with pytest.raises(SandboxRefused, match="it is not there"):
        await serve(config, lambda started: None)


async def test_what_is_not_installed_is_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kproxy.offering.find_spec", lambda name: None)
    assert (await offered(configured(tmp_path)))[0] == {"memory", "code-exec"}


def test_no_worker_is_loaded_before_somebody_asks() -> None:
    """Neither by `import kproxy` nor by what serves."""
    workers = [
        "web_search", "gutenberg", "bookshelf", "image_gen", "pdf_reader", "sandbox", "cell",
        "code_exec", "monty",
    ]  # fmt: skip
    code = (
        "import sys, kproxy, kproxy.app\n"
        f"loaded = [name for name in {workers!r} if 'kproxy.plugins.' + name in sys.modules]\n"
        "loaded += ['fetch'] if 'kproxy.transport.fetch' in sys.modules else []\n"
        "print(loaded, 'pypdf' in sys.modules, 'pydantic_monty' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[] False False\n", done.stderr
