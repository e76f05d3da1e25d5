"""A pattern's text goes in; the pattern of all its beginnings, and how long a match may be, out.

Problem: in a stream a match may be cut anywhere. What has come can leave only where no later text
makes it part of a match, and an engine for whole texts does not say so.

The obvious way withholds the last N characters always. A caller then reads every answer sixty
tokens late, also where nothing in it looks like a card number.

Our way: the beginnings of a match are themselves a regular language. B(r), the pattern of every
beginning of every match of r, is built from r's own text:

    one character c     c?                      (nothing, or the whole of it)
    r s                 B(r) | r B(s)
    r | s               B(r) | B(s)
    r{n,m}              r{0,m-1} B(r)           (r* B(r) where there is no end)
    an assertion        nothing: what follows is not known yet

So `B(r)` at the end of what has come, searched leftmost, is the first place that must wait. An
assertion that has text behind it is kept, since it can be judged: B(\\bx) does not hold "ax".

We read RE2's syntax as far as it is common (see re2/wiki/Syntax), and refuse the rest by name:
what we misread would let a match escape. Whoever compiles the pattern judges it, not this file.
"""

import re
from typing import NamedTuple

__all__ = ["ENDLESS", "Reach", "reach"]

ENDLESS = 1 << 30
"""The length of a match that has no longest one."""

MOST = 512
"""Characters of a pattern. B(r) nests once for each of them, and RE2 allows 1,000 levels."""

_GROUP = re.compile(r"\(\?(?:P?<[A-Za-z_][A-Za-z0-9_]*>|([imsU]*)(?:-([imsU]+))?([:)]))")
_REPEAT = re.compile(r"([*+?]|\{([0-9]{1,4})(?:(,)([0-9]{1,4})?)?\})\??")
_ESCAPE = re.compile(
    r"\\(?:x\{[0-9A-Fa-f]{1,6}\}|x[0-9A-Fa-f]{2}|0[0-7]{0,2}|[pP]\{\^?[A-Za-z_]+\}|[pP][A-Z]"
    r"|[dDsSwWaftnrv]|[^\sA-Za-z0-9])"
)
_CLASS = re.compile(
    r"\[\^?\]?(?:\[:\^?[a-z]+:\]|\\[pP]\{\^?[A-Za-z_]+\}|\\x\{[0-9A-Fa-f]{1,6}\}|\\[^QEC]|[^\]\\])*\]"
)
_ASSERTION = re.compile(r"[\^$]|\\[AbBz]")


class Reach(NamedTuple):
    """`beginnings` is B(r); `shortest` and `longest` are of a match, in characters."""

    beginnings: str
    shortest: int
    longest: int


class _Node(NamedTuple):
    """A part of the pattern: its text, which stands alone, its beginnings, and its lengths."""

    text: str
    begun: str
    shortest: int
    longest: int


_NOTHING = _Node("", "", 0, 0)


def reach(pattern: str) -> Reach:
    """Read a pattern. Raises ValueError for what is not understood here."""
    if len(pattern) > MOST:
        raise ValueError(f"is longer than {MOST} characters")
    reader = _Reader(pattern)
    node = reader.alternatives("")
    if reader.at < len(pattern):
        raise ValueError(f"has a bracket too many at character {reader.at + 1}")
    return Reach(node.begun, node.shortest, node.longest)


class _Reader:
    """Recursive descent over the text. Flags that a group sets are written to each part."""

    def __init__(self, pattern: str) -> None:
        self.at = 0
        self._pattern = pattern

    def alternatives(self, flags: str) -> _Node:
        """Up to the bracket that closes this group, or the end."""
        found: list[_Node] = []
        while True:
            node, flags = self._sequence(flags)
            found.append(node)
            if self._ahead() != "|":
                break
            self.at += 1
        if len(found) == 1:
            return found[0]
        return _Node(
            _group("|".join(node.text for node in found)),
            _group("|".join(node.begun for node in found)),
            min(node.shortest for node in found),
            max(node.longest for node in found),
        )

    def _sequence(self, flags: str) -> tuple[_Node, str]:
        """Parts one behind the other; and the flags as they stand behind them."""
        parts: list[_Node] = []
        while self._ahead() not in ("", "|", ")"):
            group = _GROUP.match(self._pattern, self.at)
            if group is not None and group[3] == ")":
                self.at = group.end()
                flags = _changed(flags, group[1], group[2] or "")
                continue
            parts.append(self._repeated(self._part(flags)))
        node = _NOTHING
        for part in reversed(parts):
            node = _joined(part, node)
        return node, flags

    def _part(self, flags: str) -> _Node:
        char = self._ahead()
        if char == "(":
            return self._bracketed(flags)
        if char in "*+?":
            raise ValueError(f"repeats nothing at character {self.at + 1}")
        for form, length in ((_ASSERTION, 0), (_CLASS, 1), (_ESCAPE, 1)):
            match = form.match(self._pattern, self.at)
            if match is not None:
                self.at = match.end()
                return _plain(_flagged(match[0], flags), length)
        if char in "\\[":
            found = self._pattern[self.at : self.at + 2]
            raise ValueError(f"has {found!r} at character {self.at + 1}, which is not understood")
        self.at += 1
        return _plain(_flagged(char if char != "{" else "\\{", flags), 1)

    def _bracketed(self, flags: str) -> _Node:
        opened, group = self.at, _GROUP.match(self._pattern, self.at)
        if group is not None:
            self.at = group.end()
            flags = _changed(flags, group[1] or "", group[2] or "")
        elif self._pattern.startswith("(?", self.at):
            raise ValueError(f"has a group at character {opened + 1} that RE2 does not know")
        else:
            self.at += 1
        node = self.alternatives(flags)
        if self._ahead() != ")":
            raise ValueError(f"does not close the bracket at character {opened + 1}")
        self.at += 1
        return node._replace(text=_group(node.text), begun=_group(node.begun))

    def _repeated(self, node: _Node) -> _Node:
        while (match := _REPEAT.match(self._pattern, self.at)) is not None:
            self.at = match.end()
            least, most = _bounds(match)
            node = _times(node, least, most)
        return node

    def _ahead(self) -> str:
        return self._pattern[self.at : self.at + 1]


def _group(text: str) -> str:
    return f"(?:{text})"


def _flagged(text: str, flags: str) -> str:
    return f"(?{flags}:{text})" if flags else text


def _changed(flags: str, on: str, off: str) -> str:
    return "".join(sorted((set(flags) | set(on)) - set(off)))


def _plain(text: str, length: int) -> _Node:
    return _Node(text, f"(?:{text})?" if length else "", length, length)


def _joined(first: _Node, rest: _Node) -> _Node:
    """B(r s). Where r is one character or an assertion, B(r) is nothing or is r itself."""
    simple = first.longest == 0 or first.begun == f"(?:{first.text})?"
    if rest is _NOTHING:
        begun = first.begun
    elif simple:
        begun = f"(?:{first.text}{rest.begun})?"
    else:
        begun = f"(?:{first.text}{rest.begun}|{first.begun})"
    return _Node(
        first.text + rest.text,
        begun,
        first.shortest + rest.shortest,
        min(ENDLESS, first.longest + rest.longest),
    )


def _bounds(match: re.Match[str]) -> tuple[int, int]:
    sign, least, comma, most = match.groups()
    if least is None:
        return {"*": (0, ENDLESS), "+": (1, ENDLESS), "?": (0, 1)}[sign]
    low = int(least)
    high = low if comma is None else ENDLESS if most is None else int(most)
    if high < low:
        raise ValueError(f"repeats {sign}, which is no range")
    return low, high


def _times(node: _Node, least: int, most: int) -> _Node:
    if most == 0:
        return _NOTHING._replace(text="(?:)")
    times = f"{{{least},}}" if most == ENDLESS else f"{{{least},{most}}}"
    before = "*" if most == ENDLESS else f"{{0,{most - 1}}}"
    text = _group(node.text)
    longest = 0 if node.longest == 0 else min(ENDLESS, node.longest * most)
    begun = _group(node.begun) if most == 1 else f"(?:{text}{before}{_group(node.begun)})"
    return _Node(f"{text}{times}", begun, node.shortest * least, longest)
