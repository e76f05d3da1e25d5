"""Text with `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` in, text without out.

The first two are the grammar of OpenTelemetry's configuration; `$${` stands for `${` itself. A
variable or file that is missing or empty, and has no default, is refused by its name. Nothing here
ever repeats a value.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kproxy.config.document import PlacedError, Steps

__all__ = ["References"]

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE_LIMIT = 64 * 1024  # bytes: a secret, or somebody pointed at the wrong file


class References:
    """Resolves against one environment; paths of files are relative to the configuration's."""

    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        self._environ = environ
        self._directory = directory

    def resolve_tree(self, tree: Any, steps: Steps = ()) -> Any:
        """The tree with every string resolved. Raises PlacedError, for a NaN or infinity too."""
        if isinstance(tree, str):
            try:
                return self.resolve(tree)
            except ValueError as error:
                raise PlacedError(steps, str(error)) from error
        if isinstance(tree, dict):
            return {key: self.resolve_tree(value, (*steps, key)) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self.resolve_tree(value, (*steps, at)) for at, value in enumerate(tree)]
        if isinstance(tree, float) and not math.isfinite(tree):
            raise PlacedError(steps, "not a finite number")
        return tree

    def resolve(self, text: str) -> str:
        """The text with its references replaced. Raises ValueError that says what is missing."""
        return _REFERENCE.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if match[1] is None:
            raise ValueError("a reference '${' without its '}'")
        kind, _, rest = match[1].partition(":")
        if kind == "env":
            return self._variable(rest)
        if kind == "file" and rest:
            return self._file(rest)
        raise ValueError(
            "a reference is ${env:NAME}, ${env:NAME:-default} or ${file:PATH}; "
            "write $${ for the two characters themselves"
        )

    def _variable(self, reference: str) -> str:
        name, has_default, default = reference.partition(":-")
        if not _NAME.fullmatch(name):
            raise ValueError("a reference ${env:NAME} needs the name of a variable")
        value = self._environ.get(name)
        if value:
            return value
        if has_default:
            return default
        state = "not set" if value is None else "empty"
        raise ValueError(f"the environment variable {name} is {state}")

    def _file(self, name: str) -> str:
        path = self._directory / name
        try:
            with path.open("rb") as file:
                content = file.read(_FILE_LIMIT + 1)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or "not a file name"
            raise ValueError(f"the file {path} cannot be read: {reason}") from error
        if len(content) > _FILE_LIMIT:
            raise ValueError(f"the file {path} is longer than {_FILE_LIMIT} bytes")
        try:
            value = content.decode("utf-8-sig").strip("\r\n")
        except UnicodeDecodeError:
            # `from None`: the error that was caught holds the whole content.
            raise ValueError(f"the file {path} is not UTF-8 text") from None
        if not value:
            raise ValueError(f"the file {path} is empty")
        return value
