"""A chat request goes in; which of its answer's texts are to be JSON, and of what form, comes out.

`response_format` switches healing on for a whole answer (contract section 10); a stream passes as
it comes unless `x_kairosroute.heal` says otherwise, and `false` switches it off everywhere. Asked
for so, it needs no `response_format` where there are tools: the arguments of a call are JSON, too.
Those of calls of our own tools are healed in any case, streamed or not (`api/rounds.py`).

The caller's schema is checked before anything is dispatched: here as far as `peek_schema` goes, the
rest by `api/apart.py`. A tool's schema is the tool's: one that cannot be used says nothing, and is
no reason to refuse the request. Of tools only the schemas of those are looked at that were called,
and of these `MOST_READ` in all; what is beyond is not checked, and marked so.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Raw

from kproxy.errors import Rejected, rejected_field
from kproxy.guard.heal import Form, Healed, heal
from kproxy.guard.schemas import AT_ONCE, Schema, peek_schema, read_schema, unread_schema
from kproxy.schema.chat import ChatRequest
from kproxy.schema.compare import CompareRequest

__all__ = ["MOST_READ", "WAYS", "Forms", "check_by", "heal_by", "read_forms", "refuse_schema"]

Way = Literal["whole", "buffer", "stream"]

WAYS = ("buffer", "stream")
"""Of healing a stream; `true` is the last of them."""

MOST_READ = 4 * AT_ONCE
"""Parts of the schemas of all tools that one answer calls, see `Schema.weight`."""

_PARAM = "x_kairosroute.heal"
_NEEDS = (
    f"'{_PARAM}' needs a 'response_format'; without 'stream' 'tools' are enough, "
    "and plugins that bring tools."
)
_SCHEMA_PARAM = "response_format.json_schema.schema"
_TOOLS_PARAM = "tools"
_NOTHING = Raw(b"")


class _JsonSchema(msgspec.Struct, frozen=True):
    schema: Raw = _NOTHING


class _Format(msgspec.Struct, frozen=True):
    json_schema: _JsonSchema | None = None


class _Function(msgspec.Struct, frozen=True):
    name: str = ""
    parameters: Raw = _NOTHING


class _Tool(msgspec.Struct, frozen=True):
    function: _Function | None = None


_decode_format = msgspec.json.Decoder(_Format).decode
_decode_tools = msgspec.json.Decoder(list[_Tool] | None).decode


class Forms:
    """What a request wants healed, and how. `content` is None where the text may be anything."""

    def __init__(self, way: Way, content: Form | None, tools: Raw | None) -> None:
        self.way = way
        self.content = content
        self._tools = tools
        self._parameters: dict[str, bytes] | None = None
        self._arguments: dict[str, Form] = {}
        self._room = MOST_READ

    def __repr__(self) -> str:
        return f"<Forms {self.way}>"

    def arguments(self, name: str) -> Form:
        """The form of the arguments of that tool; its schema was not compiled."""
        form = self._arguments.get(name)
        if form is None:
            if self._parameters is None:
                self._parameters = {} if self._tools is None else _parameters(self._tools)
            raw = self._parameters.get(name)
            schema = None if raw is None else self._peek(raw)
            form = self._arguments[name] = Form(schema, arguments=True)
        return form

    def _peek(self, raw: bytes) -> Schema | None:
        if self._room <= 0:
            return unread_schema()
        try:
            schema = peek_schema(raw, _TOOLS_PARAM)
        except Rejected:
            self._room -= AT_ONCE  # as much may have been looked at
            return None
        self._room -= schema.weight
        return schema


def read_forms(
    request: ChatRequest, fields: Mapping[str, Raw], *, ours: bool = False
) -> Forms | None:
    """What is to be healed; None: nothing. `ours`: plugins bring tools. Raises Rejected 400: `heal`
    is no way of healing, there is nothing that it could mean, or the schema cannot be used."""
    asked, stream = request.extension.heal, bool(request.stream)
    if isinstance(asked, str) and asked not in WAYS:
        ways = "', '".join(WAYS)
        raise rejected_field(_PARAM, f"Invalid '{_PARAM}': expected true, false, '{ways}'.")
    if isinstance(request, CompareRequest):
        if asked:
            raise rejected_field(_PARAM, f"'{_PARAM}' is not for comparisons: they show what came.")
        return None
    if asked is False or (asked is None and (stream or not request.needs_json)):
        return None
    if not request.needs_json:
        if ours and stream and asked is True:
            return None  # only calls of ours are healed
        if stream or not (request.tools or ours):
            raise rejected_field(_PARAM, _NEEDS)
    content = _content(fields["response_format"]) if request.needs_json else None
    way: Way = "whole" if not stream else "buffer" if asked == "buffer" else "stream"
    return Forms(way, content, fields.get("tools"))


def _content(asked: Raw) -> Form:
    try:
        found = _decode_format(asked).json_schema
    except msgspec.ValidationError as error:
        message = f"Invalid 'response_format': {str(error)[:200]}."
        raise rejected_field("response_format", message) from None
    if found is None or bytes(found.schema) in (b"", b"null"):
        return Form()
    return Form(peek_schema(bytes(found.schema), _SCHEMA_PARAM))


def _parameters(tools: Raw) -> dict[str, bytes]:
    """The schema of each tool that has one."""
    try:
        found = _decode_tools(tools) or []
    except msgspec.ValidationError:
        return {}
    functions = [tool.function for tool in found if tool.function is not None]
    return {one.name: bytes(one.parameters) for one in functions if one.parameters}


def check_by(schema: bytes) -> str | None:
    """What is wrong with a `response_format`'s schema, for another process."""
    try:
        read_schema(schema, _SCHEMA_PARAM)
    except Rejected as refusal:
        return refusal.message
    return None


def refuse_schema(message: str) -> Rejected:
    """The 400 for what `check_by` has said."""
    return rejected_field(_SCHEMA_PARAM, message)


def heal_by(text: str, finish: str, schema: bytes | None, arguments: bool) -> Healed:
    """`heal`, for another process; no bytes are a schema that is not to be read. One that cannot
    be used says nothing: it is a tool's, since a caller's own was refused."""
    try:
        read = unread_schema() if schema == b"" else None
        read = read_schema(schema, _SCHEMA_PARAM) if schema else read
    except Rejected:
        read = None
    return heal(text, finish, Form(read, arguments))
