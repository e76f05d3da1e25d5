"""`[plugins.code-exec]`: what is refused, where, and what the sandbox is given."""

from pathlib import Path

import pytest

from kproxy.config import Config, ConfigError, Overrides, load
from kproxy.config import plugins as rooms
from kproxy.config.plugins import sandbox_params
from kproxy.plugins.layers import ALWAYS
from kproxy.plugins.settings import SandboxParams

DIGEST = "0123456789abcdef" * 4
FULL = f"""
data_dir = "data"
[plugins.code-exec]
enabled = true
tier = "python"
seconds = 2.5
memory_mb = 64
output_kb = 8
require = ["seccomp", "bubblewrap"]
children = 3
wasm = "python.wasm"
sha256 = "{DIGEST}"
"""


def params_of(config):
    return sandbox_params(config.plugins.code_exec, config.data_dir)


def loaded(folder: Path, text: str) -> Config:
    file = folder / "kproxy.toml"
    file.write_text(text)
    return load(Overrides(config=file), {"HOME": "/srv/op"})


def test_everything_reaches_the_sandbox(tmp_path: Path) -> None:
    assert params_of(loaded(tmp_path, FULL)) == SandboxParams(
        tier="python",
        seconds=2.5,
        memory_bytes=64 << 20,
        output_bytes=8 << 10,
        require=("seccomp", "bubblewrap"),
        children=3,
        wasm=tmp_path / "python.wasm",
        sha256=DIGEST,
        cache=tmp_path / "data" / "sandbox",
    )


def test_the_defaults_are_the_sandboxs(tmp_path: Path) -> None:
    config = loaded(tmp_path, 'data_dir = "data"\n[plugins.code-exec]\nenabled = true\n')
    assert config.plugins.code_exec.require == ALWAYS
    assert params_of(config) == SandboxParams(cache=tmp_path / "data" / "sandbox")


@pytest.mark.parametrize(
    ("text", "missing", "on"),
    [
        ("", None, True),
        ("", "install it", False),
        ("[plugins.code-exec]\nenabled = true\n", "install it", True),
        ("[plugins.code-exec]\nenabled = false\n", None, False),
    ],
)
def test_it_is_on_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, missing: str | None, *, on: bool
) -> None:
    """And where it is asked for: then its absence is a refusal when the sandbox opens."""
    monkeypatch.setattr(rooms, "unavailable", lambda _: missing)
    assert (params_of(loaded(tmp_path, text)) is not None) is on


@pytest.mark.parametrize(
    ("line", "path", "reason"),
    [
        ('tier = "docker"', "plugins.code-exec.tier", 'must be "monty" or "python"'),
        ('tier = "python"', "plugins.code-exec.wasm", "needs a WASI build"),
        ('wasm = "x"', "plugins.code-exec.sha256", "64 lower-case digits"),
        (f'wasm = "x"\nsha256 = "{DIGEST.upper()}"', "plugins.code-exec.sha256", "64"),
        ('require = ["seccomp", "moat"]', "plugins.code-exec.require", "there are interpreter"),
        ("seconds = 0", "plugins.code-exec.seconds", ">"),
        ("seconds = 301", "plugins.code-exec.seconds", "<="),
        ("memory_mb = 31", "plugins.code-exec.memory_mb", ">="),
        ("output_kb = 1025", "plugins.code-exec.output_kb", "<="),
        ("children = 0", "plugins.code-exec.children", ">="),
        ("fuel = 1", "plugins.code-exec.fuel", "unknown key"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, line: str, path: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, f"[plugins.code-exec]\n{line}\n")
    assert caught.value.path == path
    assert reason in caught.value.reason


def test_another_plugins_table_is_unknown_yet(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"plugins\.teleport: unknown key"):
        loaded(tmp_path, "[plugins.teleport]\n")
