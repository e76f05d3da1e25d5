"""A caller's JSON schema goes in as bytes; a checked `Schema` comes out, or `Rejected` 400.

Problem: the schema is the caller's, and a validator trusts it. It follows `$ref` to any address (a
request forged with our network), compiles patterns that take minutes, and a schema of two kilobytes
whose definitions each use the one before twice takes 2**30 steps for an empty object.

Our way: what a schema may cost is counted before anybody compiles it, references followed and
cycles cut. A reference that leaves the schema is refused, whoever would follow it. The validator
(jsonschema-rs, the one foreign library here) is told to stay offline and to use the linear regular
expressions, in which look-around does not exist. And before a value is checked, `work` says how
much that can be, so that the caller of this file can do it elsewhere or not at all.

To count a schema's parts and to compile it takes time, too, some 2 us a part and up to 0.7 ms a
pattern, and the caller may send many. So `peek_schema` reads at once what is small, compiles
nothing, and says of any other only that it `is_large`: to be read elsewhere, by `read_schema`.

The validator comes with the extra `heal`. Without it a schema is still checked as far as said
above, and `checks` is False: values are mended, and nobody says whether they fit.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from kproxy.errors import Rejected, rejected_field

__all__ = [
    "AT_ONCE", "MOST_BYTES", "Schema", "Wrong", "has_validator", "load_validator", "must_load",
    "peek_schema", "read_schema", "unread_schema",
]  # fmt: skip

MOST_BYTES = 65_536
"""Of one schema. OpenAI takes 120,000 characters of names and values in all, and few come near."""

MOST_LEVELS = 48
MOST_NODES = 20_000  # with every reference followed
MOST_STEPS_DOWN = 200  # levels and references together
MOST_PATTERNS = 100  # each may compile to a quarter of a megabyte
_PATTERN_BYTES = 262_144

AT_ONCE = 4_000
"""Parts of a schema that is read and compiled where we are: some 10 ms at most, mostly far less."""

PATTERN = 500
"""Parts that a pattern counts as."""

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_CAP = 2**62


class Wrong(NamedTuple):
    """A value of a type that the schema does not have at its place."""

    path: tuple[str | int, ...]
    types: tuple[str, ...]


class Cost(NamedTuple):
    """What a schema has of what takes time."""

    nodes: int  # with every reference followed
    returns: int  # references back into what is being read: recursion
    patterns: int = 0
    parts: int = 0  # at most, with no reference followed


class Schema:
    """A schema that passed: its bytes, and `value`, what they are. `is_large`: nothing of it has
    been read here, and it knows nothing."""

    def __init__(
        self, raw: bytes, value: object, cost: Cost, param: str, *, is_large: bool = False
    ) -> None:
        self.raw = raw
        self.value = value
        self.is_large = is_large
        self._cost = cost
        self._param = param
        self._validator: object = None

    def __repr__(self) -> str:
        return f"<Schema of {self._cost.nodes} nodes>"

    def compile(self) -> None:
        """Make it check, where the validator is there. Idempotent. Raises Rejected 400."""
        if self._validator is None and self.raw and not self.is_large:
            library = _library()
            if library is not None:
                self._validator = _compiled(library, self.value, self._param)

    @property
    def weight(self) -> int:
        """Parts that were to be read of it."""
        return self._cost.parts + PATTERN * self._cost.patterns

    @property
    def checks(self) -> bool:
        """Whether `fits` can tell: it was compiled."""
        return self._validator is not None

    def work(self, text: str) -> int:
        """At most this many steps for a value of this JSON; 1,000,000 steps take about 5 ms."""
        opened = text.count("{") + text.count("[")
        size = 1 + opened + text.count(",") + (len(text) // 8 if self._cost.patterns else 0)
        levels = min(opened, 62)  # no more of them than brackets
        spread: int = max(1, self._cost.returns) ** levels
        return min(_CAP, self._cost.nodes * size * spread)

    def fits(self, value: object) -> bool:
        """Whether the value is valid; True where nobody can tell. See `work` first."""
        return self._validator is None or bool(self._validator.is_valid(value))  # type: ignore[attr-defined]

    def wrong_types(self, value: object) -> Iterator[Wrong]:
        """Where the value is not of the type it should be. See `work` first."""
        if self._validator is not None:
            for error in self._validator.iter_errors(value):  # type: ignore[attr-defined]
                yield from _wrong(error)


def _wrong(error: object) -> Iterator[Wrong]:
    kind = error.kind  # type: ignore[attr-defined]
    found = kind.as_dict()
    if kind.name == "type":
        yield Wrong(tuple(error.instance_path), tuple(found["types"]))  # type: ignore[attr-defined]
    elif kind.name == "anyOf":
        for branch in found["context"]:
            for inner in branch:
                yield from _wrong(inner)


def has_validator() -> bool:
    """Whether the extra is installed."""
    return find_spec("jsonschema_rs") is not None


def must_load() -> bool:
    """Whether the validator is installed and not loaded yet."""
    return "jsonschema_rs" not in sys.modules and has_validator()


def load_validator() -> None:
    """Load the library, 15 MB and some 30 ms. May be called in a thread."""
    _library()


def read_schema(raw: bytes, param: str) -> Schema:
    """Check and compile. Raises Rejected 400 whose `param` and message name what is wrong."""
    value = _decoded(raw, param)
    schema = Schema(raw, value, _cost(raw, value, _check_shape(value, param), param), param)
    schema.compile()
    return schema


def peek_schema(raw: bytes, param: str) -> Schema:
    """Check what is small, and compile nothing. Raises Rejected 400 like `read_schema`."""
    parts = _parts(raw)
    if len(raw) <= MOST_BYTES and parts <= AT_ONCE:
        value = _decoded(raw, param)
        patterns = _check_shape(value, param)
        if parts + PATTERN * patterns <= AT_ONCE:
            return Schema(raw, value, _cost(raw, value, patterns, param), param)
    elif len(raw) > MOST_BYTES:
        raise _too_long(param)
    return Schema(raw, None, Cost(0, 0, 0, AT_ONCE), param, is_large=True)


def unread_schema() -> Schema:
    """One that nobody has read, or will read: it knows nothing."""
    return Schema(b"", None, Cost(0, 0), "")


def _parts(raw: bytes) -> int:
    """At least as many as the values in this JSON."""
    return 1 + raw.count(b",") + raw.count(b"{") + raw.count(b"[")


def _cost(raw: bytes, value: object, patterns: int, param: str) -> Cost:
    cost = _Counting(value, param).all()._replace(patterns=patterns, parts=_parts(raw))
    if cost.nodes > MOST_NODES:
        raise _refused(param, f"more than {MOST_NODES} parts once its references are followed")
    return cost


def _decoded(raw: bytes, param: str) -> object:
    if len(raw) > MOST_BYTES:
        raise _too_long(param)
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise _refused(param, "expected JSON") from None
    if not isinstance(value, dict | bool):
        raise _refused(param, "expected an object or a boolean")
    return value


def _too_long(param: str) -> Rejected:
    return _refused(param, f"a schema has at most {MOST_BYTES} bytes")


def _compiled(library: Callable[[object], object], value: object, param: str) -> object:
    try:
        return library(value)
    except Exception as error:  # the library's own classes, ValueError and ReferencingError
        reason = " ".join(str(error).split("\n")[0][:200].split())
        raise _refused(param, f"it is no schema that can be used: {reason}") from error


def _library() -> Callable[[object], object] | None:
    """What compiles a schema; None: not installed."""
    try:
        import jsonschema_rs  # 15 MB: only where a schema comes
    except ImportError:
        return None
    options = jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES)

    def compiled(value: object) -> object:
        return jsonschema_rs.validator_for(value, offline=True, pattern_options=options)  # type: ignore[arg-type]

    return compiled


def _refused(param: str, why: str) -> Rejected:
    return rejected_field(param, f"Invalid '{param}': {why}.")


def _check_shape(schema: object, param: str) -> int:
    """Levels, and references that leave the schema; how many patterns there are."""
    level: list[object] = [schema]
    patterns = 0
    for _ in range(MOST_LEVELS):
        below: list[object] = []
        for node in level:
            if isinstance(node, dict):
                for name in _REFERENCES:
                    target = node.get(name, "#")
                    if isinstance(target, str) and not target.startswith("#"):
                        raise _refused(param, f"a '{name}' must point into the schema itself")
                patterns += "pattern" in node
                inner = node.get("patternProperties")
                patterns += len(inner) if isinstance(inner, dict) else 0
                below += node.values()
            elif isinstance(node, list):
                below += node
        if patterns > MOST_PATTERNS:
            raise _refused(param, f"more than {MOST_PATTERNS} patterns")
        if not below:
            return patterns
        level = below
    raise _refused(param, f"nested deeper than {MOST_LEVELS} levels")


class _Counting:
    """Counts a schema's parts with every reference followed. Linear: each part is read once."""

    def __init__(self, root: object, param: str) -> None:
        self._root = root
        self._param = param
        self._known: dict[int, Cost] = {}
        self._reading: set[int] = set()
        self._anchors: dict[str, object] | None = None

    def all(self) -> Cost:
        return self._count(self._root, 0)

    def _count(self, node: object, down: int) -> Cost:
        if not isinstance(node, dict | list):
            return Cost(1, 0)
        if id(node) in self._reading:
            return Cost(1, 1)
        if id(node) in self._known:
            return self._known[id(node)]
        if down > MOST_STEPS_DOWN:
            raise _refused(self._param, f"references lead deeper than {MOST_STEPS_DOWN} levels")
        self._reading.add(id(node))
        nodes, returns = 1, 0
        for inner in self._inner(node):
            found = self._count(inner, down + 1)
            nodes, returns = nodes + found.nodes, returns + found.returns
        self._reading.remove(id(node))
        known = self._known[id(node)] = Cost(min(nodes, _CAP), min(returns, _CAP))
        return known

    def _inner(self, node: dict[str, object] | list[object]) -> Iterator[object]:
        if isinstance(node, list):
            yield from node
            return
        for name, inner in node.items():
            if name in ("$defs", "definitions"):
                continue  # counted where it is used
            if name in _REFERENCES and isinstance(inner, str):
                yield self._target(inner)
            else:
                yield inner

    def _target(self, reference: str) -> object:
        """What a reference inside the schema points to; None: nothing, the validator says so."""
        if not reference.startswith("#/"):
            return self._root if reference == "#" else self._anchor(reference[1:])
        node: object = self._root
        for part in reference[2:].split("/"):
            key = _unescaped(part)
            if isinstance(node, Mapping):
                node = node.get(key)
            elif isinstance(node, list) and key.isdecimal() and len(key) < 6:
                node = node[int(key)] if int(key) < len(node) else None
            else:
                return None
        return node

    def _anchor(self, name: str) -> object:
        if self._anchors is None:
            self._anchors = {}
            level: list[object] = [self._root]
            while level:
                node = level.pop()
                if isinstance(node, dict):
                    for key in ("$anchor", "$dynamicAnchor"):
                        if isinstance(found := node.get(key), str):
                            self._anchors[found] = node
                    level += node.values()
                elif isinstance(node, list):
                    level += node
        return self._anchors.get(name)


def _unescaped(part: str) -> str:
    return unquote(part).replace("~1", "/").replace("~0", "~")
