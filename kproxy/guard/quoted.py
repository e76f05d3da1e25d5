"""A string of text that is nearly JSON goes in; the string as JSON has it comes out.

The hard case is a quote inside a string that nobody escaped. Whether a quote ends the string is
told by what follows it: behind a name a colon, behind a value a bracket, or a comma with another
member or item behind that. Any other quote is part of the text, if it looks like it: such quotes
come in pairs around words, or are an apostrophe inside one. Where that reading leads to a string
that swallows the next member, or to no end at all, it is `Unclear`.
"""

import re
from typing import NamedTuple

__all__ = [
    "QUOTES",
    "InKey",
    "InList",
    "InObject",
    "Quoted",
    "TooManyEdits",
    "Unclear",
    "read_quoted",
]

_CLOSERS = {
    '"': '"', "'": "'", "`": "`",
    "\u201c": "\u201c\u201d\"", "\u201d": "\u201c\u201d\"", "\u201e": "\u201c\u201d\"",
    "\u2018": "\u2018\u2019'", "\u2019": "\u2018\u2019'",
}  # fmt: skip
QUOTES = frozenset(_CLOSERS)
"""Characters with which models begin a string; each ends with what `_CLOSERS` has for it."""

_Q = "[\"'`\u201c\u201d\u2018\u2019]"
_S = r"\s{0,64}+"
_NAME = rf"(?:{_Q}[^\"'`\u201c\u201d\u2018\u2019\n]{{0,200}}{_Q}|[\w$-]{{1,200}}){_S}:"
_END = r"(?:[}\]]|\Z|//|/\*|```)"


class InKey:
    """A name in an object."""

    ends = re.compile(rf"{_S}[:=\[{{]").match


class InObject:
    """A value in an object."""

    ends = re.compile(rf"{_S}(?:{_END}|,{_S}(?:{_END}|,|#|{_NAME})|(?<=[\s\"']){_NAME})").match


class InList:
    """An item of a list."""

    ends = re.compile(
        rf"{_S}(?:{_END}|,{_S}(?:{_END}|,|#|{_Q}|[\[{{0-9-]|(?:true|false|null|None|True|False)\b)"
        rf"|(?<=\s){_Q}(?=[^\s,:\]}}]))"
    ).match


class Unclear(Exception):
    """Where the string ends cannot be known."""


class TooManyEdits(Unclear):
    """It has more places to be mended than were to be looked at."""


class Quoted(NamedTuple):
    """`json` is the string with its quotes, `end` the place behind it, `done` what was mended, in
    how many places."""

    json: str
    end: int
    done: tuple[str, ...]
    edits: int


_ESCAPES = {
    character: f"\\u{character:04x}" for character in range(0x20)
} | {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f]")
_PLAIN = {
    quote: re.compile(
        rf"[^\\\"{closers}]*+(?:\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{{4}})[^\\\"{closers}]*+)*+"
    ).match
    for quote, closers in _CLOSERS.items()
}
_HEX = re.compile(r"\\x([0-9a-fA-F]{2})").match
_ON_ONE_LINE = re.compile(r"([^\n]*?)\s*+((?:[}\]]\s*+)*+)\Z").match
_IN_WORD = re.compile(r"\w'\w|\w\u2019\w").match
_WORDS = re.compile(r"(?=[^\W\d])(?!(?:true|false|null)\Z)[^`\n]*[^`\"',:\n]").fullmatch
_MEMBER = re.compile(rf"{_S}:").match


def read_quoted(
    text: str,
    at: int,
    place: type[InKey] | type[InObject] | type[InList],
    expected: str,
    most: int,
) -> Quoted:
    """The string whose quote stands at `at`. Raises Unclear.

    `most`: places that are mended. `expected` are the brackets that would close everything: of a
    string without an end they are what stands behind it.
    """
    quote, begin = text[at], at + 1
    done: dict[str, None] = {} if quote == '"' else {"quotes": None}
    pieces: list[str] = []
    inner = 0  # quotes inside, which nobody has escaped
    for edits in range(most):
        plain = _PLAIN[quote](text, at if pieces else begin)
        assert plain is not None
        pieces.append(plain[0])
        at = plain.end()
        if at >= len(text):
            if inner or place is InKey:
                raise Unclear
            return _unended("".join(pieces), at, expected, done)
        found = text[at]
        if found == "\\":
            said, at = _escape(text, at, quote)
            pieces.append(said)
            done["escapes" if said != "'" else "quotes"] = None
        elif found not in _CLOSERS[quote]:
            if place is not InKey and _MEMBER(text, at + 1):
                raise Unclear
            pieces.append('\\"')
            at += 1
        elif place.ends(text, at + 1) and inner % 2 == 0:
            return Quoted(_quote("".join(pieces), done), at + 1, tuple(done), edits)
        else:
            if place is not InKey and _MEMBER(text, at + 1):
                raise Unclear  # it would swallow a name
            if not _IN_WORD(text, at - 1):
                _check_pair(text, at, opens=inner % 2 == 0, first=at == begin)
                inner += 1
            pieces.append('\\"' if found == '"' else found)
            done["quotes"] = None
            at += 1
    raise TooManyEdits


def _check_pair(text: str, at: int, *, opens: bool, first: bool) -> None:
    """Raise Unclear unless the quote there looks like the one that opens, or closes, a pair."""
    before, behind = text[at - 1], text[at + 1 : at + 2]
    if opens:
        good = (first or before.isspace() or before in "([-\u2014>") and not behind.isspace()
    else:
        good = not before.isspace()
    if not good:
        raise Unclear


def _escape(text: str, at: int, quote: str) -> tuple[str, int]:
    """What an escape that JSON does not know stands for, and the place behind it."""
    following = text[at + 1 : at + 2]
    if following == "'" or (following in QUOTES and following):
        return following, at + 2
    if (code := _HEX(text, at)) is not None:
        return f"\\u00{code[1]}", code.end()
    if following == "\n":
        return "", at + 2  # a line that goes on, as in Python and ECMAScript
    return "\\\\", at + 1


def _quote(inside: str, done: dict[str, None]) -> str:
    if _CONTROL.search(inside):
        done["escapes"] = None
        inside = inside.translate(_ESCAPES)
    return f'"{inside}"'


def _unended(inside: str, end: int, expected: str, done: dict[str, None]) -> Quoted:
    """A string that nobody has closed, before the brackets at the end of the text."""
    match = _ON_ONE_LINE(inside)
    if match is None or "".join(match[2].split()) != expected or not _WORDS(match[1]):
        raise Unclear  # the text was cut inside it, or it is no text
    done |= {"quotes": None}
    return Quoted(_quote(match[1], done), end, tuple(done), 1)
