"""What models do to JSON: a value, how it is written, and one kind of damage; broken text out.

Each kind is a function of the value, its JSON (compact or indented) and a source of chance. It
gives the damaged text, or None where this value has nothing to be damaged so.
"""

import json
import re
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from kproxy.sim.chance import Chance

__all__ = ["DAMAGE", "Damage"]

T = TypeVar("T")
Damage = Callable[[Any, str, Chance], str | None]

_OPENINGS = (
    "Here is the JSON you asked for:",
    "Sure! The extracted data is as follows.",
    "I've analysed the text (see [1]). Result:",
    "Based on {context}, the answer is:",
)
_CLOSINGS = (
    "Let me know if you need anything else!",
    "I hope this helps.",
    "Note: see [1] and [2].",
)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def _one(chance: Chance, of: Sequence[T]) -> T:
    return of[chance.below(len(of))]


def _fenced(value: Any, text: str, chance: Chance) -> str:
    return f"```{_one(chance, ['json', '', 'JSON', 'javascript'])}\n{text}\n```"


def _open_fence(value: Any, text: str, chance: Chance) -> str:
    return f"```json\n{text}\n"


def _prose(value: Any, text: str, chance: Chance) -> str:
    return f"{_one(chance, _OPENINGS)}\n\n{text}\n\n{_one(chance, _CLOSINGS)}"


def _prose_and_fence(value: Any, text: str, chance: Chance) -> str:
    return f"{_one(chance, _OPENINGS)}\n```json\n{text}\n```\n{_one(chance, _CLOSINGS)}"


def _thinking(value: Any, text: str, chance: Chance) -> str:
    draft = _one(chance, ['maybe {"a": 1}?', "The user wants {fields}.", "Let me see: [1, 2, 3"])
    return f"<think>\n{draft}\n</think>\n\n{text}"


def _half_thinking(value: Any, text: str, chance: Chance) -> str:
    return f'So I should answer {{"x": 0}} or so.\n</think>\n{text}'


def _trailing_comma(value: Any, text: str, chance: Chance) -> str:
    return re.sub(r"(?<=[\w\"\]}.])(\s*)([}\]])(?=\s*\Z)", r",\1\2", text)


def _commas_everywhere(value: Any, text: str, chance: Chance) -> str:
    return _outside_strings(
        text, lambda part: re.sub(r"(?<=[\w\"\]}])(\s*)([}\]])", r",\1\2", part)
    )


def _missing_comma(value: Any, text: str, chance: Chance) -> str | None:
    if "\n" not in text:
        return None
    places = [match.start() for match in re.finditer(r",\n", text)]
    if not places:
        return None
    at = _one(chance, places)
    return text[:at] + text[at + 1 :]


def _double_comma(value: Any, text: str, chance: Chance) -> str | None:
    """Between two members; between two items something would be missing."""
    out = re.sub(r'(,)(\s*"[^"]*":)', r",,\2", text, count=2)
    return None if out == text else out


def _python(value: Any, text: str, chance: Chance) -> str:
    return repr(value)


def _literals(value: Any, text: str, chance: Chance) -> str | None:
    words = {"true": "True", "false": "False", "null": "None"}
    out = _outside_strings(
        text, lambda part: re.sub(r"\b(true|false|null)\b", lambda m: words[m[1]], part)
    )
    return None if out == text else out


def _single_quotes(value: Any, text: str, chance: Chance) -> str | None:
    if "'" in text or "\\" in text:
        return None
    return text.replace('"', "'")


def _apostrophes(value: Any, text: str, chance: Chance) -> str | None:
    """Single quotes, and nobody escaped the apostrophe."""
    if "'" not in text or "\\" in text:
        return None
    return text.replace('"', "'")


def _curly_quotes(value: Any, text: str, chance: Chance) -> str | None:
    if "\\" in text:
        return None
    return _STRING.sub(lambda match: f"\u201c{match[0][1:-1]}\u201d", text)


def _bare_names(value: Any, text: str, chance: Chance) -> str | None:
    out = re.sub(r'"([A-Za-z_]\w*)"(\s*:)', r"\1\2", text)
    return None if out == text else out


def _comments(value: Any, text: str, chance: Chance) -> str | None:
    if "\n" not in text:
        return None
    mark = _one(chance, ["// checked", "# as given", "/* from the text */"])
    return text.replace(",\n", f", {mark}\n", 2)


def _unclosed(value: Any, text: str, chance: Chance) -> str:
    return re.sub(r"[}\]\s]+\Z", "", text)


def _one_bracket_short(value: Any, text: str, chance: Chance) -> str:
    return text.rstrip()[:-1]


def _too_many_brackets(value: Any, text: str, chance: Chance) -> str:
    return text + text.rstrip()[-1]


def _raw_line_ends(value: Any, text: str, chance: Chance) -> str | None:
    out = text.replace("\\n", "\n").replace("\\t", "\t")
    return None if out == text else out


def _inner_quotes(value: Any, text: str, chance: Chance) -> str | None:
    """A word in a text is quoted, and nobody escaped the quotes."""
    return _quoted_word(value, text, chance, '"')


def _quoted_word(value: Any, text: str, chance: Chance, quote: str) -> str | None:
    places = list(re.finditer(r"(?<=[a-z] )([a-z]{3,})(?= [a-z])", text))
    if not places:
        return None
    place = _one(chance, places)
    return f"{text[: place.start()]}{quote}{place[0]}{quote}{text[place.end() :]}"


def _wrapped(value: Any, text: str, chance: Chance) -> str:
    return json.dumps(text)


def _escaped(value: Any, text: str, chance: Chance) -> str:
    return json.dumps(text)[1:-1]


def _no_braces(value: Any, text: str, chance: Chance) -> str | None:
    return text[1:-1].strip() if text.startswith("{") else None


def _byte_order_mark(value: Any, text: str, chance: Chance) -> str:
    return "\ufeff" + text


def _assigned(value: Any, text: str, chance: Chance) -> str:
    return f"const result = {text};"


def _all_at_once(value: Any, text: str, chance: Chance) -> str:
    """Prose, a fence, Python's spelling and a comma too many."""
    said = repr(value)
    return f"{_one(chance, _OPENINGS)}\n```python\n{said[:-1]},{said[-1]}\n```"


def _outside_strings(text: str, change: Callable[[str], str]) -> str:
    out, at = [], 0
    for match in _STRING.finditer(text):
        out += [change(text[at : match.start()]), match[0]]
        at = match.end()
    return "".join([*out, change(text[at:])])


DAMAGE: MappingProxyType[str, Damage] = MappingProxyType(
    {
        "fence": _fenced,
        "fence without end": _open_fence,
        "prose around": _prose,
        "prose and fence": _prose_and_fence,
        "thinking before": _thinking,
        "thinking without begin": _half_thinking,
        "trailing comma": _trailing_comma,
        "trailing commas": _commas_everywhere,
        "missing comma": _missing_comma,
        "double comma": _double_comma,
        "Python repr": _python,
        "Python literals": _literals,
        "single quotes": _single_quotes,
        "single quotes, apostrophe": _apostrophes,
        "curly quotes": _curly_quotes,
        "bare names": _bare_names,
        "comments": _comments,
        "unclosed brackets": _unclosed,
        "one bracket short": _one_bracket_short,
        "brackets too many": _too_many_brackets,
        "raw line ends": _raw_line_ends,
        "inner quotes": _inner_quotes,
        "JSON in a string": _wrapped,
        "escaped once too often": _escaped,
        "no outer braces": _no_braces,
        "byte order mark": _byte_order_mark,
        "assigned to a name": _assigned,
        "several at once": _all_at_once,
    }
)
