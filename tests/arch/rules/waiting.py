"""Tests sleep in virtual time only (habit 9; section 6, no. 13).

`trio.sleep` is allowed in a test that takes `autojump_clock` or `mock_clock`, and in other
functions of a file that names one of them. A fake in `tests/fakes` may sleep: it runs on the clock
of its test, and a scripted provider's delays are what it is for. `trio.sleep(0)` is a checkpoint
and waits for nothing.
"""

import ast

from tests.arch.rule import Findings, Rule, code
from tests.arch.tree import Source

SLEEPS = frozenset({"trio.sleep", "trio.sleep_until", "anyio.sleep", "anyio.sleep_until"})
CLOCKS = frozenset({"autojump_clock", "mock_clock", "MockClock"})
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def virtual_sleep(source: Source) -> Findings:
    virtual_file = any(_names(node) & CLOCKS for node in source.nodes)
    yield from _sleeps(source, source.tree, allowed=virtual_file)


def _sleeps(source: Source, node: ast.AST, *, allowed: bool) -> Findings:
    if isinstance(node, FUNCTIONS) and node.name.startswith("test_"):
        allowed = any(_names(inner) & CLOCKS for inner in ast.walk(node))
    if isinstance(node, ast.Call) and source.dotted(node.func) in SLEEPS and not allowed:
        checkpoint = len(node.args) == 1 and ast.unparse(node.args[0]) == "0"
        if not checkpoint:
            yield node.lineno, "sleeps on the real clock: take autojump_clock, or wait on a fact"
    for child in ast.iter_child_nodes(node):
        yield from _sleeps(source, child, allowed=allowed)


def _names(node: ast.AST) -> set[str]:
    """The names a node may bring a clock in by: an argument, a name, a fixture named in text."""
    found = (getattr(node, "arg", None), getattr(node, "id", None), getattr(node, "attr", None))
    text = node.value if isinstance(node, ast.Constant) else None
    return {name for name in (*found, text) if isinstance(name, str)}


def in_tests(source: Source) -> bool:
    return source.under("tests") and not source.under("tests/fakes")


RULES = (
    Rule(
        "tests sleep in virtual time",
        virtual_sleep,
        in_tests,
        bad=(
            code("import trio\nasync def test_a():\n    await trio.sleep(1)", at="tests/test_a.py"),
            code(
                "from trio import sleep\nasync def f():\n    await sleep(1)", at="tests/test_a.py"
            ),
            code(
                """
                import trio
                async def test_a(autojump_clock): ...
                async def test_b():
                    async def later():
                        await trio.sleep(0.01)
                """,
                at="tests/test_a.py",
            ),
        ),
        good=(
            code(
                """
                import trio
                async def slowly():
                    await trio.sleep(1)
                async def test_a(autojump_clock):
                    await slowly()
                    await trio.sleep(1)
                @pytest.mark.usefixtures("mock_clock")
                async def test_b():
                    await trio.sleep(1)
                """,
                at="tests/test_a.py",
            ),
            code("import trio\nasync def f():\n    await trio.sleep(1)", at="tests/fakes/x.py"),
            code("import trio\nasync def f():\n    await trio.sleep(0)", at="tests/test_a.py"),
        ),
    ),
)
