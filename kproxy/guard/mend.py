"""Text that is nearly JSON goes in, with the place where a value begins; JSON text comes out.

Problem: models write objects with a comma too many, with Python's quotes and names, with a comment
or a raw line end inside, or they stop one bracket short. What they meant is plain, and every parser
refuses it.

The obvious way is a lenient parser that makes something of anything. It turns a placeholder into a
string, a missing value into an empty one and two halves into one whole, and the caller, who would
have seen an error, sees a wrong answer. It also builds and encodes everything anew, at 2 us a byte.

Our way: one pass that copies. Stretches that are JSON already are found by one expression each and
copied as they are, numbers with all their digits; only what stands between them is looked at, and
each mend is one of a short list. What is on no list is `Hopeless`:

1. Nothing is added but punctuation: commas, colons, quotes, brackets, backslashes.
2. Only words that mean one thing are replaced: `True`, `None`, and like ECMAScript's JSON.stringify
   `NaN`, `Infinity` and `undefined`, which are null.
3. A name without a value, a word that is no literal, three dots: something is missing, and what it
   was nobody knows.
4. The end of the text, or of its fence, closes brackets behind a value. A comma there, or a string
   that is open, says that more was to come; and of two commas in a list nobody knows what stood
   between them.

Time is linear: each step takes at least one character, the expressions give nothing back once they
have it, and a look ahead is bounded. A text that is damaged in more than `MOST_STEPS` places, and
not in the ways of `skeleton.py`, is left.
"""

import re

from kproxy.guard.quoted import QUOTES, InKey, InList, InObject, TooManyEdits, Unclear, read_quoted

__all__ = ["MAX_DEPTH", "MOST_STEPS", "Hopeless", "Mender", "TooMany"]

MAX_DEPTH = 128
"""Open brackets at one time; what a caller's own parser takes is seldom deeper."""

MOST_STEPS = 10_000
"""Damaged places, and what stands between them: some 100 ms, of which a model writes no text."""

_W = r"[ \t\r\n]*+"
_STRING = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
_NUMBER = r"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?+[0-9]++)?+"
_SCALAR = rf"(?:{_STRING}|(?:{_NUMBER}|true|false|null)(?![\w.+-]))"


def _object(value: str) -> str:
    pair = rf"{_W}{_STRING}{_W}:{_W}{value}{_W}"
    return rf"\{{(?:{pair}(?:,{pair})*+|{_W})\}}"


def _list(value: str) -> str:
    return rf"\[(?:{_W}{value}{_W}(?:,{_W}{value}{_W})*+|{_W})\]"


_FLAT = rf"(?:{_SCALAR}|{_object(_SCALAR)}|{_list(_SCALAR)})"
_VALUE = rf"(?:{_SCALAR}|{_object(_FLAT)}|{_list(_FLAT)})"
_PAIR = rf"{_W}{_STRING}{_W}:{_W}{_VALUE}(?={_W}[,}}])"
_ITEM = rf"{_W}{_VALUE}(?={_W}[,\]])"

_match_pairs = re.compile(rf"{_PAIR}(?:{_W},{_PAIR})*+").match
_match_items = re.compile(rf"{_ITEM}(?:{_W},{_ITEM})*+").match
_match_space = re.compile(_W).match
_match_comma = re.compile(rf"{_W},{_W}(?=[\"{{\[0-9tfn-])").match
_match_gap = re.compile(
    r"(?:[\s\ufeff\u200b]++|,|//[^\n]*+|#[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/)*+"
).match
_match_colon = re.compile(rf"{_W}(:|=>?|(?=[{{\[]))").match
_match_name = re.compile(r"[A-Za-z_$][\w$-]*+(?=\s{0,64}(?::|=))|[0-9]++(?=\s{0,64}:)").match
_match_number = re.compile(
    r"([-+]?)([0-9](?:_?[0-9])*+|)(?:\.([0-9]*+))?([eE][-+]?[0-9]++)?(?![\w.+-])"
).match
_match_word = re.compile(
    r"(?:(true|TRUE|True)|(false|FALSE|False)"
    r"|(null|NULL|None|Null|NaN|nan|[-+]?Infinity|undefined))(?![\w.-])"
).match
_match_half = re.compile(r"[^\s\"'`{}\[\],:][^\"'`\n{}\[\],:]{0,200}+\"(?=\s{0,64}[,}\]])").match
_comments = re.compile(r"//[^\n]*+|#[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/")

_CLOSER = {"{": "}", "[": "]"}
_OPENER = {"}": "{", "]": "["}
_FENCE = "```"


class Hopeless(Exception):
    """What is meant cannot be known."""


class TooMany(Hopeless):
    """It may be known, but not in so many steps."""


class Mender:
    """One value of a text. After `run`, `result` is its JSON, `at` the place behind it, and `done`
    the names of what was mended. `begun` says whether a member or an item had been found, `torn`
    whether a bracket was met that closes another one than the last."""

    def __init__(self, text: str, at: int, steps: int = MOST_STEPS) -> None:
        self._text = text
        self.at = at
        self.steps = steps  # that are left
        self._out: list[str] = []
        self._open: list[str] = []
        self.done: dict[str, None] = {}
        self.begun = False
        self.torn = False

    @property
    def result(self) -> str:
        """The mended value."""
        return "".join(self._out)

    def run(self) -> None:
        """Read one object or list. Raises Hopeless."""
        self._bracket()
        while self._open:
            self.steps -= 1
            if self.steps < 0:
                raise TooMany
            if self._open[-1] == "{":
                self._member()
            else:
                self._item()

    def _take(self, match: re.Match[str]) -> None:
        self._out.append(match[0])
        self.at = match.end()

    def _note(self, name: str) -> None:
        self.done[name] = None

    @property
    def _over(self) -> bool:
        return self.at >= len(self._text) or self._text.startswith(_FENCE, self.at)

    def _member(self) -> None:
        if (pairs := _match_pairs(self._text, self.at)) is not None:
            self._take(pairs)
            self.begun = True
            self._after()
        elif not self._ends():
            self._name()
            colon = _match_colon(self._text, self.at)
            if colon is None:
                raise Hopeless
            if colon[1] != ":":
                self._note("colons")
            self._out.append(":")
            self.at = colon.end()
            self.begun = True
            self._value()

    def _item(self) -> None:
        if (items := _match_items(self._text, self.at)) is not None:
            self._take(items)
            self.begun = True
            self._after()
        elif not self._ends():
            self._value()

    def _ends(self) -> bool:
        """Whether nothing follows here but a closing bracket, which is taken, or the end."""
        commas = self._skip()
        if self._over:
            if commas or not self.begun:
                raise Hopeless  # more was to come, or brackets around nothing
            self._note("brackets")
            self._out += [_CLOSER[one] for one in reversed(self._open)]
            self._open.clear()
            return True
        found = self._text[self.at]
        if found not in _OPENER:
            return False
        if found != _CLOSER[self._open[-1]]:
            self._note("brackets")
            self.torn = True
            if _OPENER[found] not in self._open:
                self.at += 1  # it closes nothing
                return True
        else:
            self.at += 1
            self.begun = True
        self._out.append(_CLOSER[self._open.pop()])
        if self._open:
            self._after()
        return True

    def _skip(self) -> int:
        """Space before a member, an item or a bracket; commas and comments there go. How many
        commas there were."""
        space = _match_space(self._text, self.at)
        assert space is not None
        self._take(space)
        commas = self._gap().count(",")
        if commas:
            self._note("commas")
        return commas

    def _gap(self) -> str:
        """What stands between two tokens, without comments; it is passed over."""
        match = _match_gap(self._text, self.at)
        assert match is not None
        self.at = match.end()
        if "/" not in match[0] and "#" not in match[0]:
            return match[0]
        self._note("comments")
        return _comments.sub("", match[0])

    def _after(self) -> None:
        """Behind a value: a comma where another one follows, and none where it does not."""
        text = self._text
        if (comma := _match_comma(text, self.at)) is not None:
            self._take(comma)
            return
        space = _match_space(text, self.at)
        assert space is not None
        if text[space.end() : space.end() + 1] in ("}", "]"):
            self._take(space)
            return
        gap = self._gap()
        commas = gap.count(",")
        if commas and (self._over or (commas > 1 and self._open[-1] == "[")):
            raise Hopeless  # more was to come, or stood between
        if self._over or text[self.at] in _OPENER:
            if commas:
                self._note("commas")
            return
        if commas != 1:
            self._note("commas")
            if not gap:
                raise Hopeless  # something stands directly behind a value
        self._out.append(", ")

    def _name(self) -> None:
        text = self._text
        if text[self.at] in QUOTES:
            self._quoted(InKey)
            return
        name = _match_name(text, self.at)
        if name is None:
            raise Hopeless
        self._note("quotes")
        self._out.append(f'"{name[0]}"')
        self.at = name.end()

    def _value(self) -> None:
        self._gap_before_value()
        if self._over:
            raise Hopeless
        text, first = self._text, self._text[self.at]
        if first in _CLOSER:
            self._bracket()
            return
        if first in QUOTES:
            self._quoted(InObject if self._open[-1] == "{" else InList)
        elif (word := _match_word(text, self.at)) is not None:
            self._word(word)
        elif (number := _match_number(text, self.at)) is not None and number[0]:
            self._number(number)
        elif (half := _match_half(text, self.at)) is not None and "\\" not in half[0]:
            self._note("quotes")
            self._out.append('"')
            self._take(half)
        else:
            raise Hopeless
        self.begun = True
        self._after()

    def _gap_before_value(self) -> None:
        space = _match_space(self._text, self.at)
        assert space is not None
        self._take(space)
        if "," in self._gap():
            raise Hopeless  # a value is missing

    def _bracket(self) -> None:
        if len(self._open) >= MAX_DEPTH:
            self.begun = True  # whatever it was, what stands in it is no value of its own
            raise Hopeless
        self._open.append(self._text[self.at])
        self._out.append(self._text[self.at])
        self.at += 1

    def _word(self, word: re.Match[str]) -> None:
        said = "true" if word[1] else "false" if word[2] else "null"
        if said != word[0]:
            self._note("literals")
        self._out.append(said)
        self.at = word.end()

    def _number(self, number: re.Match[str]) -> None:
        sign, whole, part, power = number.groups()
        digits = whole.replace("_", "")
        if not (digits or part) or (len(digits) > 1 and digits.startswith("0")):
            raise Hopeless  # no digit; or a zero in front, which may be part of a name
        said = f"{sign.strip('+')}{digits or '0'}{'.' + part if part else ''}{power or ''}"
        if said != number[0]:
            self._note("numbers")
        self._out.append(said)
        self.at = number.end()

    def _quoted(self, place: type[InKey] | type[InObject] | type[InList]) -> None:
        expected = "".join([_CLOSER[one] for one in reversed(self._open)])
        try:
            found = read_quoted(self._text, self.at, place, expected, self.steps)
        except TooManyEdits:
            raise TooMany from None
        except Unclear:
            raise Hopeless from None
        self._out.append(found.json)
        for name in found.done:
            self._note(name)
        self.at = found.end
        self.steps -= found.edits
