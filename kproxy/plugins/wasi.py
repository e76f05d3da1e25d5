"""The other interpreter, for those who switch it on: the whole of CPython, compiled for WASI, run
by wasmtime. Code in, how it ended out. The one file that knows wasmtime; imported in the child
alone.

The guest gets standard output and nothing else: no folder, no descriptor, no environment, no host
function of ours. Its code comes as an argument. The module is compiled once, by a child that runs
no foreign code (`compile_module`); a child that runs some loads the result before it gives up its
rights. Whoever can write the compiled file owns the child, so it lies in the data directory.

Time is kept by wasmtime's epochs, which a thread of the child advances once; sleep inside of the
guest waits in the host and does not see them, so the parent's deadline stands behind. What a run
came to travels as the last line of standard error under a word that the guest cannot guess before
it is told; a guest that forges it deceives itself alone.
"""

import codecs
import hashlib
import math
import os
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from kproxy.plugins.confine import Bounds
from kproxy.plugins.frames import clean
from kproxy.plugins.guest import Emit, Ended, GuestOrder, RunError

if TYPE_CHECKING:
    from wasmtime import Engine, Module

__all__ = ["WasiGuest", "compile_module"]

# Wasmtime reserves 4 GiB of addresses for a memory, so that it need not check bounds; what is
# written is counted apart.
_ADDRESSES = 16 << 30
_DATA = 512 << 20
# What a guest may say of its own end.
_SAYS: dict[str, RunError | None] = {
    "": None,
    "syntax": "syntax",
    "exception": "exception",
    "memory": "memory",
}
_OWN_LINES = 64 << 10  # of standard error, beyond the text of an ending: what wasmtime may add

# In the guest. Standard modules alone that are built in: `ast`, `json` and `traceback` cost 60 ms.
_BOOT = """
def boot():
    import sys, _ast
    mark, code, limit = sys.argv[1], bytes.fromhex(sys.argv[2]).decode(), int(sys.argv[3])
    sys.argv[:] = ["-c"]
    def end(kind, text, result=""):
        sys.stdout.flush()
        parts = [part[:limit + 1].encode("utf-8", "replace").hex() for part in (kind, text, result)]
        sys.__stderr__.write("\\n" + mark + " ".join(parts) + "\\n")
    class Lines(list):
        write = list.append
        flush = lambda self: None
    def told(error):
        lines, before = Lines(), sys.stderr
        sys.stderr = lines
        sys.__excepthook__(type(error), error, error.__traceback__)
        sys.stderr = before
        return "".join(lines)
    space = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        tree = compile(code, "main.py", "exec", 0x400)
        last = tree.body.pop().value if tree.body and type(tree.body[-1]) is _ast.Expr else None
        body = compile(tree, "main.py", "exec")
        last = last and compile(_ast.Expression(last), "main.py", "eval")
    except (SyntaxError, ValueError, RecursionError) as error:
        error.__traceback__ = None
        return end("syntax", told(error))
    except MemoryError:
        return end("memory", "MemoryError")
    try:
        exec(body, space)
        value = eval(last, space) if last else None
        end("", "", "" if value is None else "+" + repr(value))
    except SystemExit as error:
        done = error.code in (None, 0)
        end("" if done else "exception", "" if done else "SystemExit: " + str(error.code))
    except MemoryError as error:
        end("memory", "MemoryError")
    except BaseException as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        end("exception", told(error))
boot()
"""


def _engine() -> "Engine":
    from wasmtime import Config, Engine

    config = Config()
    config.epoch_interruption = True
    config.wasm_threads = False
    return Engine(config)


def compile_module(wasm: Path, sha256: str, into: Path) -> None:
    """Compile the pinned file into `into`, whole or not at all. Seconds of work.

    Raises ValueError when the file is another one, OSError, or wasmtime's own error.
    """
    from wasmtime import Module

    data = wasm.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ValueError(f"the file's sha256 is {found}")
    compiled = Module(_engine(), data).serialize()
    made = into.with_name(f"{into.name}.{os.getpid()}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(compiled)
    made.rename(into)


class WasiGuest:
    """`module` is what `compile_module` made."""

    worker: int | None = None
    readable: tuple[str, ...] = ()

    def __init__(self, order: GuestOrder, module: str) -> None:
        self._order = order
        self._file = module
        self._engine: Engine | None = None
        self._module: Module | None = None

    @property
    def bounds(self) -> Bounds:
        return Bounds(_ADDRESSES, self._order.memory + _DATA, math.ceil(self._order.seconds) + 2)

    def prepare(self) -> None:
        import wasmtime

        self._engine = _engine()
        self._module = wasmtime.Module.deserialize_file(self._engine, self._file)

    def start(self) -> None:
        """The child itself is the process that runs the code."""

    def close(self) -> None:
        """Nothing outlives the child."""

    def run(self, code: str, emit: Emit) -> Ended:
        assert self._engine is not None
        mark = secrets.token_hex(16)
        run = _Run(self._engine, emit, mark, 6 * self._order.text + _OWN_LINES)
        clock = threading.Timer(self._order.seconds, run.expire)
        clock.daemon = True
        clock.start()
        try:
            trap = self._call(code, mark, run)
        finally:
            clock.cancel()
        ended = run.ending()
        if run.reason:
            return Ended(run.reason)
        return ended or Ended("crash", trap[: self._order.text])

    def _call(self, code: str, mark: str, run: "_Run") -> str:
        """Run the guest to its end; "" or why it ended."""
        import wasmtime

        assert self._engine is not None
        assert self._module is not None
        store = wasmtime.Store(self._engine)
        store.set_limits(memory_size=self._order.memory, instances=1, memories=1, tables=8)
        store.set_epoch_deadline(1)
        wasi = wasmtime.WasiConfig()
        text = code.encode("utf-8", "replace").hex()
        wasi.argv = ["python", "-ISBu", "-c", _BOOT, mark, text, str(self._order.text + 1)]
        wasi.stdout_custom = run.printed
        wasi.stderr_custom = run.complained
        store.set_wasi(wasi)
        linker = wasmtime.Linker(self._engine)
        linker.define_wasi()
        try:
            start = linker.instantiate(store, self._module).exports(store)["_start"]
            assert isinstance(start, wasmtime.Func)
            start(store)
        except wasmtime.ExitTrap as exit:
            return f"the interpreter ended with code {exit.code}"
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            return str(error).partition("\n")[0] + " (" + type(error).__name__ + ")"
        return ""


class _Run:
    """One run's output as it comes, in bytes, cut anywhere."""

    def __init__(self, engine: "Engine", emit: Emit, mark: str, limit: int) -> None:
        self._engine = engine
        self._emit = emit
        self._mark = mark
        self._limit = limit
        self._out = codecs.getincrementaldecoder("utf-8")("replace")
        self._err = ""
        self._err_bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self.reason: RunError | None = None  # why it was ended from here

    def expire(self) -> None:
        self._stop("time")

    def _stop(self, reason: RunError) -> None:
        self.reason = self.reason or reason
        self._engine.increment_epoch()

    def printed(self, data: bytes) -> None:
        """Must not raise: wasmtime would print that to our own standard output."""
        if not self.reason and not self._emit(self._out.decode(data)):
            self._stop("output")

    def complained(self, data: bytes) -> None:
        """Kept to the end: its last line says how the run ended, the rest belongs to the output."""
        self._err += self._err_bytes.decode(data)
        if len(self._err) > self._limit:
            self._stop("output")

    def ending(self) -> Ended | None:
        """What the guest said last; None when it said nothing."""
        said, mark, line = self._err.rpartition(self._mark)
        self._emit(said.removesuffix("\n") if mark else line)
        if not mark:
            return None
        parts = line.strip("\n").split(" ")
        try:
            kind, text, result = (bytes.fromhex(p).decode("utf-8", "replace") for p in parts)
            return Ended(_SAYS[kind], clean(text), clean(result[1:]) if result else None)
        except (ValueError, KeyError):
            return Ended("crash", "the ending of the run cannot be read")
