"""Callers' schemas: what they may cost is known, and nothing outside is ever touched."""

import json
import socket
import sys
from typing import Any

import pytest

from kproxy.errors import Rejected
from kproxy.guard import schemas
from kproxy.guard.schemas import (
    AT_ONCE,
    MOST_BYTES,
    Wrong,
    has_validator,
    must_load,
    peek_schema,
    read_schema,
)


def read(schema: object) -> schemas.Schema:
    return read_schema(json.dumps(schema).encode(), "f.schema")


def refused(schema: object) -> Rejected:
    with pytest.raises(Rejected) as caught:
        read(schema)
    assert (caught.value.status, caught.value.param) == (400, "f.schema")
    return caught.value


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


def doubling(steps: int) -> dict[str, Any]:
    """Two kilobytes, and 2**steps checks of an empty object."""
    definitions: dict[str, Any] = {"d0": {"type": "object"}}
    for step in range(1, steps):
        again = {"$ref": f"#/$defs/d{step - 1}"}
        definitions[f"d{step}"] = {"allOf": [again, again]}
    return {"$defs": definitions, "$ref": f"#/$defs/d{steps - 1}"}


CHAIN = {f"d{step}": {"$ref": f"#/$defs/d{step + 1}"} for step in range(1_000)} | {"d1000": {}}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"$ref": "http://127.0.0.1/x"}, "must point into the schema itself"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "must point into the schema"),
        ({"items": [{"$dynamicRef": "other.json#a"}]}, "must point into the schema"),
        ({"$ref": "#/nowhere"}, "no schema that can be used"),
        ({"$schema": "http://127.0.0.1/meta"}, "no schema that can be used"),
        ({"pattern": "(?=a)b"}, "no schema that can be used"),
        ({"pattern": "(a{1000}){1000}"}, "no schema that can be used"),
        ({"type": "word"}, "no schema that can be used"),
        ({"allOf": [{"pattern": f"a{{{step}}}"} for step in range(101)]}, "100 patterns"),
        (nested(60), "nested deeper"),
        (doubling(30), "once its references are followed"),
        ({"$defs": CHAIN, "$ref": "#/$defs/d0"}, "references lead deeper"),
        ({"enum": ["x" * MOST_BYTES]}, "at most 65536 bytes"),
        ([1], "expected an object or a boolean"),
    ],
)
def test_refused_by_name(schema: object, says: str) -> None:
    assert says in refused(schema).message


@pytest.mark.parametrize(
    ("schema", "is_large"),
    [
        ({"properties": {f"p{number}": {"type": "string"} for number in range(500)}}, False),
        ({"allOf": [{"pattern": "x"}] * 7}, False),
        ({"allOf": [{"pattern": "x"}] * 8}, True),
        ({"patternProperties": {f"{number}": {} for number in range(8)}}, True),
        ({"anyOf": [{}] * 2_000}, True),
        ({"enum": list(range(AT_ONCE))}, True),
    ],
)
def test_what_would_take_long_is_not_read_at_once(
    schema: object, is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither counted nor compiled: only its bytes are looked at, and of a small one its parts."""
    counted: list[object] = []

    class Counting(schemas._Counting):
        def all(self) -> schemas.Cost:
            counted.append(self)
            return super().all()

    monkeypatch.setattr(schemas, "_Counting", Counting)
    found = peek_schema(json.dumps(schema).encode(), "p")
    assert found.is_large is is_large
    assert len(counted) == (not is_large)
    assert found.weight <= AT_ONCE
    assert not found.checks, "nothing is compiled before it is needed"
    found.compile()
    assert found.checks is not is_large


def test_what_is_no_json_is_refused() -> None:
    for raw in (b"{", b'{"a": "\xff"}', b"[" * 5_000):
        with pytest.raises(Rejected):
            read_schema(raw, "p")


@pytest.mark.loopback
def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where our own look at the references is passed by, the library stays offline."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    listening.settimeout(0)
    monkeypatch.setattr(schemas, "_check_shape", lambda schema, param: 0)
    host, port = listening.getsockname()
    refused({"$ref": f"http://{host}:{port}/schema.json"})
    with pytest.raises(BlockingIOError):
        listening.accept()
    listening.close()


def test_a_pattern_that_explodes_elsewhere_is_linear() -> None:
    schema = read({"properties": {"a": {"pattern": "^(a+)+$"}}})
    assert not schema.fits({"a": "a" * 50_000 + "!"})


def test_fits() -> None:
    schema = read({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}})
    assert schema.checks
    assert schema.fits({"a": 1})
    assert not schema.fits({})
    assert read(True).fits(1)
    assert not read(False).fits(1)


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"a": {"type": "integer"}}, "$ref": "#/$defs/a"},
        {"definitions": {"a b": {"type": "integer"}}, "$ref": "#/definitions/a%20b"},
        {"$defs": {"a/b~": {"type": "integer"}}, "$ref": "#/$defs/a~1b~0"},
        {"$defs": {"a": {"$anchor": "here", "type": "integer"}}, "$ref": "#here"},
        {"allOf": [{"type": "integer"}, {"$ref": "#/allOf/0"}]},
    ],
)
def test_references_inside(schema: object) -> None:
    assert read(schema).fits(1)
    assert not read(schema).fits("1")


def test_wrong_types() -> None:
    schema = read(
        {
            "properties": {
                "a": {"type": "integer"},
                "b": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
            }
        }
    )
    assert set(schema.wrong_types({"a": "x", "b": "y"})) == {
        Wrong(("a",), ("integer",)),
        Wrong(("b",), ("null",)),
        Wrong(("b",), ("boolean",)),
    }


def test_work_grows_with_what_takes_time() -> None:
    flat, tree = read({"type": "object"}), read({"properties": {"a": {"$ref": "#"}}})
    twice = read({"allOf": [{"properties": {"a": {"$ref": "#"}}}] * 2 + [{"items": {"$ref": "#"}}]})
    small, deep = '{"a": 1}', '{"a":' * 40 + "1" + "}" * 40
    assert flat.work(deep) < tree.work(deep) < 100_000
    assert twice.work(small) < 1_000
    assert twice.work(deep) > 10**12
    patterned = read({"properties": {"a": {"pattern": "x"}}})
    assert patterned.work('"' + "x" * 80_000 + '"') > 10_000


def test_without_the_extra_a_schema_is_read_and_nothing_is_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schemas, "_library", lambda: None)
    schema = read({"type": "object"})
    assert not schema.checks
    assert schema.fits("anything")
    assert list(schema.wrong_types("anything")) == []
    assert "must point into" in refused({"$ref": "http://x/"}).message


def test_whether_it_is_there_is_known_without_loading_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_validator()
    monkeypatch.delitem(sys.modules, "jsonschema_rs", raising=False)
    assert must_load()
    monkeypatch.setattr(schemas, "find_spec", lambda name: None)
    assert not has_validator()
    assert not must_load()
