"""Texts in, the same texts out later, from a directory that never grows beyond its bytes.

A cache that several processes share: a text is written beside its place and renamed into it, and
whoever finds the shelf too full removes what was longest unread. Whatever goes wrong with a file
means that the text is not there; nothing is lost, it is fetched again. Blocking: call it in a
thread.
"""

import contextlib
import os
import re
import secrets
from pathlib import Path

__all__ = ["Bookshelf"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Bookshelf:
    """At most `limit` bytes of texts in `directory`, which is made when it is first needed."""

    def __init__(self, directory: Path, limit: int) -> None:
        self._directory = directory
        self._limit = limit

    def __repr__(self) -> str:
        return f"<Bookshelf {self._directory} {self._limit} bytes>"

    def get(self, name: str) -> str | None:
        """The text of that name, which counts as read now; None where it is not there."""
        path = self._path(name)
        try:
            text = path.read_text("utf-8")
            os.utime(path)
        except (OSError, UnicodeDecodeError):
            return None
        return text

    def put(self, name: str, text: str) -> None:
        """Keep the text, unless it is larger than the shelf or there is no room to write."""
        data = text.encode("utf-8", "replace")
        if len(data) > self._limit:
            return
        path = self._path(name)
        beside = path.with_name(f".{secrets.token_hex(8)}")
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                beside.write_bytes(data)
                self._make_room(len(data))
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if _NAME.fullmatch(name) is None:
            raise ValueError("not a name on the shelf")
        return self._directory / f"{name}.txt"

    def _make_room(self, size: int) -> None:
        """Remove the longest unread until `size` more bytes fit."""
        found = []
        for path in self._directory.glob("*.txt"):
            with contextlib.suppress(OSError):  # another process was quicker
                seen = path.stat()
                found.append((seen.st_mtime_ns, path, seen.st_size))
        held = sum(length for _, _, length in found)
        for _, path, length in sorted(found):
            if held + size <= self._limit:
                break
            path.unlink(missing_ok=True)
            held -= length
