"""One line of JSON for each request: values in, bytes in a file or on standard error out.

Problem: a file may be slow, full, or a pipe that nobody reads, and the event loop must not wait for
it; nor may what waits to be written grow without end. A thread for each line would cost more than
the rest of the request's accounting.

Our way: lines are gathered for a moment and written by one thread at a time. What comes while
`QUEUE` lines wait already is dropped and counted, and so is what cannot be written. A line is
written whole: pieces of several processes on one file or pipe do not mix.

What we do not do: text of prompts or answers, secrets, paths as callers wrote them. What a caller
chooses (the model's name, the method) is cut to a length and stands in JSON, so it cannot begin a
line of its own.
"""

import logging
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import msgspec
import trio

from kproxy.errors import KproxyError

__all__ = ["INTERVAL", "QUEUE", "AccessLine", "AccessLog", "AccessLogError"]

QUEUE = 16_384
"""Lines that may wait, some 8 MB: five seconds of three thousand requests."""

INTERVAL = 0.2
"""Seconds for which lines gather, so that a thread (100 us) is paid for by many of them."""

PIECE = 65_536
"""Bytes of one write to a file."""

PIPE_PIECE = 4_096
"""Bytes that a pipe takes as one (PIPE_BUF, pipe(7))."""

STDERR = 2

log = logging.getLogger("kproxy.accesslog")


class AccessLogError(KproxyError):
    """The file cannot be opened."""


class AccessLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one request came to. What is not known, or does not apply, is left out.

    `time` is its end. `account`, `key`: ids. `asked`: the caller's `model`; `model`: the one that
    answered. `bytes_in`: of its body; `bytes_out`: on the wire, the head included, before TLS.
    """

    time: datetime
    request_id: str
    client: str
    method: str
    route: str
    status: int  # 0: nothing was sent
    ending: str
    total_ms: float | None = None
    bytes_out: int | None = None
    bytes_in: int = 0
    trace_id: str | None = None
    account: str | None = None
    key: str | None = None
    receipt_id: str | None = None
    error: str | None = None  # the code that the caller was told
    asked: str | None = None
    provider: str | None = None
    model: str | None = None
    stream: bool = False
    attempts: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: msgspec.Raw | None = None
    first_token_ms: float | None = None


class AccessLog:
    """See the module. `open` comes first, and `close`, which blocks, after the end of `run`."""

    def __init__(self, path: Path | None) -> None:
        """None: standard error."""
        self._path = path
        self._fd = -1
        self._encoder = msgspec.json.Encoder()
        self._lines: deque[bytes] = deque()
        self._news = trio.Event()
        self._again = False
        self._writing = False
        self._troubled = False
        self._threads = trio.CapacityLimiter(1)
        self.written = 0  # lines
        self.dropped = 0

    def __repr__(self) -> str:
        return f"<AccessLog {self._path or 'stderr'} {len(self._lines)} wait, {self.dropped} lost>"

    def open(self) -> None:
        """Open the file, or make it. Raises AccessLogError."""
        try:
            self._open()
        except OSError as error:
            raise AccessLogError(f"[log] access: {self._path}: {error.strerror}") from error

    def _open(self) -> None:
        if self._path is None:
            self._fd = STDERR
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        fd, old = os.open(self._path, flags, 0o640), self._fd
        self._fd = fd
        if old >= 0:
            os.close(old)

    def reopen(self) -> None:
        """Before the next line: the file may have been moved away. Until it can be opened again,
        lines go on to where the old one is."""
        self._again = True

    def note(self, line: AccessLine) -> None:
        """Have it written soon. Never waits, and raises nothing."""
        if len(self._lines) >= QUEUE:
            self.dropped += 1
            return
        self._lines.append(self._encoder.encode(line) + b"\n")
        self._news.set()

    async def run(self) -> NoReturn:
        """Write what is noted; ends by cancellation."""
        while True:
            await self._news.wait()
            await trio.sleep(INTERVAL)
            self._news = trio.Event()
            # A pipe that nobody reads holds up its thread and nothing else.
            await trio.to_thread.run_sync(
                self._write, self._taken(), limiter=self._threads, abandon_on_cancel=True
            )

    def close(self) -> None:
        """Write the rest, but not behind a write that has not come back; close the file."""
        if self._writing:
            self.dropped += len(self._lines)
            return
        self._write(self._taken())
        if self._path is not None and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _taken(self) -> list[bytes]:
        lines = list(self._lines)
        self._lines.clear()
        return lines

    def _write(self, lines: list[bytes]) -> None:
        self._writing = True
        if self._again:
            self._again = False
            try:
                self._open()
            except OSError as error:
                self._trouble(error)
        try:
            for count, piece in _pieces(lines, self._piece()):
                self._write_piece(count, piece)
        finally:
            self._writing = False

    def _write_piece(self, count: int, piece: bytes) -> None:
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self.dropped += count
            self._trouble(error)
        else:
            self.written += count
            self._troubled = False

    def _piece(self) -> int:
        try:
            return PIECE if stat.S_ISREG(os.fstat(self._fd).st_mode) else PIPE_PIECE
        except OSError:
            return PIECE

    def _trouble(self, error: OSError) -> None:
        """Say it once, until a line can be written again."""
        if not self._troubled:
            self._troubled = True
            log.error("%s: %s", self._path or "standard error", error.strerror or error)


def _pieces(lines: Iterable[bytes], most: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines, as many as `most` bytes hold, at least one; and how many they are."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > most:
            yield len(piece), b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield len(piece), b"".join(piece)
