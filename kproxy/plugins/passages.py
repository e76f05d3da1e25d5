"""A text and a question in, the passages of the text that answer to the question out.

Ranked by bm25 (Robertson and Zaragoza, 2009) over the paragraphs of this one text. Pure; it takes
some 0.1 s for a megabyte, so it runs in a thread, paragraph by paragraph, and never holds the
interpreter for long.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator

__all__ = ["best_passages", "paragraphs", "terms"]

K1 = 1.2  # how soon more of the same word stops counting: the usual value
B = 0.75  # how much a long paragraph is held against it: likewise
SHORT = 200  # characters: a shorter paragraph (dialogue) goes on into the next
LONG = 1_200  # characters: a longer one is cut at a line's end

_WORD = re.compile(r"[^\W_]+")
_BREAK = re.compile(r"\n[ \t]*\n\s*")
_MOST = 16_384  # characters that are looked at in one go
# What a question is made of and no passage is about.
_FILLING = """
    a about after all also am an and any are as at be because been before being between book books
    but by can chapter could did do does explain find for from give had has have he her here him his
    how i if in into is it its me my no not novel of on one or our out passage please quote say says
    she should show so some story summarize summary tell text than that the their them then there
    these they this those through to up us was we were what when where which who whom whose why will
    with work works would write written wrote you your
"""
_STOP = frozenset(_FILLING.split())


def terms(text: str) -> list[str]:
    """The words that say what a text is about, folded; a plural `s` is dropped."""
    words = (word.casefold() for word in _WORD.findall(text))
    return [_stem(word) for word in words if word not in _STOP and len(word) > 1]


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def paragraphs(text: str) -> Iterator[str]:
    """The text in pieces of `SHORT` to `LONG` characters, where it allows; single-spaced."""
    held = ""
    for found in _stretches(text):
        held = f"{held} {' '.join(found.split())}".strip()
        while len(held) > LONG:
            cut = held.rfind(". ", SHORT, LONG) + 1 or held.rfind(" ", SHORT, LONG)
            cut = LONG if cut <= 0 else cut
            yield held[:cut].strip()
            held = held[cut:].strip()
        if len(held) >= SHORT:
            yield held
            held = ""
    if held:
        yield held


def _stretches(text: str) -> Iterator[str]:
    """What stands between empty lines, at most `_MOST` characters at a time."""
    start = 0
    for found in _BREAK.finditer(text):
        end = found.start()
        yield from (text[at : min(at + _MOST, end)] for at in range(start, end, _MOST))
        start = found.end()
    yield from (text[at : at + _MOST] for at in range(start, len(text), _MOST))


def best_passages(text: str, question: str, count: int) -> list[str]:
    """The `count` best, in the order of the text. Where no word is shared: how the text begins."""
    wanted = set(terms(question))
    spelled = wanted | {f"{word}s" for word in wanted}  # so that other words cost one look-up
    pieces = list(paragraphs(text))
    counted = []
    lengths = []
    for piece in pieces:
        words = _WORD.findall(piece.casefold())
        lengths.append(len(words))
        counted.append(Counter(_stem(word) for word in words if word in spelled))
    scores = _scores(counted, lengths)
    best = sorted(range(len(pieces)), key=lambda at: (-scores[at], at))[:count]
    return [pieces[at] for at in sorted(best) if scores[at] > 0] or pieces[:1]


def _scores(counted: list[Counter[str]], lengths: list[int]) -> list[float]:
    average = sum(lengths) / len(lengths) if any(lengths) else 1.0
    spread = Counter(word for counts in counted for word in counts)
    weights = {
        word: math.log1p((len(counted) - number + 0.5) / (number + 0.5))
        for word, number in spread.items()
    }
    return [
        sum(
            weights[word] * number * (K1 + 1) / (number + K1 * (1 - B + B * length / average))
            for word, number in counts.items()
        )
        for counts, length in zip(counted, lengths, strict=True)
    ]
