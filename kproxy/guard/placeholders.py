"""What must not leave goes in, a placeholder comes out; and back, also where a stream cuts one.

1. The same text has the same placeholder within a request, so that a model can tell two people
   apart and an unchanged beginning of a conversation stays unchanged.
2. A placeholder that the caller has written is never given to anything else.
3. In a stream that is to be JSON an original is written as it stands in a string.
4. Only placeholders of this request are put back. What a model makes up stays as it is.
"""

import json
import re
from collections.abc import Callable

__all__ = ["Placeholders", "Restorer", "looks_written"]

_FORM = re.compile(r"<[A-Z][A-Z0-9_]{0,31}_[0-9]{1,9}>")
_OPEN = re.compile(r"<(?:[A-Z][A-Z0-9_]{0,41})?")  # what one may look like before its end


def looks_written(messages: bytes) -> bool:
    """Whether a placeholder may stand in this JSON; some callers write < as \\u003c."""
    return b"_" in messages and (b"<" in messages or b"u003" in messages)


class Placeholders:
    """Those of one request. `originals` are what they stand for."""

    __slots__ = ("_given", "_last", "_written", "originals")

    def __init__(self) -> None:
        self.originals: dict[str, str] = {}
        self._given: dict[tuple[str, str], str] = {}
        self._last: dict[str, int] = {}  # number of each label
        self._written: set[str] = set()

    def __repr__(self) -> str:
        return f"<Placeholders {len(self.originals)}>"

    def avoid(self, text: str) -> None:
        """What stands in the caller's text is theirs. To be told before any is given."""
        self._written.update(_FORM.findall(text))

    def give(self, label: str, original: str) -> str:
        """The placeholder for this text."""
        found = self._given.get((label, original))
        if found is not None:
            return found
        number = self._last.get(label, 0) + 1
        while (placeholder := f"<{label}_{number}>") in self._written:
            number += 1
        self._last[label] = number
        self._given[label, original] = placeholder
        self.originals[placeholder] = original
        return placeholder

    def restore(self, text: str) -> str:
        """A whole text with the originals; the same object where there is none."""
        return self._put_back(text) if "<" in text else text

    def restorer(self, *, in_json: bool = False) -> "Restorer":
        """For a text that comes in pieces; `in_json`: originals stand in JSON's strings."""
        return Restorer(self._put_back_quoted if in_json else self._put_back)

    def _put_back(self, text: str) -> str:
        return _FORM.sub(lambda match: self.originals.get(match[0], match[0]), text)

    def _put_back_quoted(self, text: str) -> str:
        return _FORM.sub(lambda match: _quoted(self.originals.get(match[0], match[0])), text)


def _quoted(text: str) -> str:
    """The text as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


class Restorer:
    """One streamed text. What may still become a placeholder is held, at most 43 characters."""

    __slots__ = ("_held", "_put_back")

    def __init__(self, put_back: Callable[[str], str]) -> None:
        self._put_back = put_back
        self._held = ""

    def feed(self, piece: str) -> str:
        """What may leave now."""
        text = self._held + piece
        at = text.rfind("<")
        if at < 0:
            self._held = ""
            return text
        if _OPEN.fullmatch(text, at) is None:
            at = len(text)
        self._held = text[at:]
        return self._put_back(text[:at])

    def fork(self) -> "Restorer":
        """Another one that holds the same."""
        forked = Restorer(self._put_back)
        forked._held = self._held
        return forked

    def end(self) -> str:
        """What was held: no placeholder, since it has no end."""
        held, self._held = self._held, ""
        return held
