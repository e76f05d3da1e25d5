"""A prompt goes in; the numbers of the hashed features that it has come out.

1. Bounded: only the first 3,000 and the last 1,000 characters are read, and at most 1,000 words of
   them, so a prompt of a megabyte costs what one of four kilobytes does.
2. Any input has features: bytes that are no UTF-8 are replaced, an empty prompt has its shape.
3. The same prompt has the same features in every process: crc32, never Python's own hash.

A word is a run of letters, a run of digits (only its length counts) or one sign. Letters outside
ASCII form words as well; a script without spaces makes long words, which training seldom knows.
`words` are features of what is said; `shape` are features of how it looks: lengths, digits, line
ends, answer options, in coarse steps.
"""

import re
from collections.abc import Iterable
from itertools import repeat
from typing import NamedTuple
from zlib import crc32

__all__ = ["HEAD", "ROWS", "TAIL", "VOCABULARY", "WORD_ROWS", "Features", "clip", "extract"]

HEAD = 3_000
TAIL = 1_000

WORD_ROWS = 1 << 16
_SHAPE_ROWS = 1 << 11
ROWS = WORD_ROWS + _SHAPE_ROWS
"""Rows of a table of weights: first those that words are hashed into, then those of shapes."""

VOCABULARY = 1 << 17
"""Places in the list of known words. Wider than the table: there a word must not meet another."""

_WORD_MASK = WORD_ROWS - 1
_VOCABULARY_MASK = VOCABULARY - 1
_SHAPE_MASK = _SHAPE_ROWS - 1

_WORD = re.compile(rb"[a-z\x80-\xff]+|[0-9]+|[^\sa-z0-9\x80-\xff]")
_OPTION = re.compile(rb"\n\(?[b-z][.):]")
_DIGITS = b"0123456789"
_UPPER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NUMBERS = (b"#", b"#", b"##", b"###", b"####")
_FIRST_WORDS, _LAST_WORDS = 750, 250


def _hashed(names: Iterable[bytes]) -> list[int]:
    """The rows of names of the shape."""
    return [crc32(name) & _SHAPE_MASK | WORD_ROWS for name in names]


def _rows(kind: bytes, most: int) -> tuple[int, ...]:
    """The rows of one fact, by its step. Hashed here, since every prompt has one of them."""
    return tuple(_hashed(b"%b%d" % (kind, step) for step in range(most + 1)))


_SIZE = _rows(b"l", 28)
_DIGIT_STEPS, _DIGIT_SHARE = _rows(b"d", 8), _rows(b"D", 20)
_UPPER_SHARE = _rows(b"U", 10)
_LINES, _SENTENCES, _COMMAS = _rows(b"n", 8), _rows(b"s", 5), _rows(b"c", 6)
_DOLLARS, _BACKSLASHES = _rows(b"$", 4), _rows(b"b", 4)
_WIDTH = _rows(b"w", 24)

# Starting values of crc32: they keep apart what would otherwise be spelled alike.
_PAIR, _OPENING, _CLOSING = 0x9E3779B9, 0x85EBCA6B, 0xC2B2AE35


class Features(NamedTuple):
    """Distinct rows of the table of weights, the words' below WORD_ROWS, the shape's from there.

    `vocabulary` are places of the single words in the list of known ones.
    """

    words: frozenset[int]
    shape: frozenset[int]
    vocabulary: frozenset[int]


def clip(prompt: str | bytes) -> bytes:
    """The head and the tail of a prompt as UTF-8, at most 4,001 characters."""
    if isinstance(prompt, bytes):
        if len(prompt) > 4 * (HEAD + TAIL):  # no character takes more than four bytes
            prompt = prompt[: 4 * HEAD] + prompt[-4 * TAIL :]
        prompt = prompt.decode("utf-8", "replace")
    if len(prompt) > HEAD + TAIL:
        prompt = f"{prompt[:HEAD]}\n{prompt[-TAIL:]}"
    return prompt.encode("utf-8", "replace")


def extract(prompt: str | bytes) -> Features:
    """The features of a prompt. Raises nothing."""
    raw = clip(prompt)
    text = raw.lower() if raw.isascii() else raw.decode().lower().encode("utf-8", "replace")
    words = _split(text)
    # crc32 continues from a value, so a pair is the second word's hash begun with the first's.
    single = list(map(crc32, words))
    hashes = [
        *single,
        *map(crc32, words[1:], map(crc32, words, repeat(_PAIR))),
        crc32(b" ".join(words[:1]), _OPENING),
        crc32(b" ".join(words[:2]), _OPENING),
        crc32(b" ".join(words[:3]), _OPENING),
        crc32(b" ".join(words[-1:]), _CLOSING),
        crc32(b" ".join(words[-2:]), _CLOSING),
    ]
    return Features(
        frozenset([one & _WORD_MASK for one in hashes]),
        frozenset(_shape(raw, text)),
        frozenset([one & _VOCABULARY_MASK for one in single]),
    )


def _split(text: bytes) -> list[bytes]:
    words: list[bytes] = _WORD.findall(text)
    if len(words) > _FIRST_WORDS + _LAST_WORDS:
        words = words[:_FIRST_WORDS] + words[-_LAST_WORDS:]
    if len(text.translate(None, _DIGITS)) == len(text):
        return words
    return [_NUMBERS[min(len(word), 4)] if word.isdigit() else word for word in words]


def _shape(raw: bytes, text: bytes) -> list[int]:
    """Coarse facts about the bytes, each as a row. Steps are half octaves of a count."""
    size = len(raw)
    count = raw.count
    digits = size - len(raw.translate(None, _DIGITS))
    upper = size - len(raw.translate(None, _UPPER))
    spaces = count(b" ")
    last = raw.rstrip()[-1:]
    opens = b"A" if raw[:1].isupper() else b"a"
    asks = b"%d" % min(2, count(b"?"))
    length = b"L%d" % _octaves(size, 2)
    options = b"o%d" % min(12, len(_OPTION.findall(text)))
    named = (
        length,
        options,
        options + length,
        b"e" + last,
        b"q" + asks,
        last + opens + asks,
        length + opens + last,
    )
    return [
        *_hashed(named),
        _SIZE[(_octaves(size, 4) + 1) // 2],
        _DIGIT_STEPS[min(8, _octaves(digits, 2))],
        _DIGIT_SHARE[20 * digits // max(1, size)],
        _UPPER_SHARE[min(10, 40 * upper // max(1, size))],
        _LINES[min(8, _octaves(count(b"\n"), 2))],
        _DOLLARS[min(4, count(b"$"))],
        _BACKSLASHES[min(4, count(b"\\"))],
        _SENTENCES[min(5, count(b". "))],
        _COMMAS[min(6, count(b","))],
        _WIDTH[min(24, 2 * size // (spaces + 1))],
    ]


def _octaves(number: int, steps: int) -> int:
    """log2(1 + number) in `steps` per octave, by whole numbers: exact on every machine."""
    power: int = (number + 1) ** steps
    return power.bit_length() - 1
