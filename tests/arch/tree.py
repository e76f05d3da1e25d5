"""The project as text and syntax: paths in, parsed sources out.

`Source` is one Python file: its text, its syntax tree, its comments, and what its imported names
stand for. The rules of `tests/arch/rules` read sources and know no files; the tests of
`tests/arch` choose which files a rule is held against.
"""

import ast
import io
import re
import shutil
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PYTHON_DIRECTORIES = ("kproxy", "tests", "bench")
# What tools and trials leave behind.
NOT_OURS = re.compile(
    r"(.*/)?(\.git|\.venv.*|\..*_cache|\.hypothesis|__pycache__|node_modules|build|dist)(/.*)?"
)


@dataclass(frozen=True)
class Source:
    """One Python file: `path` is relative to the root and written with slashes."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree. Raises SyntaxError for what is not Python."""
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the tree, in no order that means anything."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def comments(self) -> dict[int, str]:
        """Line number to the comment on that line. A `#` inside a string is no comment."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}

    @cached_property
    def imported(self) -> dict[str, str]:
        """Local name to the full dotted name that an import gave it, wherever the import is."""
        names: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    names[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return names

    def dotted(self, node: ast.AST) -> str:
        """`trio.sleep` for that expression however it was imported; "" for other expressions."""
        if isinstance(node, ast.Name):
            return self.imported.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            owner = self.dotted(node.value)
            return f"{owner}.{node.attr}" if owner else ""
        if isinstance(node, ast.Subscript):  # open_memory_channel[bytes]
            return self.dotted(node.value)
        return ""

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Every call with the dotted name of what is called."""
        for node in self.nodes:
            if isinstance(node, ast.Call):
                yield node, self.dotted(node.func)

    def under(self, *prefixes: str) -> bool:
        """Is this one of these files, or inside one of these directories?"""
        return any(self.path == p or self.path.startswith(f"{p}/") for p in prefixes)


@cache
def sources(*directories: str) -> tuple[Source, ...]:
    """Every Python file below these directories of the root, in order of path."""
    return tuple(
        Source(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
        for directory in directories
        for path in sorted((ROOT / directory).rglob("*.py"))
        if not NOT_OURS.fullmatch(path.relative_to(ROOT).as_posix())
    )


@cache
def pyproject() -> dict[str, Any]:
    """`pyproject.toml` as it stands."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@cache
def floors() -> tuple[tuple[str, ...], ...]:
    """The rooms of each floor from the top down, as the import contract names them."""
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return tuple(tuple(room.strip() for room in layer.split("|")) for layer in layers)


@cache
def core_paths() -> tuple[str, ...]:
    """The rooms below `transport`: floors 0 to 2, which know no network, clock or chance."""
    names = list(floors())
    below = names[names.index(("transport",)) + 1 :]
    return tuple(path for floor in below for room in floor for path in _both(room))


def _both(room: str) -> tuple[str, str]:
    return f"kproxy/{room}", f"kproxy/{room}.py"


@cache
def published_files() -> tuple[Path, ...]:
    """What a commit would hold: tracked files, and new ones that git does not ignore.

    Outside of a checkout (an unpacked source archive) every file that no tool left behind.
    """
    names = _known_to_git() if (ROOT / ".git").exists() and shutil.which("git") else None
    if names is None:
        names = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*")]
    listed = [name for name in names if not NOT_OURS.fullmatch(name)]
    return tuple(path for name in sorted(listed) if (path := ROOT / name).is_file())


def _known_to_git() -> list[str] | None:
    """None when git refuses, as it does in a checkout that belongs to somebody else."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return None if done.returncode else [name for name in done.stdout.split("\0") if name]
