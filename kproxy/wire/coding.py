"""A compressed body's pieces in, its bytes out, never more than was allowed.

A kilobyte of gzip can stand for a megabyte, so the output is drawn in small pieces and counted:
`limit` bounds it as a whole, `ratio` bounds it against what came in, once it is over `grace` bytes
(reliability.md section 4: 200:1 after 1 MiB). One coding is read, never a chain of them.
"""

import zlib
from collections.abc import Iterator

__all__ = ["GRACE", "RATIO", "CodingError", "Inflater"]

RATIO = 200
GRACE = 1024 * 1024  # bytes
PIECE = 64 * 1024  # bytes at most in one piece: some 0.2 ms of work


class CodingError(Exception):
    """The body is not what its coding says, or more than was allowed. The message says which."""


class Inflater:
    """One body in gzip (RFC 1952), which is all that we ask for. Raises CodingError for another."""

    __slots__ = ("_engine", "_limit", "_taken", "given")

    def __init__(self, coding: bytes, limit: int) -> None:
        if coding.lower() not in (b"gzip", b"x-gzip"):  # RFC 9110 section 8.4.1.3
            raise CodingError("a content coding that was not asked for")
        self._engine = zlib.decompressobj(zlib.MAX_WBITS + 16)
        self._limit = limit
        self._taken = 0
        self.given = 0

    def __repr__(self) -> str:
        return f"<Inflater {self._taken} bytes to {self.given}>"

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces that come out of `data`, at most `PIECE` bytes each. Raises CodingError."""
        self._taken += len(data)
        while data:
            if self._engine.eof:
                raise CodingError("bytes behind the end of the compressed body")
            try:
                piece = self._engine.decompress(data, PIECE)
            except zlib.error:
                raise CodingError("the compressed body is broken") from None
            self.given += len(piece)
            if self.given > self._limit:
                raise CodingError("over the limit once decompressed")
            if self.given > GRACE and self.given > RATIO * self._taken:
                raise CodingError("compressed beyond reason")
            data = self._engine.unused_data or self._engine.unconsumed_tail
            if piece:
                yield piece

    def end(self) -> None:
        """The body has ended. Raises CodingError where the compressed stream has not."""
        if not self._engine.eof:
            raise CodingError("the compressed body is cut")
