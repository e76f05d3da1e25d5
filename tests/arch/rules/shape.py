"""Rules on size, names and comments (house plan 4.1 rule 7, 4.9; habits section 6, no. 6)."""

import ast
import re

from tests.arch.rule import Findings, Rule, code, everywhere, in_package
from tests.arch.tree import Source

FILE_LINES = 400
FUNCTION_LINES = 60
CONSTRUCTOR_ARGUMENTS = 5
# Names that say nothing attract everything.
EMPTY_NAMES = frozenset(
    {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "base"}
)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def file_length(source: Source) -> Findings:
    lines = len(source.text.splitlines())
    if lines > FILE_LINES:
        yield FILE_LINES, f"{lines} lines; at most {FILE_LINES}: split it by idea"


def function_length(source: Source) -> Findings:
    for node in source.nodes:
        if isinstance(node, FUNCTIONS):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield node.lineno, f"{node.name} has {lines} lines; at most {FUNCTION_LINES}"


def constructor_arguments(source: Source) -> Findings:
    for node in source.nodes:
        if isinstance(node, FUNCTIONS) and node.name == "__init__":
            args = node.args
            count = len(args.posonlyargs) + len(args.args) + len(args.kwonlyargs) - 1
            count += (args.vararg is not None) + (args.kwarg is not None)
            if count > CONSTRUCTOR_ARGUMENTS:
                what = f"{count} arguments; at most {CONSTRUCTOR_ARGUMENTS}: take one Params value"
                yield node.lineno, what


def module_names(source: Source) -> Findings:
    if source.path in ("kproxy/dialect/base.py", "tests/dialect/test_base.py"):
        return  # the house plan's one exception: the Dialect protocol
    parts = source.path.removesuffix(".py").split("/")
    for part in parts:
        if part.removeprefix("test_") in EMPTY_NAMES:
            yield 1, f"{part!r} says nothing: name it by what it turns into what"


def opening_docstring(source: Source) -> Findings:
    if source.tree.body and ast.get_docstring(source.tree) is None:
        yield 1, "a module starts by saying what goes in and what comes out"


def package_init(source: Source) -> Findings:
    root = source.path == "kproxy/__init__.py"
    allowed = {"__all__", "__version__"} if root else {"__all__"}
    for node in source.tree.body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Assign) and {ast.unparse(t) for t in node.targets} <= allowed:
            continue
        if root and isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
            continue  # a lazy re-export keeps `import kproxy` cheap
        yield node.lineno, "a package's __init__ is empty or only re-exports"


def comments(source: Source) -> Findings:
    for line, comment in source.comments.items():
        if re.search(r"type:\s*ignore(?!\[)", comment):
            yield line, "a type ignore names its error code"
        if re.search(r"\bnoqa\b(?!:)", comment):
            yield line, "a noqa names its rule"
        if re.search(r"\b(TODO|FIXME|XXX)\b", comment):
            yield line, "finish it, or write an issue"


def unfinished(source: Source) -> Findings:
    for node in source.nodes:
        if isinstance(node, ast.Name) and node.id == "NotImplementedError":
            yield node.lineno, "no half-built methods: leave it out, or use a Protocol"


def is_init(source: Source) -> bool:
    return source.path.endswith("__init__.py") and source.under("kproxy")


def documented(source: Source) -> bool:
    return source.under("kproxy", "bench")


def _long_function(lines: int) -> Source:
    return Source("kproxy/api/example.py", "def f():\n" + "    x = 1\n" * (lines - 1))


RULES = (
    Rule(
        "file length",
        file_length,
        everywhere,
        bad=(Source("tests/api/test_x.py", "x = 1\n" * 401),),
        good=(Source("tests/api/test_x.py", "x = 1\n" * 400),),
    ),
    Rule(
        "function length",
        function_length,
        everywhere,
        bad=(_long_function(61),),
        good=(_long_function(60),),
    ),
    Rule(
        "constructor arguments",
        constructor_arguments,
        everywhere,
        bad=(
            code("class A:\n    def __init__(self, a, b, c, d, e, f): ..."),
            code("class A:\n    def __init__(self, a, b, c, *, d, e, f=1): ..."),
            code("class A:\n    def __init__(self, a, b, c, d, e, **more): ..."),
        ),
        good=(code("class A:\n    def __init__(self, a, b, c, *, d, e=1): ..."),),
    ),
    Rule(
        "module names",
        module_names,
        everywhere,
        bad=(
            code("", at="kproxy/utils.py"),
            code("", at="kproxy/common/x.py"),
            code("", at="tests/api/test_helpers.py"),
            code("", at="kproxy/routing/base.py"),
        ),
        good=(code("", at="kproxy/dialect/base.py"), code("", at="kproxy/api/commons.py")),
    ),
    Rule(
        "opening docstring",
        opening_docstring,
        documented,
        bad=(code("x = 1"), code("# a comment is none\nimport os")),
        good=(code(""), code('"""Bytes in, events out."""')),
    ),
    Rule(
        "package init",
        package_init,
        is_init,
        bad=(
            code("X = 1", at="kproxy/api/__init__.py"),
            code("__version__ = '1'", at="kproxy/api/__init__.py"),
            code("def f(): ...", at="kproxy/__init__.py"),
        ),
        good=(
            code("from kproxy.api.chat import chat\n__all__ = ['chat']", at="kproxy/__init__.py"),
            code('"""The routes."""', at="kproxy/api/__init__.py"),
        ),
    ),
    Rule(
        "comments",
        comments,
        everywhere,
        bad=(
            code("x = f()  # type: ignore"),
            code("x = f()  # noqa"),
            code("# TODO: later"),
        ),
        good=(
            code("x = f()  # type: ignore[arg-type]"),
            code("x = f()  # noqa: E501"),
            code("x = '# TODO'"),
        ),
    ),
    Rule(
        "nothing unfinished",
        unfinished,
        in_package,
        bad=(code("def f():\n    raise NotImplementedError"),),
    ),
)
