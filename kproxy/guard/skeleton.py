"""The common mends, all at once: a text from its first bracket to its last in, JSON or None out.

The careful way (`mend.py`) looks at each damaged place by itself, at some microseconds each, and a
model that writes Python's literals writes thousands of them. So what can be told without knowing
where in the value one is, is done first and for the whole text: the strings are cut out, and in the
skeleton that is left, a comma before a bracket, a comment, a name without quotes and a literal of
another language are each one substitution. Where the result is JSON the reading was right, since
nothing but punctuation was added; where it is not, nothing has happened, and `mend.py` looks.
"""

import re
from typing import NamedTuple

from kproxy.guard.grammar import is_json

__all__ = ["Quick", "quickly"]

_STRINGS = re.compile(r"(\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\"|'[^'\\]*+(?:\\.[^'\\]*+)*+')", re.DOTALL)
_MARK = "\x00"
_COMMENT = re.compile(r"//[^\n]*+|#[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/")
_COMMA = re.compile(r",([ \t\r\n]*+[}\]])")
_NAME = re.compile(r"[A-Za-z_$][\w$]*+(?=[ \t\r\n]*+:)")
_WORDS = {
    "True": "true", "TRUE": "true", "False": "false", "FALSE": "false", "None": "null",
    "NULL": "null", "Null": "null", "undefined": "null", "NaN": "null", "-Infinity": "null",
    "+Infinity": "null", "Infinity": "null",
}  # fmt: skip
_WORD = re.compile(rf"(?<![\w\"])(?:{'|'.join(map(re.escape, _WORDS))})(?![\w\"])")
_CONTROL = re.compile(r"[\x00-\x1f]")
_CONTROLS = {code: f"\\u{code:04x}" for code in range(0x20)} | {
    8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"
}  # fmt: skip
_INSIDE_SINGLE = re.compile(r"\\(.)|\"", re.DOTALL)


class Quick(NamedTuple):
    """JSON, and the names of what was mended."""

    text: str
    done: tuple[str, ...]


def quickly(text: str) -> Quick | None:
    """The text as JSON with the common mends; None where they are not enough."""
    if is_json(text):
        return Quick(text, ())
    if _MARK in text:
        return None
    parts = _STRINGS.split(text)
    skeleton, strings = _MARK.join(parts[::2]), parts[1::2]
    done: dict[str, None] = {}
    skeleton = _mended(skeleton, done)
    strings = _quoted(strings, done)
    parts[::2] = skeleton.split(_MARK)
    parts[1::2] = strings
    mended = "".join(parts)
    return Quick(mended, tuple(done)) if is_json(mended) else None


def _mended(skeleton: str, done: dict[str, None]) -> str:
    if "/" in skeleton or "#" in skeleton:
        skeleton = _noted("comments", skeleton, _COMMENT.sub(_marks, skeleton), done)
    skeleton = _noted("commas", skeleton, _COMMA.sub(r"\1", skeleton), done)
    skeleton = _noted("quotes", skeleton, _NAME.sub(r'"\g<0>"', skeleton), done)
    if "quotes" in done:
        return _noted("literals", skeleton, _WORD.sub(_json_word, skeleton), done)
    words = skeleton
    for word, said in _WORDS.items():  # part of a longer word, it is no JSON before nor after
        words = words.replace(word, said)
    return _noted("literals", skeleton, words, done)


def _marks(comment: re.Match[str]) -> str:
    """A comment goes, and the places of its strings stay: then the result is no JSON."""
    return _MARK * comment[0].count(_MARK)


def _json_word(word: re.Match[str]) -> str:
    return _WORDS[word[0]]


def _noted(name: str, before: str, after: str, done: dict[str, None]) -> str:
    if after != before:
        done[name] = None
    return after


def _quoted(strings: list[str], done: dict[str, None]) -> list[str]:
    """The strings as JSON has them."""
    joined = "".join(strings)
    if "'" in joined and any(one[0] == "'" for one in strings):
        done["quotes"] = None
        strings = [_doubled(one) if one[0] == "'" else one for one in strings]
    if not joined.isprintable() and _CONTROL.search(joined):
        done["escapes"] = None
        strings = [one.translate(_CONTROLS) if _CONTROL.search(one) else one for one in strings]
    return strings


def _doubled(string: str) -> str:
    inside = string[1:-1]
    if "\\" in inside or '"' in inside:
        inside = _INSIDE_SINGLE.sub(_inside, inside)
    return f'"{inside}"'


def _inside(match: re.Match[str]) -> str:
    if match[1] is None:
        return '\\"'
    if match[1] == "'":
        return "'"
    return match[0] if match[1] in '"\\/bfnrtu' else "\\" + match[0]
