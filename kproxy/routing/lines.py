"""JSON lines of prompts go in, typed values come out: the format that routers learn from.

One object a line: `id`, `pool` (which list of models the arrays follow), `prompt`, and per model
`s` (score, 0 to 1), `it` and `ot` (input and output tokens, null where not recorded). `family`,
`bench` and `cat` are labels to learn from; no router reads them.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from kproxy.errors import KproxyError

__all__ = ["DataError", "Line", "parse_lines"]

Score = Annotated[float, msgspec.Meta(ge=0, le=1)]
Tokens = Annotated[float, msgspec.Meta(ge=0)]


class DataError(KproxyError):
    """The data cannot be used; the message names the line or the pool."""


class Line(msgspec.Struct, frozen=True):
    """One prompt and what each model of its pool made of it."""

    id: str
    pool: str
    prompt: str
    s: tuple[Score, ...] = ()
    it: tuple[Tokens | None, ...] = ()
    ot: tuple[Tokens | None, ...] = ()
    family: str = ""
    bench: str = ""
    cat: str = ""

    @property
    def label(self) -> str:
        """The kind of prompt that the data calls it."""
        return self.bench if self.cat in ("", self.bench) else f"{self.bench}/{self.cat}"


_decode_line = msgspec.json.Decoder(Line).decode


def parse_lines(data: Iterable[bytes]) -> tuple[Line, ...]:
    """Read lines; blank ones are skipped. Raises DataError with the number of a wrong one."""
    lines = []
    for number, text in enumerate(data, 1):
        if text.strip():
            try:
                lines.append(_decode_line(text))
            except ValueError as error:
                raise DataError(f"line {number}: {error}") from error
    return tuple(lines)
