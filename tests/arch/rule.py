"""A rule over sources: one check, the files it holds for, and code that it must refuse.

A rule that never fired might be broken, so each carries examples of both kinds: `bad` ones that
must be found, `good` ones that come close and must pass. `tests/arch/test_sources.py` runs both.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from textwrap import dedent

from tests.arch.tree import Source

# A finding is the line and what is wrong there.
Findings = Iterator[tuple[int, str]]


def everywhere(source: Source) -> bool:
    """The package, its tests and its benchmarks."""
    return source.under("kproxy", "tests", "bench")


def in_package(source: Source) -> bool:
    """The package alone."""
    return source.under("kproxy")


def code(text: str, at: str = "kproxy/api/example.py") -> Source:
    """An example: indented source text, as if it stood in the file `at`."""
    return Source(at, dedent(text).lstrip("\n"))


@dataclass(frozen=True)
class Rule:
    """`check` finds what is wrong in a source; it is asked only about sources in `scope`."""

    name: str
    check: Callable[[Source], Findings]
    scope: Callable[[Source], bool]
    bad: tuple[Source, ...]
    good: tuple[Source, ...] = ()

    def findings(self, source: Source) -> list[str]:
        """`path:line: what is wrong`, for each thing that is."""
        if not self.scope(source):
            return []
        return [f"{source.path}:{line}: {what}" for line, what in self.check(source)]
