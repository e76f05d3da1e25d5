"""Installs the peers of bench/peers.py: a pinned package in, the folder that holds it out.

Each has a folder of its own under bench/.venv-peers, which git ignores, and is installed once; a
note beside it says what with, so that another version or another Python installs it anew. What
cannot be had is `Missing`, whose message is one line.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Missing", "node", "on_path", "says", "venv"]

HOME = Path(__file__).parent / ".venv-peers"
LIMIT = 900.0  # seconds for one package and all that it needs


class Missing(Exception):
    """A peer is not there; the message says what was looked for."""


def on_path(name: str, package: str) -> str:
    """The path of a program. Raises Missing with the package that has it."""
    program = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        raise Missing(f"no {name} on PATH (Debian's package {package})")
    return program


def says(command: Sequence[str]) -> str:
    """The first line that a program prints about its version; "" when it does not."""
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next(iter((made.stdout + made.stderr).splitlines()), "").strip()


def venv(name: str, requirements: Sequence[str]) -> Path:
    """The `bin` of a virtual environment, made with the Python that runs this, that has them."""
    folder = HOME / name
    python = str(folder / "bin" / "python")
    flags = ["--quiet", "--disable-pip-version-check", "--no-input"]
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [python, "-m", "pip", "install", *flags, *requirements],
    ]
    _once(folder, [sys.executable, sys.version, *requirements], steps)
    return folder / "bin"


def node(name: str, packages: Mapping[str, str], within: Mapping[str, str]) -> Path:
    """The `node_modules` that has these versions of packages, and inside them those of `within`."""
    npm = on_path("npm", "npm")
    folder = HOME / name
    wanted = json.dumps({"private": True, "dependencies": {**packages}, "overrides": {**within}})
    flags = ["--silent", "--no-audit", "--no-fund", "--no-update-notifier"]
    steps = [[npm, "install", *flags, "--prefix", str(folder)]]
    _once(folder, [wanted], steps, {"package.json": wanted})
    return folder / "node_modules"


def _once(
    folder: Path,
    made_of: Sequence[str],
    steps: Sequence[Sequence[str]],
    files: Mapping[str, str] | None = None,
) -> None:
    note, log = folder / "made-of.txt", HOME / f"{folder.name}.log"
    text = "\n".join(made_of) + "\n"
    if note.exists() and note.read_text() == text:
        return
    print(f"installing {folder.name}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in (files or {}).items():
        (folder / name).write_text(content)
    with log.open("w") as sink:
        for step in steps:
            try:
                made = subprocess.run(
                    step,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    check=False,
                    timeout=LIMIT,
                )
            except (OSError, subprocess.TimeoutExpired) as problem:
                raise Missing(f"{Path(step[0]).name}: {type(problem).__name__}") from None
            if made.returncode != 0:
                where = log.relative_to(Path(__file__).parents[1])
                raise Missing(f"{Path(step[0]).name} ended with {made.returncode}: see {where}")
    note.write_text(text)
