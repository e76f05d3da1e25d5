"""A text that grows piece by piece goes in; how much of it is surely the beginning of a good answer
comes out.

Problem: whoever streams JSON wants to see it grow, and whoever heals it must have all of it. Most
answers need no healing. So what is JSON by the letter, and allowed by the schema, leaves at once,
and only from the first doubt on a text waits for its end.

Our way: an automaton over the text that knows one place, `safe`: everything before it can only be
the beginning of the right value, or can be mended by what comes behind it. A quote that ends a
string is safe only when a comma or a bracket behind it says so; a comma only when another item has
begun; a name when its colon has come and the schema has such a member; a number, a literal or a
word of an enumeration when it is whole.

Of the schema what is known without trying is used: types, names where no others are allowed,
`required`, `enum` and `const`, local references. What has alternatives (`anyOf` and the like) is
not judged here, but when the text is whole.

Costs per character about as much as the text itself: a step each, strings in one go.
"""

import re
from typing import NamedTuple

import orjson

from kproxy.guard.mend import MAX_DEPTH

__all__ = ["Prefix"]

_SPACE = re.compile(r"[ \t\r\n]*+").match
_PLAIN = re.compile(r"[^\"\\\x00-\x1f]*+").match
_ESCAPE = re.compile(r"\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{4})").match
_HALF_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z").match
_SCALAR = re.compile(r"[-+.\w]*+").match
_TYPES = {"{": "object", "[": "array", '"': "string", "t": "boolean", "f": "boolean", "n": "null"}
_ALTERNATIVES = ("anyOf", "oneOf", "allOf", "if", "not", "$dynamicRef", "$recursiveRef")
_MOST_REFERENCES = 16
_LONGEST = 400  # characters of a number
_NOTHING = object()

Node = dict[str, object]
_ANY: Node = {}


class _Level(NamedTuple):
    """An open object or list, its schema and the names that it has so far."""

    closer: str
    node: Node
    names: set[str]


class Prefix:
    """One text. `doubt` says that something was met that is no JSON, or that the schema refuses;
    `whole` that the value has ended, and nothing but space has come since."""

    def __init__(self, schema: object = None) -> None:
        self._root: Node = schema if isinstance(schema, dict) else _ANY
        self._text = ""  # what has not left
        self._at = 0  # what has been read of it
        self._safe = 0  # what of it may leave
        self._start = 0  # of the name or scalar that is being read
        self._end = 0  # of the one that was read last
        self._levels: list[_Level] = []
        self._node = self._resolved(self._root)  # of the value that comes
        self._step = self._expect_value
        self.doubt = False
        self.whole = False

    def __repr__(self) -> str:
        state = "in doubt" if self.doubt else "whole" if self.whole else "open"
        return f"<Prefix {state}, {len(self._text)} held>"

    @property
    def held(self) -> str:
        """What has not left yet."""
        return self._text

    def feed(self, piece: str) -> str:
        """More of the text; what may leave now."""
        self._text += piece
        while not self.doubt and self._at < len(self._text) and self._step():
            pass
        safe, self._safe = self._safe, 0
        passed, self._text = self._text[:safe], self._text[safe:]
        self._at, self._start, self._end = self._at - safe, self._start - safe, self._end - safe
        return passed

    # --- steps: each says whether it got on, and what comes next

    def _expect_value(self) -> bool:
        return self._spaced() and self._value()

    def _spaced(self) -> bool:
        """Pass over space; whether anything stands behind it."""
        space = _SPACE(self._text, self._at)
        assert space is not None
        self._at = space.end()
        return self._at < len(self._text)

    def _value(self) -> bool:
        first = self._text[self._at]
        if (not self._levels and first not in "{[") or not self._allows(first):
            return self._doubted()
        self._safe = self._start = self._at
        if first in "{[":
            return self._opened(first)
        if first == '"':
            self._at += 1
            self._step = self._in_string
        else:
            self._step = self._in_scalar
        return True

    def _opened(self, first: str) -> bool:
        if len(self._levels) >= MAX_DEPTH:
            return self._doubted()
        self._levels.append(_Level("}" if first == "{" else "]", self._node, set()))
        self._at += 1
        self._safe = self._at
        self._step = self._expect_first
        return True

    def _expect_first(self) -> bool:
        """Behind an opening bracket."""
        if not self._spaced():
            return False
        if self._text[self._at] == self._levels[-1].closer:
            return self._closed()
        return self._expect_next()

    def _expect_next(self) -> bool:
        """A member or an item."""
        self._step = self._expect_next
        if not self._spaced():
            return False
        level = self._levels[-1]
        if level.closer == "]":
            items = None if "prefixItems" in level.node else level.node.get("items")
            self._node = self._resolved(items)
            return self._value()
        if self._text[self._at] != '"':
            return self._doubted()
        self._start = self._at
        self._at += 1
        self._step = self._in_name
        return True

    def _in_name(self) -> bool:
        if not self._string_ended():
            return False
        self._end = self._at
        self._step = self._expect_colon
        return True

    def _expect_colon(self) -> bool:
        if not self._spaced():
            return False
        level = self._levels[-1]
        name = _decoded(self._text[self._start : self._end])
        known = level.node.get("properties")
        known = known if isinstance(known, dict) else {}
        closed = level.node.get("additionalProperties") is False
        strange = closed and name not in known and "patternProperties" not in level.node
        if self._text[self._at] != ":" or strange or not isinstance(name, str):
            return self._doubted()
        level.names.add(name)
        self._node = self._resolved(known.get(name))
        self._at += 1
        self._step = self._expect_value
        return True

    def _in_string(self) -> bool:
        ended = self._string_ended()
        if not self._is_chosen:
            self._safe = self._at - ended  # the last quote waits for what comes behind it
        self._end = self._at
        self._step = self._expect_end if ended else self._step
        return ended

    def _string_ended(self) -> bool:
        """Whether the string ends here, at `_at`; else it goes on, or there is a doubt."""
        text = self._text
        while True:
            plain = _PLAIN(text, self._at)
            assert plain is not None
            self._at = plain.end()
            if self._at >= len(text):
                return False
            if text[self._at] == '"':
                self._at += 1
                return True
            escape = _ESCAPE(text, self._at)
            if escape is None:
                if not _HALF_ESCAPE(text, self._at):
                    self._doubted()
                return False
            self._at = escape.end()

    def _in_scalar(self) -> bool:
        scalar = _SCALAR(self._text, self._start)
        assert scalar is not None
        if len(scalar[0]) > _LONGEST:
            return self._doubted()
        if scalar.end() >= len(self._text):
            self._at = self._start  # it may go on
            return False
        value = _decoded(scalar[0])
        if value is _NOTHING or (self._node.get("type") == "integer" and isinstance(value, float)):
            return self._doubted()
        self._end = self._at = scalar.end()
        self._step = self._expect_end
        return True

    def _expect_end(self) -> bool:
        """Behind a value: a comma or a bracket."""
        if not self._spaced():
            return False
        if self._is_chosen and not self._is_allowed(self._text[self._start : self._end]):
            return self._doubted()
        found = self._text[self._at]
        if found == self._levels[-1].closer:
            return self._closed()
        if found != ",":
            return self._doubted()
        self._at += 1
        self._step = self._expect_next
        return True

    def _closed(self) -> bool:
        level = self._levels[-1]
        required = level.node.get("required")
        if (
            level.closer == "}"
            and isinstance(required, list)
            and not level.names.issuperset(required)
        ):
            return self._doubted()
        self._levels.pop()
        self._at += 1
        self._safe = self._at
        self._node = _ANY
        self._step = self._expect_end if self._levels else self._expect_nothing
        self.whole = not self._levels
        return True

    def _expect_nothing(self) -> bool:
        if self._spaced():
            self.whole = False
            return self._doubted()
        self._safe = self._at
        return False

    def _doubted(self) -> bool:
        self.doubt = True
        return False

    # --- the schema

    def _resolved(self, node: object) -> Node:
        """The schema there with its references followed; `_ANY` where it is not judged here."""
        for _ in range(_MOST_REFERENCES):
            if not isinstance(node, dict) or any(name in node for name in _ALTERNATIVES):
                return _ANY
            reference = node.get("$ref")
            if reference is None:
                return node
            node = self._target(reference) if len(node) == 1 else None
        return _ANY

    def _target(self, reference: object) -> object:
        if not isinstance(reference, str) or not reference.startswith(
            ("#/$defs/", "#/definitions/")
        ):
            return self._root if reference == "#" else None
        _, place, name = reference.split("/", 2)
        known = self._root.get(place)
        return known.get(name) if isinstance(known, dict) else None

    def _allows(self, first: str) -> bool:
        """Whether a value may begin so."""
        types = self._node.get("type")
        if first not in _TYPES and first not in "-0123456789":
            return False
        if types is None:
            return True
        wanted = types if isinstance(types, list) else [types]
        if first in _TYPES:
            return _TYPES[first] in wanted
        return "number" in wanted or "integer" in wanted

    @property
    def _is_chosen(self) -> bool:
        """Whether only certain values may stand here: they are seen as a whole."""
        return "enum" in self._node or "const" in self._node

    def _is_allowed(self, said: str) -> bool:
        value, node = _decoded(said), self._node
        chosen = node.get("enum", [value])
        return value == node.get("const", value) and isinstance(chosen, list) and value in chosen


def _decoded(said: str) -> object:
    try:
        return orjson.loads(said)
    except orjson.JSONDecodeError:
        return _NOTHING
