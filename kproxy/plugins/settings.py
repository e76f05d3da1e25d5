"""What an operator decides about the sandbox, as one frozen value, and what it needs installed."""

import sys
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Literal

from kproxy.errors import KproxyError
from kproxy.plugins.layers import ALWAYS

__all__ = ["SandboxParams", "SandboxRefused", "unavailable"]

_NEEDS = {
    "monty": ("pydantic_monty", "kproxy[sandbox]"),
    "python": ("wasmtime", "kproxy[sandbox-python]"),
}


class SandboxRefused(KproxyError):
    """The sandbox cannot be trusted here, so it does not open; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxParams:
    """Bytes and seconds. `wasm` and `sha256` belong to the "python" tier, which needs them."""

    tier: Literal["monty", "python"] = "monty"
    seconds: float = 5.0  # of one run
    memory_bytes: int = 128 << 20
    output_bytes: int = 64 << 10  # of output, and of each of result and error
    code_bytes: int = 64 << 10
    require: tuple[str, ...] = ALWAYS  # layers without which it does not open
    children: int = 2  # alive at once
    queue: int = 32  # callers that wait for one
    wait: float = 10.0  # how long one waits
    idle: float = 300.0  # how long children are kept ready for nobody
    wasm: Path | None = None  # CPython for WASI
    sha256: str = ""  # of that file, in lower-case hexadecimal
    cache: Path | None = None  # the folder for its compiled form
    bubblewrap: bool = True  # use it where it works


def unavailable(params: SandboxParams) -> str | None:
    """Why there can be no sandbox of this tier: what to install. None when nothing is missing."""
    library, extra = _NEEDS[params.tier]
    if sys.platform != "linux":
        return "code-exec needs Linux"
    if util.find_spec(library) is None:
        return f"code-exec needs the extra {extra}: pip install '{extra}'"
    return None
