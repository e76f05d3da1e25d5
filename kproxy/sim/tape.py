"""A seed and a jitter in; a long tape of words and of waiting times out, made once per server.

An answer is a stretch of the tape, chosen by the request's digest. So an answer costs two slices
instead of a random choice per word, and the words are escaped for JSON once instead of per request:
this is what lets one process outrun the proxy in front of it.

Some pieces are awkward on purpose: letters of two, three and four bytes, quotes, backslashes, line
ends and tabs. Who relays them has to keep bytes and escapes whole.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

import orjson

from kproxy.sim.chance import Chance

__all__ = ["Tape", "escape"]

_SIZE = 2048  # words before the text repeats; 10 ms to make, and longer than most answers

_PLAIN = """
    the a of to and in that with for on as by from this each one it is are was can may will
    route model token stream answer prompt request price cost time first last small large
    open plain quick quiet careful simple honest steady common useful measured known
    river harbour window garden letter number question reason result example table
    line word page light morning evening winter engine signal bridge market station
    reads keeps sends finds makes asks shows turns holds needs leaves returns follows
    when where because although before after between without under over again once
    not only also still never always often almost perhaps rather quite enough more less
"""
_WORDS = tuple(_PLAIN.split())
_AWKWARD = (
    "naïve", "café", "Straße", "señor", "Ærø", "данные", "ответ", "東京", "回答", "한국어", "नमस्ते",
    "€5", "½", "—", "“quoted”", '"plain"', "C:\\temp", "<b>", "&amp;", "🙂", "👩‍🚀", "a\tb",
)  # fmt: skip

T = TypeVar("T")


def escape(piece: str) -> bytes:
    """The piece as it stands between the quotes of a JSON string."""
    return orjson.dumps(piece)[1:-1]


class Tape:
    """Words, the same words escaped, and the waiting times between them.

    `pieces[i]` and `escaped[i]` belong together; every piece but a paragraph's first one begins
    with its own space. `elapsed` counts in units of the median gap.
    """

    def __init__(self, seed: int, jitter: float) -> None:
        chance = Chance(seed)
        pieces = _write(chance)
        self.pieces = pieces * 2  # a stretch from any place needs no wrapping up to _SIZE words
        self.escaped = tuple(escape(piece) for piece in pieces) * 2
        # Log-normal with median 1: latencies are skewed, and a sum of them never runs backwards.
        self.factors = tuple(math.exp(jitter * chance.normal()) for _ in range(_SIZE))
        self._elapsed = tuple(accumulate(self.factors * 2, initial=0.0))

    def place(self, digest: int) -> int:
        """Where on the tape a request's stretch begins."""
        return digest % _SIZE

    def text(self, place: int, count: int) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
        """`count` pieces from there, plain and escaped."""
        return _stretch(self.pieces, place, count), _stretch(self.escaped, place, count)

    def waits(self, place: int, count: int) -> list[float]:
        """When each of `count` tokens comes after the first, in median gaps; starts with 0."""
        if place + count <= 2 * _SIZE:
            base = self._elapsed[place]
            return [elapsed - base for elapsed in self._elapsed[place : place + count]]
        rest = count - 1
        gaps = _stretch(self.factors * 2, place, rest)
        return list(accumulate(gaps, initial=0.0))


def _stretch(tape: tuple[T, ...], place: int, count: int) -> tuple[T, ...]:
    """`count` items from `place` of a tape that holds its _SIZE items twice."""
    if place + count > 2 * _SIZE:
        tape = tape[:_SIZE] * (count // _SIZE + 2)
    return tape[place : place + count]


def _write(chance: Chance) -> tuple[str, ...]:
    """The words in sentences and paragraphs."""
    pieces: list[str] = []
    left_in_sentence = 0
    left_in_paragraph = 0
    while len(pieces) < _SIZE:
        begins = left_in_sentence == 0
        if begins:
            left_in_sentence = 5 + chance.below(9)
            left_in_paragraph -= 1
        word = _choose(chance, _AWKWARD if chance.below(12) == 0 else _WORDS)
        lead = " "
        if left_in_paragraph < 0:
            left_in_paragraph = 3 + chance.below(4)
            lead = "\n\n"
        left_in_sentence -= 1
        stop = "." if left_in_sentence == 0 else ""
        pieces.append(lead + (word.capitalize() if begins else word) + stop)
    return tuple(pieces)


def _choose(chance: Chance, words: Sequence[str]) -> str:
    return words[chance.below(len(words))]
