"""The shape of one stream's plain chunks: received bytes in, how much text they carry out.

Problem: to believe a chunk means to read its framing, its event and its JSON; that costs more than
to receive and to send it. Yet of a thousand chunks nearly all differ in one string alone.

The obvious way out is to believe without looking, but then a finish reason, an error, a usage or
half an event goes by unseen.

Our way: a chunk that has been believed is the pattern for those that follow. Bytes that repeat it
around one JSON string, as a whole chunk of the size they say, mean what the pattern meant, with
another text; everything else is read like the first. OpenAI pads each event with a string of random
length, which may differ, too.

So nothing is decided here that `Flow` would decide differently, and a test plays every stream both
ways.
"""

import re
from functools import cache
from typing import Self

__all__ = ["LONGEST", "Lane"]

LONGEST = 4_095
"""Bytes of an event that is looked at in this way: three digits of a chunk's size."""

_DELTA = re.compile(rb'"delta": ?\{(?:"role": ?"assistant", ?)?"content": ?"')
_PADDING = re.compile(rb'"obfuscation": ?"')

# The inside of a JSON string; \u is left out, because half of a surrogate pair is no text.
_TEXT = re.compile(rb'[^"\\\x00-\x1f]*+(?:\\["\\/bfnrt][^"\\\x00-\x1f]*+)*+')


@cache
def _head(size: int) -> bytes:
    """The size line of a chunk that has so many bytes with it and its two line ends.

    No chunk has 262: one of 255 bytes has one fewer, one of 256 one more.
    """
    for digits in (1, 2, 3):
        head = b"%x\r\n" % max(0, size - digits - 4)
        if len(head) == digits + 2:
            return head
    return b"\n"  # which begins none


class Lane:
    """The pattern of one stream's chunks. It knows nothing of what was received before: the
    framing must be between two chunks, and the reader of events between two events."""

    __slots__ = ("_start", "_tail", "_until")

    def __init__(self, start: bytes, until: bytes, tail: bytes | None) -> None:
        self._start = start  # of the event, up to the text
        self._until = until  # from the text to the chunk's end, or to the padding
        self._tail = tail  # from there to the chunk's end; None: there is no padding

    @classmethod
    def learn(cls, event: bytes, text: int) -> Self | None:
        """The pattern of a whole event that was found to say nothing but so many bytes of text.

        None where it has another form, and each of its like must be read.
        """
        found = _DELTA.search(event)
        if found is None or not 0 < len(event) <= LONGEST:
            return None
        end = _end(event, found.end())
        if end - found.end() != text or not text:
            return None
        rest, padding = event[end:] + b"\r\n", _PADDING.search(event, end)
        if padding is None:
            return cls(event[: found.end()], rest, None)
        tail = event[_end(event, padding.end()) :] + b"\r\n"
        return cls(event[: found.end()], event[end : padding.end()], tail)

    def text(self, data: bytes) -> int:
        """Bytes of text in these received bytes; -1: they do not fit, and must be read."""
        size = len(data)
        if size > LONGEST + 7:
            return -1
        head = _head(size)
        at = len(head)
        if not (data.startswith(head) and data.startswith(self._start, at)):
            return -1
        at += len(self._start)
        end = last = _end(data, at)
        if not data.startswith(self._until, end):
            return -1
        last += len(self._until)
        if self._tail is not None:
            last = _end(data, last)
            if not data.startswith(self._tail, last):
                return -1
            last += len(self._tail)
        if last != size or not (data.isascii() or _is_utf8(data)):
            return -1
        return end - at


def _end(data: bytes, at: int) -> int:
    """Where the inside of a JSON string ends that begins there."""
    match = _TEXT.match(data, at)
    assert match is not None
    return match.end()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
