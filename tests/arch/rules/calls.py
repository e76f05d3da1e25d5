"""Names that may not be used, each with its reason (habits section 6, no. 7 and 12).

A mention is enough: `clock=time.time` as an argument brings the clock in as a call does.
"""

import ast
from collections.abc import Iterator

from tests.arch.rule import Findings, Rule, code, everywhere, in_package
from tests.arch.tree import Source, core_paths

PACKAGE_BANS = {
    "time.sleep": "stops every request of the process: await a fact or trio's clock",
    "asyncio": "kproxy runs on trio",
    "trio.lowlevel.spawn_system_task": "a task needs an owner: use a nursery",
}
WALL_CLOCK = frozenset(
    {
        "time.time",
        "time.time_ns",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "datetime.date.today",
    }
)
CHANCE = "chance is an argument: secrets for keys, a random.Random from the caller in sim"
GLOBAL_CHANCE = "the global generator is nobody's: draw from the random.Random you were given"
PRINT = "print is the command line's; elsewhere tell the access log, or raise"
EFFECTS = frozenset({"open", "print", "input", "exec", "eval", "__import__", "breakpoint"})
ASYNC = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)


def mentions(source: Source) -> Iterator[tuple[int, str]]:
    """Every imported module and every dotted name, by its full name."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield node.lineno, source.dotted(node)


def banned_in_package(source: Source) -> Findings:
    for line, name in mentions(source):
        for ban, reason in PACKAGE_BANS.items():
            if name == ban or name.startswith(f"{ban}."):
                yield line, f"{ban}: {reason}"


def wall_clock(source: Source) -> Findings:
    for line, name in mentions(source):
        if name in WALL_CLOCK:
            yield line, f"{name}: the wall clock jumps; read it in app.py or cli and hand it down"


def chance(source: Source) -> Findings:
    simulated = source.under("kproxy/sim")
    for line, name in mentions(source):
        if name == "random" or name.startswith("random."):
            if not simulated:
                yield line, f"{name}: {CHANCE}"
            elif name not in {"random", "random.Random"} and name.count(".") == 1:
                yield line, f"{name}: {GLOBAL_CHANCE}"


def printing(source: Source) -> Findings:
    for node, name in source.calls():
        if name == "print":
            yield node.lineno, PRINT


def core_async(source: Source) -> Findings:
    for node in source.nodes:
        if isinstance(node, ASYNC) or (isinstance(node, ast.comprehension) and node.is_async):
            line = getattr(node, "lineno", 1)
            yield line, "the core decides and does not wait: make it a function of values"


def core_effects(source: Source) -> Findings:
    for node, name in source.calls():
        if name in EFFECTS:
            yield node.lineno, f"{name}: the core has no effects; take the value as an argument"


def below_app(source: Source) -> bool:
    return source.under("kproxy") and not source.under(
        "kproxy/app.py", "kproxy/cli", "kproxy/__main__.py"
    )


def in_core(source: Source) -> bool:
    return source.under(*core_paths())


def outside_cli(source: Source) -> bool:
    return source.under("kproxy") and not source.under("kproxy/cli", "kproxy/__main__.py")


def blocking_sleep(source: Source) -> Findings:
    for line, name in mentions(source):
        if name == "time.sleep":
            yield line, "time.sleep: wait on a fact, not on the clock"


def not_bench(source: Source) -> bool:
    return everywhere(source) and not source.under("bench")


RULES = (
    Rule(
        "banned names",
        banned_in_package,
        in_package,
        bad=(
            code("import time\ntime.sleep(1)"),
            code("import time as t\ndef f(wait=t.sleep): ..."),
            code("import asyncio"),
            code("from asyncio.events import get_event_loop"),
            code("import trio.lowlevel\ntrio.lowlevel.spawn_system_task(f)"),
            code("from trio.lowlevel import spawn_system_task"),
        ),
        good=(code("import trio\nx = event.time.sleep\ny = trio.sleep"),),
    ),
    Rule(
        "the wall clock is an argument",
        wall_clock,
        below_app,
        bad=(
            code("import time\nnow = time.time()"),
            code("from time import time as clock"),
            code("import time as t\ndef f(clock=t.time): ..."),
            code("from datetime import UTC, datetime\nnow = datetime.now(UTC)"),
            code("import datetime as dt\nnow = dt.datetime.utcnow()"),
        ),
        good=(
            code("import time\nnow = time.time()", at="kproxy/cli/keys.py"),
            code("import time\nnow = time.monotonic()\nx = event.time.time"),
            code("from datetime import UTC, datetime\nd = datetime.fromtimestamp(1, UTC)"),
        ),
    ),
    Rule(
        "chance",
        chance,
        in_package,
        bad=(
            code("import random"),
            code("from random import choice"),
            code("import random\nx = random.random()", at="kproxy/sim/latency.py"),
            code("from random import gauss", at="kproxy/sim/latency.py"),
        ),
        good=(
            code("import secrets\nkey = secrets.token_bytes(32)"),
            code(
                "import random\ndef f(rng: random.Random):\n    return rng.random()",
                at="kproxy/sim/latency.py",
            ),
        ),
    ),
    Rule(
        "printing",
        printing,
        outside_cli,
        bad=(code("print('here')"),),
        good=(code("print('key')", at="kproxy/cli/keys.py"), code("report.print('a')")),
    ),
    Rule(
        "the core does not wait",
        core_async,
        in_core,
        bad=(
            code("async def f(): ...", at="kproxy/wire/h1.py"),
            code("x = [a async for a in b]", at="kproxy/money.py"),
        ),
        good=(code("async def f(): ..."), code("def f(): ...", at="kproxy/wire/h1.py")),
    ),
    Rule(
        "the core has no effects",
        core_effects,
        in_core,
        bad=(
            code("def f(path):\n    return open(path).read()", at="kproxy/catalog/load.py"),
            code("def f(x):\n    print(x)", at="kproxy/routing/planner.py"),
        ),
        good=(code("def f(x):\n    return x.open()", at="kproxy/routing/health.py"),),
    ),
    Rule(
        "no blocking sleep",
        blocking_sleep,
        not_bench,
        bad=(
            code("import time\ntime.sleep(1)", at="tests/api/test_x.py"),
            code("from time import sleep", at="tests/fakes/x.py"),
        ),
        good=(code("import time\ntime.sleep(1)", at="bench/relay.py"),),
    ),
)
