"""The tools that read the sources: formatting, lint, types, and the rules of trio.

Each runs as its users run it, with the settings of `pyproject.toml`. The architecture is held by
the other files of this directory.
"""

import ast
import os
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, STDOUT, CompletedProcess, Popen, run

import pytest

from tests.arch.tree import PYTHON_DIRECTORIES, ROOT, Source, sources

pytestmark = pytest.mark.lint

Require = Callable[[str], str]


def tool(*command: str, cwd: Path = ROOT) -> "CompletedProcess[str]":
    return run(command, cwd=cwd, capture_output=True, text=True, check=False)


def passes(*command: str) -> None:
    done = tool(*command)
    assert done.returncode == 0, f"{' '.join(command[:3])}\n{done.stdout}{done.stderr}"


@pytest.fixture
def directories() -> list[str]:
    return [name for name in PYTHON_DIRECTORIES if (ROOT / name).is_dir()]


def test_format(require: Require, directories: list[str]) -> None:
    passes(require("ruff"), "format", "--check", "--diff", *directories)


def test_ruff(require: Require, directories: list[str]) -> None:
    passes(require("ruff"), "check", *directories)


def test_types(require: Require) -> None:
    passes(require("mypy"))


@pytest.mark.timeout(600)  # half a minute where nothing else runs
def test_trio_rules(require: Require) -> None:
    """flake8-async's default set: ruff has neither 101, 102 nor 103, and keeps 119 in preview.

    It reads 2,000 lines a second, so it is given only what can wait, a share to each processor.
    """
    read = sources(*PYTHON_DIRECTORIES)
    waiting = [s.path for s in read if re.search(r"\b(async|trio|anyio)\b", s.text)]
    startable = f"--startable-in-context-manager={','.join(sorted(startables(*read)))}"
    shares = os.cpu_count() or 1
    command = [require("flake8-async"), startable]
    running = [
        Popen([*command, *share], cwd=ROOT, stdout=PIPE, stderr=STDOUT, text=True)
        for number in range(shares)
        if (share := waiting[number::shares])
    ]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * len(running), "\n".join(said)


def startables(*read: Source) -> set[str]:
    """Functions that are started with `nursery.start`: ASYNC113 wants to know their names."""
    return {
        node.name
        for source in read
        for node in source.nodes
        if isinstance(node, ast.AsyncFunctionDef)
        and any(arg.arg == "task_status" for arg in [*node.args.args, *node.args.kwonlyargs])
    }


BROKEN = {
    "ruff": (["check", "--isolated"], "import os\n"),
    "mypy": (["--strict"], "def f(x): return x\n"),
    "flake8-async": (
        [],
        "import trio\nasync def f(x):\n    try: ...\n    finally:\n        await x()\n",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_tool_refuses_what_is_wrong(require: Require, tmp_path: Path, name: str) -> None:
    """A tool that finds no files, or whose exit code is lost, would pass for ever."""
    arguments, text = BROKEN[name]
    (tmp_path / "broken.py").write_text(text)
    done = tool(require(name), *arguments, "broken.py", cwd=tmp_path)
    assert done.returncode != 0
    assert "broken.py" in done.stdout + done.stderr
