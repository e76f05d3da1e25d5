"""The import contracts of `pyproject.toml` hold, and each kind of violation breaks them.

The violations are made in a model of the house: a package of the same name with one empty room
for every room that the contracts name, checked by the contracts as they stand.
"""

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess, run

import pytest

from tests.arch.tree import ROOT, core_paths, floors, pyproject

pytestmark = pytest.mark.lint


def check(lint_imports: str, directory: Path) -> "CompletedProcess[str]":
    command = [lint_imports, "--no-logo", "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    return run(command, cwd=directory, capture_output=True, text=True, check=False)


def build_model(directory: Path) -> None:
    """One empty module per room, and the imports that the contracts name as exceptions."""
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    exceptions = [pair for c in contracts for pair in c.get("ignore_imports", [])]
    write(directory, "kproxy", "")
    for floor in floors():
        for room in floor:
            write(directory, f"kproxy.{room}", "")
    texts: dict[str, str] = {}
    for pair in exceptions:
        importer, _, imported = pair.partition(" -> ")
        module = importer.replace("*", "any_module")
        texts[module] = texts.get(module, "") + f"import {imported}\n"
        write(directory, module, texts[module])
        if imported.startswith("kproxy."):
            write(directory, imported, "")


def write(directory: Path, module: str, text: str) -> None:
    """Put `text` into a module; a package on the way becomes one, a module stays one."""
    *packages, name = module.split(".")
    inside = directory
    for package in packages:
        inside = inside / package
        inside.mkdir(exist_ok=True)
        (inside / "__init__.py").touch()
        inside.with_suffix(".py").unlink(missing_ok=True)
    if (inside / name).is_dir():
        (inside / name / "__init__.py").write_text(text)
    else:
        (inside / f"{name}.py").write_text(text)


@pytest.fixture
def lint_imports(require: Callable[[str], str]) -> str:
    return require("lint-imports")


def test_the_contracts_hold(lint_imports: str) -> None:
    done = check(lint_imports, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_model_keeps_the_contracts(lint_imports: str, tmp_path: Path) -> None:
    build_model(tmp_path)
    done = check(lint_imports, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


VIOLATIONS = {
    "upwards": ("kproxy.wire.h1", "import kproxy.app\n", "Floors"),
    "across": ("kproxy.upstream.attempt", "import kproxy.downstream\n", "Floors"),
    "unplaced room": ("kproxy.attic", "", "Floors"),
    "core and network": ("kproxy.routing.planner", "import trio\n", "The core"),
    "core and clock": ("kproxy.money", "from time import monotonic\n", "The core"),
    "owner of h11": ("kproxy.downstream.connection", "import h11\n", "h11"),
    "owner of h2": ("kproxy.downstream.connection", "import h2.connection\n", "h2"),
    "owner of hpack": ("kproxy.wire.h2_head", "import hpack\n", "h2"),
    "owner of httpcore": ("kproxy.upstream.attempt", "import httpcore\n", "httpcore"),
    "ring": ("kproxy.api.chat", "import kproxy.api.keys\n", "No cycles"),
    "owner of cryptography": ("kproxy.api.keys", "import cryptography\n", "cryptography"),
    "owner of pypdf": ("kproxy.api.keys", "import pypdf\n", "pypdf"),
    "owner of jsonschema_rs": ("kproxy.guard.heal", "import jsonschema_rs\n", "jsonschema_rs"),
    "owner of prometheus_client": (
        "kproxy.telemetry.metrics",
        "import prometheus_client\n",
        "prometheus_client",
    ),
    "owner of sqlite3": ("kproxy.api.keys", "import sqlite3\n", "sqlite3"),
    "owner of pydantic_monty": ("kproxy.api.keys", "import pydantic_monty\n", "pydantic_monty"),
    "owner of opentelemetry": ("kproxy.api.keys", "import opentelemetry.proto\n", "opentelemetry"),
    "owner of wasmtime": ("kproxy.api.keys", "import wasmtime\n", "wasmtime"),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_a_violation_is_found(lint_imports: str, tmp_path: Path, violation: str) -> None:
    module, text, contract = VIOLATIONS[violation]
    build_model(tmp_path)
    write(tmp_path, module, text)
    if violation == "ring":
        write(tmp_path, "kproxy.api.keys", "import kproxy.api.chat\n")
    done = check(lint_imports, tmp_path)
    assert done.returncode != 0
    assert re.search(rf"{contract}.*BROKEN", done.stdout), done.stdout + done.stderr


def test_the_core_is_the_rooms_below_transport() -> None:
    assert "kproxy/wire" in core_paths()
    assert "kproxy/money.py" in core_paths()
    assert "kproxy/transport" not in core_paths()
