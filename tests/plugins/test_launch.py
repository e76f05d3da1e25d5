"""How a child is started, and the compiled module behind it."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kproxy.plugins import launch as launches
from kproxy.plugins import wrapper
from kproxy.plugins.cell import CellFailed
from kproxy.plugins.launch import build_launch, compiled_module, host_marks
from kproxy.plugins.settings import SandboxParams
from tests.fakes.prison import params

PLAIN = SandboxParams(seconds=3, memory_bytes=1 << 26, output_bytes=10)


def test_the_interpreter_is_isolated_and_without_site_packages() -> None:
    launch = build_launch(PLAIN, None, wrapped=False)
    assert launch is not None
    assert launch.command[0] == os.path.realpath(sys.executable)
    assert {"-I", "-S"} <= set(launch.command[:4])
    assert not launch.wrapped


def test_the_order_says_what_the_operator_decided() -> None:
    launch = build_launch(PLAIN, None, wrapped=False)
    assert launch is not None
    order = launch.order
    assert (order["seconds"], order["memory"], order["output"]) == (3, 1 << 26, 10)
    assert Path(order["binary"]).name == "monty"
    assert order["host"] == host_marks()


def test_without_bubblewrap_there_is_no_wrapped_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrapper, "program", lambda: None)
    assert build_launch(PLAIN, None, wrapped=True) is None


def test_a_wrapped_child_sees_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrapper, "program", lambda: "/usr/bin/bwrap")
    launch = build_launch(PLAIN, None, wrapped=True)
    assert launch is not None
    assert launch.command[0] == "/usr/bin/bwrap"
    assert launch.order["binary"] in launch.command
    assert str(Path(os.__file__).parent) in map(os.path.realpath, launch.command)
    assert str(Path.home()) not in launch.command


@pytest.mark.parametrize(
    ("place", "name", "missing"),
    [(launches.util, "find_spec", "pydantic_monty"), (launches.shutil, "which", "`monty`")],
)
def test_what_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, missing: str
) -> None:
    monkeypatch.setattr(place, name, lambda *_, **__: None)
    with pytest.raises(CellFailed, match=f"{missing}.* is not installed"):
        build_launch(PLAIN, None, wrapped=False)


async def test_a_module_is_compiled_once(compiled: Path) -> None:
    given = params("python", compiled)
    module = await compiled_module(given)
    before = module.stat()
    assert before.st_mode & 0o777 == 0o600
    assert await compiled_module(given) == module
    assert module.stat().st_mtime_ns == before.st_mtime_ns
    assert os.listdir(compiled) == [module.name]


async def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    given = params("python", tmp_path / "cache")
    other = tmp_path / "other.wasm"
    other.write_bytes(b"\0asm")
    with pytest.raises(CellFailed, match="sha256 is"):
        await compiled_module(replace(given, wasm=other))
    assert os.listdir(tmp_path / "cache") == []


async def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    given = params("python", tmp_path)
    with pytest.raises(CellFailed, match="No such file"):
        await compiled_module(replace(given, wasm=tmp_path / "none", sha256="0" * 64))


async def test_the_python_tier_needs_a_file() -> None:
    with pytest.raises(CellFailed, match="sha256"):
        await compiled_module(SandboxParams(tier="python"))
