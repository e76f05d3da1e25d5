"""A JSON body as bytes goes in; its members or a typed value come out, or `Rejected` 400.

1. Whatever is wrong is `Rejected` 400, nothing else is ever raised; `param` names the field where
   one is at fault.
2. Two parsers must never see two requests: bytes that are not UTF-8, lone surrogates, and a
   top-level name given twice (RFC 8259 section 4: unpredictable) are refused.
"""

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import TypeVar

import msgspec
from msgspec import Raw

from kproxy.errors import Rejected, rejected_field
from kproxy.schema.choices import ENUM, choices
from kproxy.schema.jsonlimits import JsonLimits, check

__all__ = ["decode_body", "decode_fields", "decode_typed", "refuse_repeated"]

_T = TypeVar("_T")

_NAME_LENGTH = 256  # of a caller's own name for a field; longer ones are cut in messages
_MESSAGE_LENGTH = 400  # of our own error text: a caller's value is quoted, never echoed whole

_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_name = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode  # as OpenAI's clients write, without a space

_NAME = re.compile(rb'[ \t\n\r]*+"([^"\\]*+(?:\\.[^"\\]*+)*+)"[ \t\n\r]*+:[ \t\n\r]*+', re.DOTALL)
_NEXT = re.compile(rb"[ \t\n\r]*+([,}])")


def decode_body(
    body: bytes, decode: Callable[[bytes], _T], kind: type[_T], limits: JsonLimits
) -> _T:
    """The body as `decode`, a decoder of msgspec, reads a `kind`, once it has passed all checks."""
    decode_fields(body, limits)
    return decode_typed(body, decode, kind)


def decode_fields(body: bytes, limits: JsonLimits) -> dict[str, Raw]:
    """The exact bytes of each top-level member, in order."""
    if not body.strip():
        raise _malformed("it is empty")
    check(body, limits)
    try:
        if not body.isascii():
            body.decode()  # skipped values are not checked for UTF-8 by the parser
    except UnicodeDecodeError as error:
        raise _malformed(f"it is not UTF-8 (byte {error.start})") from None
    try:
        fields = _parse(_decode_fields, body)
    except msgspec.ValidationError:
        raise _malformed("expected an object") from None
    refuse_repeated(body, fields)
    return fields


def decode_typed(body: bytes, decode: Callable[[bytes], _T], kind: type[_T]) -> _T:
    """A body that `decode_fields` has passed, as `decode`, a decoder of msgspec, reads a `kind`."""
    try:
        return _parse(decode, body)
    except msgspec.ValidationError as error:
        raise _wrong_field(str(error), kind) from None


def _parse(decode: Callable[[bytes], _T], body: bytes) -> _T:
    """Raises msgspec.ValidationError for wrong types, `Rejected` for what is no JSON."""
    try:
        return decode(body)
    except msgspec.ValidationError:
        raise
    except RecursionError:
        raise _malformed("it is nested too deep") from None
    except msgspec.DecodeError as error:
        text = str(error).removeprefix("JSON is malformed: ")
        cut = text.startswith("Input data was truncated")  # also said of some lone surrogates
        reason = "it ends too early, or has a lone surrogate" if cut else text
        raise _malformed(reason) from None


def refuse_repeated(body: bytes, fields: dict[str, Raw]) -> None:
    """Raise when a top-level name stands twice, in whatever spelling.

    A dict keeps the place of a name's first value and the bytes of its last. So if every name is
    there once, the body is the dict's items in order; at the first that differs, one is repeated.
    """
    as_usual = _spaced(fields) if b'": ' in body[:_NAME_LENGTH] else _encode(fields)
    if as_usual == body.strip():
        return  # as clients write it: the dict's items in order, and nothing else
    position = body.index(b"{") + 1
    following = b"}"
    for name, value in fields.items():
        match = _NAME.match(body, position)
        if match is None:  # pragma: no cover - the parser has read a name here
            raise _malformed("a name is missing")
        key = match[1]
        spelled = _decode_name(b'"%b"' % key) if b"\\" in key else key.decode()
        if spelled != name:
            raise _repeated(spelled)
        position = match.end()
        raw = bytes(value)
        after = _NEXT.match(body, position + len(raw))
        if after is None or not body.startswith(raw, position):
            raise _repeated(name)
        position, following = after.end(), after[1]
    if following == b",":
        match = _NAME.match(body, position)
        raise _repeated(_decode_name(b'"%b"' % match[1]) if match else "")


def _spaced(fields: dict[str, Raw]) -> bytes:
    """The object as Python's `json` writes it."""
    items = [b'"%b": %b' % (name.encode(), bytes(value)) for name, value in fields.items()]
    return b"{" + b", ".join(items) + b"}"


def _repeated(name: str) -> Rejected:
    shown = name[:_NAME_LENGTH]
    return rejected_field(shown, f"The field '{shown}' is given more than once.")


def _malformed(what: str) -> Rejected:
    return Rejected(400, "invalid_request_error", f"The request body is not valid JSON: {what}.")


_TYPE_WORDS = MappingProxyType(
    {
        "str": "string",
        "int": "integer",
        "float": "number",
        "bool": "boolean",
    }
)
_QUOTED_TYPE = re.compile(r"`([a-z |]+)`")
_FIELD_ERROR = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)


def _wrong_field(text: str, kind: type) -> Rejected:
    """The parser's complaint (`Expected ..., got ... - at `$.a[0]``) as OpenAI words it."""
    what, found, path = text.rpartition(" - at `")
    if not found:
        what, path = text, ""
    # A key of a map is the caller's own text, and the parser writes "[...]" for it.
    param = path.removesuffix("`").removeprefix("$").removeprefix(".").replace("[...]", "")
    about = _FIELD_ERROR.fullmatch(what)
    if about is not None:
        name = about[2][:_NAME_LENGTH]
        param = f"{param}.{name}" if param else name
        word = "Missing required" if about[1].startswith("missing") else "Unknown"
        return rejected_field(param, f"{word} field '{param}'.")
    words = choices(kind, what, path)
    if words:
        listed = ", ".join(f"'{word}'" for word in words)
        what = f"expected one of {listed}, got {what.removeprefix(ENUM).strip()}"
    what = _QUOTED_TYPE.sub(_plain_type, what)
    what = what[:1].lower() + what[1:_MESSAGE_LENGTH]
    return rejected_field(param, f"Invalid '{param}': {what}.")


def _plain_type(match: re.Match[str]) -> str:
    return " or ".join(_TYPE_WORDS.get(word, word) for word in match[1].split(" | "))
