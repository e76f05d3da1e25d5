"""A TOML file's text in, its tree out, and for a path in the tree the line it stands on.

tomllib keeps no positions. Instead of a second TOML grammar, a line is found with tomllib itself,
and only once something is wrong: a line that parses on its own, or the fewest lines that do, is a
statement, and the statement that brings a path into the tree is found by bisection.
"""

import re
import tomllib
from bisect import bisect_left
from pathlib import Path
from typing import Any

from kproxy.errors import KproxyError

__all__ = ["ConfigError", "Document", "PlacedError", "Steps", "spell"]

Steps = tuple[str | int, ...]
"""A path in the tree: keys of tables and positions in arrays."""

_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class ConfigError(KproxyError):
    """The configuration is refused. The message is one line: `FILE:LINE: PATH: reason`.

    It repeats keys and names, and never a value that could be a secret.
    """

    def __init__(
        self,
        reason: str,
        *,
        file: Path | None = None,
        line: int | None = None,
        path: str | None = None,
    ) -> None:
        place = "" if file is None else str(file) if line is None else f"{file}:{line}"
        super().__init__(": ".join(part for part in (place, path, reason) if part))
        self.reason = reason
        self.file = file
        self.line = line
        self.path = path


class PlacedError(Exception):
    """What is wrong at a path of the tree; `Document.error` makes it a ConfigError with a line."""

    def __init__(self, steps: Steps, reason: str) -> None:
        super().__init__(reason)
        self.steps = steps
        self.reason = reason


class Document:
    """A parsed file, or nothing when there is none. Raises ConfigError for what is no TOML."""

    def __init__(self, text: str = "", file: Path | None = None) -> None:
        self.file = file
        self._lines = text.replace("\r\n", "\n").split("\n")
        try:
            self.tree: dict[str, Any] = tomllib.loads(text)
        except RecursionError as error:
            raise ConfigError("tables are nested too deeply", file=file) from error
        except ValueError as error:  # TOMLDecodeError, and int() for a number without end
            raise self._syntax_error(str(error)) from error

    @classmethod
    def read(cls, file: Path) -> "Document":
        """The document of a file. Raises ConfigError for what cannot be read, too."""
        try:
            text = file.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", file=file) from error
        except UnicodeDecodeError as error:
            raise ConfigError("is not UTF-8 text", file=file) from error
        return cls(text, file)

    def error(self, problem: PlacedError) -> ConfigError:
        """The problem with its place in this file."""
        line = self.line_of(problem.steps)
        # What the file does not mention came from a flag or a variable, and the path is its name.
        file = self.file if line else None
        return ConfigError(problem.reason, file=file, line=line, path=spell(problem.steps))

    def line_of(self, steps: Steps) -> int | None:
        """The line (from 1) of the statement that brings in this path, or the nearest above it.

        None when not even its first step is in the file.
        """
        while steps and not _reaches(self.tree, steps):
            steps = steps[:-1]
        if not steps:
            return None
        statements = self._statements()
        found = bisect_left(
            range(len(statements)),
            True,
            key=lambda index: _reaches(self._up_to(statements[index][1]), steps),
        )
        return statements[found][0] + 1

    def _statements(self) -> list[tuple[int, int]]:
        """First line and line after the last of each statement, comment or empty line."""
        statements = []
        start = 0
        for end in range(1, len(self._lines) + 1):
            try:
                tomllib.loads("\n".join(self._lines[start:end]))
            except tomllib.TOMLDecodeError:
                continue  # a value that goes on in the next line
            statements.append((start, end))
            start = end
        return statements

    def _up_to(self, end: int) -> dict[str, Any]:
        return tomllib.loads("\n".join(self._lines[:end]))

    def _syntax_error(self, message: str) -> ConfigError:
        position = _POSITION.search(message)
        if position is None:
            return ConfigError(message, file=self.file)
        line = int(position[1]) if position[1] else len(self._lines)
        return ConfigError(message[: position.start()], file=self.file, line=line)


def spell(steps: Steps) -> str:
    """A path as an operator writes it: `models[1].price.input`, `providers."a.b"`."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if _BARE.fullmatch(step) else f'"{step}"'.encode("unicode_escape").decode()
            text += f".{key}" if text else key
    return text


def _reaches(tree: object, steps: Steps) -> bool:
    for step in steps:
        if isinstance(tree, dict) and step in tree:
            tree = tree[step]
            continue
        if isinstance(tree, list) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
            continue
        return False
    return True
