"""A model's text and the form it was to have go in; the text to give to the caller comes out.

Contract section 10. Strict first: text that is JSON of the form asked for is never touched. Else it
is mended (`mend.py`), and what results must be of that form or nothing is changed. This file finds
where in a text the value stands, and knows when there is none, or more than one:

1. Thoughts go first, since they are drafts. Fences, prose and what is wrapped or escaped once too
   often is taken off.
2. Of several values in one text exactly one must be of the form, else nobody knows which is meant.
   Beside another value a list of plain items is none: prose has footnotes and links.
3. Where a value that has begun cannot be mended, nothing else in the text is taken instead: it
   would be a piece of it. And no value is taken beside which a name of a member stands, for then it
   is one itself.
4. A text that was cut (finish reason `length`) is not completed: the caller must see that it was.

Pure and bounded: linear in the text, at most `MAX_TEXT` of it. What a schema adds is said by
`check_work`, before anything is done.
"""

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

import orjson

from kproxy.guard.coerce import coerced
from kproxy.guard.grammar import is_json, value_of
from kproxy.guard.mend import MOST_STEPS, Hopeless, Mender, TooMany
from kproxy.guard.schemas import Schema
from kproxy.guard.skeleton import quickly

__all__ = ["MAX_TEXT", "TOO_MANY", "Form", "Healed", "check_work", "heal", "is_valid", "merged"]

MAX_TEXT = 1_048_576
"""Characters of a text that are looked at; a longer one passes as it is."""

CUT = frozenset({"length", "content_filter"})
"""Finish reasons of a text that is not whole."""

TOO_MANY = "too_many"
"""Why a text was not healed that is damaged in more places than were to be looked at."""

MOST_STARTS = 64  # brackets at which a value is looked for
MOST_COERCED = 65_536  # characters of a value whose types are corrected

_THOUGHTS = re.compile(
    r"(?:\s*+<(think|thinking|thought|reasoning)>.*?</\1>)++", re.DOTALL | re.IGNORECASE
).match
_THOUGHTS_END = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE).search
_THOUGHTS_BEGIN = re.compile(r"\s*<(?:think|thinking|thought|reasoning)>", re.IGNORECASE).match
_FENCE = re.compile(r"```[\w+.-]*")
_EMPTY = re.compile(r"\{\s*\}|\[\s*\]").fullmatch
_START = re.compile(r"[{\[]")
_MEMBER_NAME = re.compile(r"[\"'\u201d]\s{0,64}:").search
_BEGUN = re.compile(r"\s*+[\"\u201c\u201d]").match
_GOES_ON = re.compile(r"\s*+,|[\w\"'+-]").match
_ESCAPED = re.compile(r"\s*+(?:\"(?=[\s{\[]|\\[nrt\"])|(?=[{\[]))(?:[\s{\[]|\\[nrt])*+\\\"").match
_MEMBER = re.compile(r"\s*+(?:```\w*+\s*+)?(\"[^\"\\\n]{0,200}\"\s{0,64}:)").match


class Form(NamedTuple):
    """What a text is to be. `arguments`: of a tool call, where nothing at all means no argument."""

    schema: Schema | None = None
    arguments: bool = False

    @property
    def checks(self) -> bool:
        """Whether there is a schema, and something that knows what fits it."""
        return self.schema is not None and self.schema.checks

    def takes(self, text: str) -> bool:
        """Whether JSON has this form. See `check_work` first."""
        first = text.lstrip(" \t\r\n")[:1]
        if self.arguments and first != "{":
            return False
        if self.schema is None:
            return first in ("{", "[")
        try:
            return not self.schema.checks or self.schema.fits(value_of(text))
        except (ValueError, RecursionError):
            return False


class Healed(NamedTuple):
    """`healed` is None where the text was good as it was, False where nothing could be done.

    `done` are the names of what was mended, `why` says what stands against it.
    """

    text: str
    healed: bool | None = None
    done: tuple[str, ...] = ()
    why: str | None = None


def merged(reports: Iterable[Healed]) -> Healed | None:
    """What became of several texts of one answer, without their text; None: all were good."""
    told = [one for one in reports if one.healed is not None]
    if not told:
        return None
    why = next((one.why for one in told if one.healed is False), None)
    done = tuple(dict.fromkeys(name for one in told for name in one.done))
    return Healed("", healed=why is None, done=done, why=why)


class _Found(NamedTuple):
    text: str
    done: tuple[str, ...]


def check_work(text: str, form: Form) -> int:
    """Steps that a check by the form's schema may take, at most; 1,000,000 take some 5 ms."""
    return 0 if form.schema is None or not form.checks else form.schema.work(text)


def is_valid(text: str, form: Form) -> bool:
    """Whether nothing need be done."""
    return is_json(text) and form.takes(text)


def heal(text: str, finish: str, form: Form, steps: int = MOST_STEPS) -> Healed:
    """See the module. Raises nothing. `steps`: places that are looked at one by one."""
    if len(text) > MAX_TEXT:
        return Healed(text, healed=False, why="too_large")
    strict = is_json(text)
    if strict and form.takes(text):
        return Healed(text)
    if finish in CUT:
        return Healed(text, healed=False, why=finish)
    if form.arguments and not text.strip():
        return _empty(text, form)
    try:
        found = _candidates(text, steps)
    except TooMany:
        return Healed(text, healed=False, why=TOO_MANY)
    except (Hopeless, ValueError, RecursionError):
        return Healed(text, healed=False, why="schema" if strict else "not_json")
    chosen, why = _choose(found, form)
    if chosen is None:
        return Healed(text, healed=False, why="schema" if strict else why)
    unchecked = form.schema is not None and not form.checks
    done = (*chosen.done, "unchecked") if unchecked else chosen.done
    return Healed(chosen.text, healed=True, done=done)


def _empty(text: str, form: Form) -> Healed:
    if form.takes("{}"):
        return Healed("{}", healed=True, done=("empty",))
    return Healed(text, healed=False, why="schema")


def _candidates(text: str, steps: int) -> list[_Found]:
    """Every value that stands in the text by itself. Raises Hopeless."""
    done: tuple[str, ...] = ()
    text = text.lstrip("\ufeff")
    body = _without_thoughts(text, steps)
    if body != text:
        done += ("thinking",)
    member = _MEMBER(body)
    if member is not None:
        mended = _mended("{" + body[member.start(1) :], steps, "brackets")
        return [_named(body, member.start(1), mended, done)]
    if _ESCAPED(body) is None:
        return _scan(body, done, steps)
    return _scan(_unescaped(body.strip()), (*done, "escapes"), steps)


def _without_thoughts(text: str, steps: int) -> str:
    if "</" not in text and "<" not in text[:64]:
        return text
    thoughts = _THOUGHTS(text)
    if thoughts is not None:
        return text[thoughts.end() :]
    if _THOUGHTS_BEGIN(text):
        raise Hopeless  # and never came to an end of them
    first, end = _START.search(text), _THOUGHTS_END(text)
    if end is None or (first is not None and _is_inside(text, first.start(), end.start(), steps)):
        return text
    return text[end.end() :]


def _is_inside(text: str, start: int, at: int, steps: int) -> bool:
    """Whether the value that starts there reaches beyond `at`."""
    mender = Mender(text, start, steps)
    try:
        mender.run()
    except Hopeless:
        return False
    return mender.at > at


class _Mended(NamedTuple):
    found: _Found
    end: int


def _scan(text: str, done: tuple[str, ...], steps: int) -> list[_Found]:
    start = _START.search(text)
    if start is None:
        return []
    end = max(text.rfind("}"), text.rfind("]")) + 1
    quick = quickly(text[start.start() : end]) if end else None
    if quick is None:
        return _scan_closely(text, done, steps)
    if _MEMBER_NAME(text[: start.start()]) or _MEMBER_NAME(text[end:]):
        raise Hopeless
    return [_named(text, start.start(), _Mended(_Found(*quick), end), done)]


def _scan_closely(text: str, done: tuple[str, ...], steps: int) -> list[_Found]:
    found: list[_Found] = []
    at, starts = 0, 0
    while (start := _START.search(text, at)) is not None:
        starts += 1
        if starts > MOST_STARTS:
            raise Hopeless
        mender = Mender(text, start.start(), steps)
        try:
            mender.run()
        except Hopeless:
            if mender.begun or _BEGUN(text, start.end()):
                raise
            at = max(start.end(), mender.at)  # there were but brackets
            continue
        steps = mender.steps
        if _MEMBER_NAME(text, at, start.start()):
            raise Hopeless
        at = mender.at
        value = _value(mender, ())
        if not _is_plain_list(value.text) and (_GOES_ON(text, at) or mender.torn):
            _check_over(text, at)
        found.append(_named(text, start.start(), _Mended(value, at), done))
    if _MEMBER_NAME(text, at):
        raise Hopeless
    return found


def _check_over(text: str, at: int) -> None:
    """Raise Hopeless unless nothing but brackets and the end of a fence stands there."""
    if text[at:].strip("}])`; \t\r\n"):
        raise Hopeless


def _mended(text: str, steps: int, name: str) -> _Mended:
    mender = Mender(text, 0, steps)
    mender.run()
    return _Mended(_value(mender, (name,)), mender.at)


def _value(mender: Mender, more: tuple[str, ...]) -> _Found:
    """What was mended must be JSON by the letter. Raises Hopeless."""
    result = mender.result
    if not is_json(result):
        raise Hopeless
    return _Found(result, tuple(dict.fromkeys((*mender.done, *more))))


def _named(text: str, start: int, mended: _Mended, done: tuple[str, ...]) -> _Found:
    """The value with the names of what stood around it."""
    found = mended.found
    behind = text[mended.end :].strip("}] \t\r\n;")
    before = text[:start].strip()
    if behind.strip("`") or before:
        fenced = _FENCE.search(before) or _FENCE.search(behind)
        if fenced:
            done += ("fences",)
        if _FENCE.sub("", before).strip() or behind.replace("```", "").strip():
            done += ("prose",)
    elif behind:
        done += ("fences",)
    elif text[mended.end :].strip():
        done += ("brackets",)
    return found._replace(done=tuple(dict.fromkeys((*done, *found.done))))


def _unescaped(text: str) -> str:
    r"""What stands in JSON that is inside a string, `"{\"a\": 1}"`, or was and has lost its quotes.

    Raises Hopeless.
    """
    try:
        inner = orjson.loads(text if text.startswith('"') else f'"{text}"')
    except orjson.JSONDecodeError:
        raise Hopeless from None
    if not isinstance(inner, str):
        raise Hopeless
    return inner


def _choose(found: list[_Found], form: Form) -> tuple[_Found | None, str]:
    """The one value that is meant; else None, and why."""
    if len(found) > 1:
        found = [one for one in found if not _is_plain_list(one.text)] or found
    found = [one for one in found if not ("prose" in one.done and _EMPTY(one.text))]
    fitting = [one for one in found if form.takes(one.text)]
    if not fitting:
        fitting = [fixed for one in found if (fixed := _retyped(one, form)) is not None]
    if len(fitting) > 1 and any(value_of(one.text) != value_of(fitting[0].text) for one in fitting):
        return None, "ambiguous"
    return (fitting[-1], "") if fitting else (None, "schema" if found else "not_json")


def _is_plain_list(text: str) -> bool:
    if not text.startswith("["):
        return False
    if "{" not in text and "[" not in text[1:]:
        return True
    value = value_of(text)
    return isinstance(value, list) and not any(isinstance(one, dict | list) for one in value)


def _retyped(found: _Found, form: Form) -> _Found | None:
    """The value with `"12"` as 12 where its schema wants a number, and the like."""
    schema = form.schema
    if schema is None or not schema.checks or len(found.text) > MOST_COERCED:
        return None
    try:
        value = json.loads(found.text)
        changed = coerced(value, schema.wrong_types(value))
        if changed is None or not schema.fits(changed):
            return None
        text = json.dumps(changed, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return _Found(text, (*found.done, "types"))
