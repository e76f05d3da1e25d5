"""Patterns as text go in; searches over UTF-8 bytes come out. The one file that knows google-re2.

1. The engine is linear in the text, whatever the pattern: no caller can make it slow.
2. It is an extra, and is imported where the first pattern is compiled.
3. It writes to standard error what it does not like, unless it is told not to; a bad pattern leaves
   here as `BadPattern` alone.
4. A set says which of its patterns occur in a text, in one pass. Where it has no memory for that it
   says "none", so it holds one pattern more, which occurs everywhere: a set that does not name it
   has not looked, and then every pattern is searched for.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import types

__all__ = ["EXTRA", "BadPattern", "EngineMissing", "PatternSet", "Search", "compile_search"]

EXTRA = "kproxy[guardrails]"

_MEMORY = 1 << 26
"""Bytes that one compiled pattern, or set, may take; the engine's own 8 MB are few for a set."""

Search = Callable[[bytes, int], tuple[int, int] | None]
"""(text, where to begin) -> where the leftmost match begins and ends; None: there is none.

What stands before the beginning is seen by assertions, such as \\b and ^."""


class BadPattern(ValueError):
    """The engine does not take the pattern; the message says why, without repeating it."""


class EngineMissing(Exception):
    """The extra is not installed."""


def compile_search(pattern: str) -> Search:
    """The search for one pattern. Raises BadPattern, EngineMissing."""
    engine = _engine()
    try:
        compiled = engine.compile(pattern.encode(), _options(engine))
    except engine.error as error:
        raise BadPattern(_reason(error)) from None

    def search(text: bytes, start: int) -> tuple[int, int] | None:
        match = compiled.search(text, start)
        return None if match is None else match.span()

    return search


class PatternSet:
    """Which of several patterns occur in a text. Each has been compiled alone before."""

    def __init__(self, patterns: Sequence[str]) -> None:
        engine = _engine()
        self._set: Any = engine.Set.SearchSet(_options(engine))
        self._all = range(len(patterns))
        self._canary = len(patterns)
        try:
            for pattern in (*patterns, ""):
                self._set.Add(pattern.encode())
            self._set.Compile()
        except engine.error:
            raise BadPattern("is too large together with the others") from None

    def __repr__(self) -> str:
        return f"<PatternSet of {self._canary}>"

    def which(self, text: bytes) -> Sequence[int]:
        """Numbers of those that occur, in order; never too few."""
        found = self._set.Match(text)
        if not found or self._canary not in found:
            return self._all
        return sorted(number for number in found if number != self._canary)


def _engine() -> "types.ModuleType":
    try:
        import re2  # type: ignore[import-untyped]
    except ImportError:
        raise EngineMissing(f"google-re2 is not installed: pip install '{EXTRA}'") from None
    return re2  # type: ignore[no-any-return]


def _options(engine: Any) -> Any:
    options = engine.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    return options


def _reason(error: Exception) -> str:
    """The engine's reason without the part of the pattern that it quotes behind a colon."""
    text = error.args[0] if error.args else b""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return text.partition(":")[0] or "is no pattern"
