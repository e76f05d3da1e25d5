"""How a child is started, from an operator's decisions: `SandboxParams` in, `Launch` out.

The child's interpreter is the proxy's own program, found through its links, isolated and without
its site packages: the two folders that it needs are arguments. The "python" tier's module is
compiled here once, by a child that runs no foreign code, and kept under the digest of what it was
compiled from and the version of the compiler.
"""

import os
import shutil
import sys
import sysconfig
from importlib import metadata, util
from pathlib import Path
from typing import Any

import kproxy
from kproxy.plugins import wrapper
from kproxy.plugins.cell import CellFailed, Launch, open_cell
from kproxy.plugins.settings import SandboxParams

__all__ = ["build_launch", "compiled_module", "host_marks"]

_COMPILE = 300.0  # seconds; two cores take three to seven
_NAMESPACES = ("net", "user", "pid")


def build_launch(params: SandboxParams, module: Path | None, *, wrapped: bool) -> Launch | None:
    """None when it is to be wrapped and there is no bubblewrap. Raises CellFailed.

    `module`: the "python" tier's compiled module.
    """
    package = _package()
    library = _library("pydantic_monty" if params.tier == "monty" else "wasmtime")
    needed = [str(package), str(library), *_installation()]
    order: dict[str, Any] = {
        "tier": params.tier,
        "seconds": params.seconds,
        "memory": params.memory_bytes,
        "output": params.output_bytes,
        "host": host_marks(),
    }
    if params.tier == "monty":
        order["binary"] = _worker_program()
        needed.append(order["binary"])
    else:
        order["module"] = str(module)
        needed.append(order["module"])
    command = _command(package, library)
    if wrapped:
        bwrap = wrapper.program()
        if bwrap is None:
            return None
        command = wrapper.wrap(bwrap, needed, command, root=os.getuid() == 0)
    return Launch(tuple(command), order, wrapped)


def _package() -> Path:
    return Path(kproxy.__file__).resolve().parent


def _command(package: Path, *folders: Path) -> list[str]:
    program = str(package / "plugins" / "inmate.py")
    paths = (package.parent, *folders)
    return [os.path.realpath(sys.executable), "-I", "-S", "-B", program, *map(str, paths)]


def _installation() -> list[str]:
    """The interpreter, its standard library, and the compiled parts of it."""
    names = ("stdlib", "platstdlib")
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    found = [
        sysconfig.get_path(name, vars={**base, "installed_base": base["base"]}) for name in names
    ]
    libraries = sysconfig.get_config_var("LIBDIR")  # where a shared libpython lies
    return [os.path.realpath(sys.executable), *found, *([libraries] if libraries else [])]


def _library(name: str) -> Path:
    """The folder that holds this package. Raises CellFailed where there is none."""
    spec = util.find_spec(name)
    if spec is None or spec.origin is None:
        raise CellFailed(f"{name} is not installed")
    return Path(spec.origin).resolve().parent.parent


def _worker_program() -> str:
    """Monty's worker, which its wheel puts beside the scripts of this environment."""
    beside = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)))
    found = shutil.which("monty", path=beside)
    if found is None:
        raise CellFailed("the program `monty` of pydantic-monty-runtime is not installed")
    return os.path.realpath(found)


def host_marks() -> dict[str, int]:
    """By what a child can tell that it is elsewhere."""
    host = {}
    for name in _NAMESPACES:
        try:
            host[name] = os.stat(f"/proc/self/ns/{name}").st_ino
        except OSError:
            continue
    return host


async def compiled_module(params: SandboxParams) -> Path:
    """The compiled form of `params.wasm`, made when it is not there yet. Raises CellFailed."""
    if params.wasm is None or params.cache is None or not params.sha256:
        raise CellFailed("the python tier needs a WASI build of CPython: its path and its sha256")
    version = metadata.version("wasmtime")
    into = params.cache / f"{params.sha256[:32]}-wasmtime-{version}.cwasm"
    if into.exists():
        return into
    try:
        params.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CellFailed(f"{params.cache} cannot be made: {error.strerror}") from error
    order = {
        "tier": "compile",
        "wasm": str(params.wasm),
        "sha256": params.sha256,
        "into": str(into),
    }
    command = _command(_package(), _library("wasmtime"))
    cell = await open_cell(Launch(tuple(command), order, wrapped=False), _COMPILE)
    await cell.close()
    return into
