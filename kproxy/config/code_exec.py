"""`[plugins.code-exec]` as written in, the same with the whole path of its file out."""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from kproxy.config.document import PlacedError
from kproxy.config.plugin_model import CodeExecConfig
from kproxy.plugins.layers import LAYERS

__all__ = ["check_code_exec"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_code_exec(given: CodeExecConfig, beside: Callable[[str], Path]) -> CodeExecConfig:
    """Raises PlacedError. `beside` makes a path whole; whether the file is there is not asked."""
    for name in given.require:
        if name not in LAYERS:
            raise _wrong("require", f"there are {', '.join(LAYERS)}")
    if given.tier == "python" and not given.wasm:
        raise _wrong("wasm", 'tier = "python" needs a WASI build of CPython')
    if not given.wasm:
        return given
    if not _SHA256.fullmatch(given.sha256 or ""):
        raise _wrong("sha256", "must be the 64 lower-case digits of the file in wasm")
    return msgspec.structs.replace(given, wasm=str(beside(given.wasm)))


def _wrong(field: str, reason: str) -> PlacedError:
    return PlacedError(("plugins", "code-exec", field), reason)
