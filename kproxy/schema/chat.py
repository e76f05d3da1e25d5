"""A chat request's body goes in; a typed `ChatRequest` and its members' exact bytes come out.

1. Every body is read twice: typed, to refuse what is wrong with the name of the field, and as raw
   slices, so that what we do not own goes upstream byte for byte (contract section 2).
2. Whatever is wrong is `Rejected` 400, nothing else is ever raised.
3. Two parsers must never see two requests: bytes that are not UTF-8, lone surrogates, and a
   top-level name given twice (RFC 8259 section 4: unpredictable) are refused.
4. Where OpenAI accepts null, null is accepted. Unknown fields, roles and part types pass.
"""

from types import MappingProxyType
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw
from msgspec.structs import replace

from kproxy.errors import rejected_field
from kproxy.schema.body import decode_fields, decode_typed
from kproxy.schema.jsonlimits import JsonLimits

__all__ = [
    "PRECISION_RANK",
    "PROMPT",
    "ChatCall",
    "ChatRequest",
    "Extension",
    "Message",
    "Part",
    "Precision",
    "ResponseFormat",
    "StreamOptions",
    "Tool",
    "ToolCall",
    "check_name",
    "check_request",
    "decode_chat",
]

_MODEL_LENGTH = 256  # longest known upstream names are under 100

_USER_LENGTH = 256  # OpenAI's identifiers of users are hashes of 64

# The contract bounds neither; a count must stay an SQLite integer, a deadline a usable time.
_MOST_TOKENS = 2**31 - 1
_LONGEST_MS = 86_400_000.0

PROMPT = ("messages", "tools", "functions", "response_format")
"""The members of a request that the model reads."""

Precision = Literal["fp32", "fp16", "bf16", "fp8", "int8", "int4"]
PRECISION_RANK = MappingProxyType({"int4": 0, "int8": 1, "fp8": 2, "bf16": 3, "fp16": 3, "fp32": 4})
"""Order of precision (contract section 2): fp32 > fp16 = bf16 > fp8 > int8 > int4."""

TokenLimit = Annotated[int, Meta(ge=1, le=_MOST_TOKENS)]
Milliseconds = Annotated[float, Meta(gt=0, le=_LONGEST_MS)]
Positive = Annotated[float, Meta(gt=0)]


class Part(msgspec.Struct, frozen=True):
    """One part of a message's content. Images, files and audio stay raw."""

    type: str
    text: str | None = None


class CalledFunction(msgspec.Struct, frozen=True):
    """The function of a tool call; `arguments` is JSON text, written by a model."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct, frozen=True):
    """A call that the assistant made in an earlier turn."""

    id: str | None = None
    type: str | None = None
    function: CalledFunction | None = None


class Message(msgspec.Struct, frozen=True):
    """One message of the conversation."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class ToolDefinition(msgspec.Struct, frozen=True):
    """The function behind a tool; its schema stays raw."""

    name: str


class Tool(msgspec.Struct, frozen=True):
    """A tool the model may call. Kinds other than `function` pass."""

    type: str | None = None
    function: ToolDefinition | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """`include_usage`: whether the caller wants the usage chunk."""

    include_usage: bool | None = None


class ResponseFormat(msgspec.Struct, frozen=True):
    """`text`, `json_object` or `json_schema`; the schema stays raw."""

    type: str


class Extension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Our own object in a request (contract section 2); a key that we do not know is an error."""

    strategy: Literal["auto", "single", "hedge", "race"] | None = None
    deadline_ms: Milliseconds | None = None
    first_token_ms: Milliseconds | None = None
    max_cost_usd: Annotated[float, Meta(ge=0)] | None = None
    models: Annotated[list[str], Meta(min_length=1, max_length=100)] | None = None
    dial: Literal["cheap", "balanced", "best"] | None = None
    rescue: bool | None = None
    explain: bool | None = None
    heal: str | bool | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """What kproxy reads of a chat request (contract section 2). Null means: not given."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None  # 128: OpenAI's own limit
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[Tool] | None = None
    functions: list[ToolDefinition] | None = None  # the older spelling of tools
    response_format: ResponseFormat | None = None
    plugins: list[str] | None = None
    data_collection: Literal["allow", "deny"] | None = None
    zdr: bool | None = None
    preferred_max_latency: Positive | None = None  # milliseconds
    preferred_min_throughput: Positive | None = None  # tokens per second
    min_quantization: Precision | None = None
    max_quantization: Precision | None = None
    x_kairosroute: Extension | None = None

    @property
    def extension(self) -> Extension:
        """`x_kairosroute`, or one in which nothing is set."""
        return self.x_kairosroute or _NO_EXTENSION

    @property
    def include_usage(self) -> bool:
        """Whether the caller asked for the usage chunk of a stream."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def output_limit(self) -> int | None:
        """The most tokens of one choice: `max_completion_tokens` and `max_tokens` mean the same,
        and of two that differ the provider may take either."""
        newer, older = self.max_completion_tokens, self.max_tokens
        if newer is None or older is None:
            return newer or older
        return max(newer, older)

    @property
    def most_output(self) -> int | None:
        """The most tokens of all choices together, where the caller has a limit."""
        limit = self.output_limit
        return None if limit is None else limit * (self.n or 1)

    @property
    def needs_tools(self) -> bool:
        """Whether the model must be able to call tools."""
        return bool(self.tools or self.functions)

    @property
    def needs_json(self) -> bool:
        """Whether the model must have a JSON mode."""
        asked = self.response_format
        return asked is not None and asked.type in ("json_object", "json_schema")

    @property
    def needs_vision(self) -> bool:
        """Whether a message carries an image."""
        for message in self.messages:
            if isinstance(message.content, list):
                for part in message.content:
                    if part.type == "image_url":
                        return True
        return False


_NO_EXTENSION = Extension()
_NULL = Raw(b"null")


class ChatCall(msgspec.Struct, frozen=True):
    """A request that passed: typed, and as the exact bytes of each top-level member, in order."""

    request: ChatRequest
    fields: dict[str, Raw]

    @property
    def prompt(self) -> bytes:
        """The JSON of messages, tools and the answer's schema: what the model will read."""
        return b"".join([bytes(self.fields[name]) for name in PROMPT if name in self.fields])

    @property
    def user(self) -> str:
        """The caller's own name for who it asks for; empty where it gives none. Raises `Rejected`.

        It is looked at only where it means something to us, else it is the provider's to judge.
        """
        raw = bytes(self.fields.get("user", _NULL))
        if raw == b"null":
            return ""
        user = msgspec.json.decode(raw) if raw.startswith(b'"') else None
        if user is None or len(user) > _USER_LENGTH:
            raise rejected_field(
                "user", f"Invalid 'user': expected a string of at most {_USER_LENGTH} characters."
            )
        return str(user)

    def let_go(self) -> None:
        """Nobody will be asked again: the body, which each member is a slice of, may go."""
        self.fields.clear()

    def changed(self, messages: Raw | None = None, tools: Raw | None = None) -> "ChatCall":
        """The same request with these members instead; they have the shape of what they replace."""
        fields, request = dict(self.fields), self.request
        if messages is not None:
            fields["messages"] = messages
            request = replace(request, messages=_decode_messages(messages))
        if tools is not None:
            fields["tools"] = tools
            request = replace(request, tools=_decode_tools(tools))
        return ChatCall(request, fields)


_decode_request = msgspec.json.Decoder(ChatRequest).decode
_decode_messages = msgspec.json.Decoder(list[Message]).decode
_decode_tools = msgspec.json.Decoder(list[Tool]).decode


def decode_chat(body: bytes, limits: JsonLimits) -> ChatCall:
    """Read a whole body. Raises `Rejected` 400, with `param` where one field is at fault."""
    fields = decode_fields(body, limits)
    request = decode_typed(body, _decode_request, ChatRequest)
    check_request(request, limits)
    return ChatCall(request, fields)


def check_request(request: ChatRequest, limits: JsonLimits) -> None:
    """What types do not say. Raises `Rejected` 400."""
    if len(request.messages) > limits.messages:
        raise rejected_field(
            "messages", f"Invalid 'messages': expected at most {limits.messages} items."
        )
    check_name(request.model, "model")
    for name in request.extension.models or ():
        check_name(name, "x_kairosroute.models")


def check_name(name: str, param: str) -> None:
    """A model's name; it becomes a key in memory, a line in messages, a field of receipts."""
    if not name:
        raise rejected_field(param, f"Invalid '{param}': expected a name, got an empty string.")
    if len(name) > _MODEL_LENGTH:
        raise rejected_field(
            param, f"Invalid '{param}': expected at most {_MODEL_LENGTH} characters."
        )
    if not name.isprintable():
        raise rejected_field(param, f"Invalid '{param}': expected printable characters only.")
