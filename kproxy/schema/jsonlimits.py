"""A request body as bytes goes in; nothing comes out, or `Rejected` when its JSON is too large.

Size in bytes is limited elsewhere; here the shape is. A body of a few megabytes can hold more
levels than a parser has stack, or more values than the process has memory, so the shape is checked
before anything is built from it. The obvious way, a loop over every token, costs more than parsing.
Our way takes three steps, each linear and each bounded by `JsonLimits.values`:

1. Strings are cut out by splitting at the quotes, which leaves the skeleton: a tenth of a chat
   body, a few bytes of one with images.
2. Counts over the skeleton. Few brackets cannot be deep, few colons cannot be too many members.
   Nearly every body ends here.
3. Only what is still in doubt is walked: depth by taking away the innermost pairs of brackets once
   per level, members by a stack of counters, numbers one by one.

The check does not know whether the bytes are JSON at all. What it accepts may still be malformed,
and the parser says so; what it refuses is too large, malformed or not.
"""

import math
import re
from dataclasses import dataclass

from kproxy.errors import Rejected

__all__ = ["JsonLimits", "check"]

_CODE = "invalid_request_error"

_NUMBER = re.compile(rb"[0-9][-+.eE0-9]*+")
_MARKS = re.compile(rb"[{}\[\]:]")

_NUMBER_CLASSES = bytes(
    0x30 if 0x30 <= byte <= 0x39 else 0x65 if byte in b"eE" else 0x2B if byte == 0x2B else 0x20
    for byte in range(256)
)
_TO_ROUND = bytes.maketrans(b"[]{}", b"()()")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")

_DOUBLE_DIGITS = 200  # with fewer digits and an exponent below 100, no number leaves the doubles


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """The largest shape of a body that is parsed. Each limit is itself allowed.

    `values` counts commas and opened brackets outside strings, which bounds the number of values
    and so the memory that any parser needs: about 100 bytes each.
    """

    depth: int = 64  # nested objects and arrays
    digits: int = 64  # of one number, exponent included
    members: int = 10_000  # of one object
    messages: int = 10_000  # checked where messages are known, in chat.py
    values: int = 200_000


def check(body: bytes, limits: JsonLimits) -> None:
    """Pass, or raise `Rejected` 400 whose message names the limit. Linear in the body's length."""
    skeleton = _without_strings(body, limits)
    opened = skeleton.count(b"{") + skeleton.count(b"[")
    colons = skeleton.count(b":")
    if opened + skeleton.count(b",") > limits.values or colons > limits.values:
        raise _too_large(f"more than {limits.values} values")
    if opened > limits.depth:
        _check_depth(skeleton, limits)
    if colons > limits.members:
        _check_members(skeleton, limits)
    if _doubtful_number(skeleton, limits):
        _check_numbers(skeleton, limits)


def _without_strings(body: bytes, limits: JsonLimits) -> bytes:
    """The body with nothing between its quotes. An unterminated string runs to the end."""
    if b"\\" in body:
        # Pairs first, from the left: what is left of a run of backslashes escapes the quote.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    most = 4 * limits.values + 4  # two quotes for each name and each value
    parts = body.split(b'"', most)
    if len(parts) > most:
        raise _too_large(f"more than {limits.values} values")
    return b"s".join(parts[::2])


def _doubtful_number(skeleton: bytes, limits: JsonLimits) -> bool:
    """Whether a number may have too many digits, or be too large for a double.

    A number has at most three runs of digits, so too many digits leave a run of a third of them;
    and it needs an exponent of three digits, or very many digits, to become infinite.
    """
    classes = skeleton.translate(_NUMBER_CLASSES)
    return (
        limits.digits > _DOUBLE_DIGITS
        or b"0" * (limits.digits // 3 + 1) in classes
        or b"0e000" in classes
        or b"0e+000" in classes
    )


def _check_depth(skeleton: bytes, limits: JsonLimits) -> None:
    brackets = skeleton.translate(_TO_ROUND, _NOT_BRACKETS)
    for _ in range(limits.depth):
        if not brackets:
            return
        brackets = brackets.replace(b"()", b"")  # the innermost level, and nothing else
    if b"(" in brackets:
        raise _too_large(f"nested deeper than {limits.depth} levels")


def _check_members(skeleton: bytes, limits: JsonLimits) -> None:
    if skeleton.count(b"}") + skeleton.count(b"]") > limits.values:
        raise _too_large(f"more than {limits.values} values")
    open_counts = [0]
    for mark in _MARKS.findall(skeleton):
        if mark == b":":
            open_counts[-1] += 1
            if open_counts[-1] > limits.members:
                raise _too_large(f"an object with more than {limits.members} members")
        elif mark in b"{[":
            open_counts.append(0)
        elif len(open_counts) > 1:
            open_counts.pop()


def _check_numbers(skeleton: bytes, limits: JsonLimits) -> None:
    for index, match in enumerate(_NUMBER.finditer(skeleton)):
        number = match[0]
        if index > limits.values:
            raise _too_large(f"more than {limits.values} values")
        if len(number.translate(None, b"-+.eE")) > limits.digits:
            raise _too_large(f"a number with more than {limits.digits} digits")
        try:
            finite = math.isfinite(float(number))
        except ValueError:
            continue  # no number at all: the parser's business
        if not finite:
            raise _too_large("a number that is too large")


def _too_large(what: str) -> Rejected:
    return Rejected(400, _CODE, f"The request body is not acceptable JSON: {what}.")
