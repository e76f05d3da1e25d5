"""One typed body: the checks run in order, and the message names the field and repeats no value.

What is malformed or repeated is tested in `test_chat.py`, through the body that matters most.
"""

from typing import Literal

import msgspec
import pytest

from kproxy.errors import Rejected
from kproxy.schema.body import decode_body, decode_fields
from kproxy.schema.jsonlimits import JsonLimits

LIMITS = JsonLimits()
CANARY = "canary-canary"


class Thing(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    name: str
    long_number: int | None = None
    keys: dict[str, str | None] | None = None
    mode: Literal["slow", "fast"] | None = None


decode = msgspec.json.Decoder(Thing).decode


def refused(body: bytes, limits: JsonLimits = LIMITS) -> Rejected:
    with pytest.raises(Rejected) as caught:
        decode_body(body, decode, Thing, limits)
    rejected = caught.value
    assert (rejected.status, rejected.code) == (400, "invalid_request_error")
    assert rejected.__cause__ is None
    if rejected.__context__ is not None:
        assert rejected.__suppress_context__, "the parser's error may hold the body"
    return rejected


def test_a_typed_body() -> None:
    thing = decode_body(b' {"name": "a", "longNumber": 3}\n', decode, Thing, LIMITS)
    assert (thing.name, thing.long_number) == ("a", 3)


def test_what_a_field_takes_is_listed() -> None:
    rejected = refused(b'{"name": "a", "mode": "quick"}')
    assert rejected.param == "mode"
    assert rejected.message == "Invalid 'mode': expected one of 'fast', 'slow', got 'quick'."
    long = refused(b'{"name": "a", "mode": "%b"}' % (b"q" * 9_999))
    assert long.message.startswith("Invalid 'mode': expected one of 'fast', 'slow', got 'qqq")
    assert len(long.message) < 500


def test_the_members_as_they_were_written() -> None:
    fields = decode_fields(b'{"b": 1.50, "a": [ ]}', LIMITS)
    assert {name: bytes(raw) for name, raw in fields.items()} == {"b": b"1.50", "a": b"[ ]"}


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        (b"{}", "name", "Missing required field 'name'."),
        (b'{"name": 1}', "name", "Invalid 'name': expected string, got integer."),
        (b'{"name": "a", "x": 1}', "x", "Unknown field 'x'."),
        (b'{"name": "a", "long_number": 1}', "long_number", "Unknown field 'long_number'."),
        (
            b'{"name": "a", "longNumber": true}',
            "longNumber",
            "Invalid 'longNumber': expected integer or null, got boolean.",
        ),
        (
            b'{"name": "a", "keys": {"canary-canary": 1}}',
            "keys",
            "Invalid 'keys': expected string or null, got integer.",
        ),
        (b'{"name": "a", "name": "b"}', "name", "The field 'name' is given more than once."),
    ],
)
def test_a_wrong_field_is_named(body: bytes, param: str, message: str) -> None:
    rejected = refused(body)
    assert (rejected.param, rejected.message) == (param, message)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"[]", "expected an object"),
        (b'"canary-canary"', "expected an object"),
        (b'{"name": "canary-canary\xff"}', "it is not UTF-8 (byte 23)"),
        (b'{"name": "canary-canary', "it ends too early, or has a lone surrogate"),
        (b'{"name": canary-canary}', "invalid character (byte 9)"),
    ],
)
def test_what_is_no_object_repeats_nothing(body: bytes, reason: str) -> None:
    rejected = refused(body)
    assert rejected.param is None
    assert rejected.message == f"The request body is not valid JSON: {reason}."
    assert CANARY not in repr(rejected)


def test_the_shape_is_checked_before_anything_is_parsed() -> None:
    body = b'{"name": ' + b"[" * 5 + b"]" * 5 + b"}"
    assert "nested deeper" in refused(body, JsonLimits(depth=3)).message
    assert refused(body).param == "name"
