"""Hostile code by name, from texts in which a line `### name` begins each piece.

`FOLDER`, `PORT` and `PID` in a piece stand for what the test plants: a folder with a readable
secret and a listening unix socket, a listening TCP port, and the process that started the sandbox.
A piece that gets what it wants calls `won`, or prints the secret.
"""

from collections.abc import Mapping

__all__ = ["PRELUDE", "WON", "parse"]

# Put together at run time, because a traceback quotes the line that failed.
WON = "ESCAPED"
PRELUDE = "def won(*what):\n    print('ESC' + 'APED', what)\n"


def parse(text: str) -> Mapping[str, str]:
    """Each piece by its name, behind the prelude. Raises ValueError for a name said twice."""
    pieces: dict[str, str] = {}
    for block in text.split("\n### ")[1:]:
        name, _, code = block.partition("\n")
        if name in pieces:
            raise ValueError(f"{name} is there twice")
        pieces[name] = PRELUDE + code
    return pieces
