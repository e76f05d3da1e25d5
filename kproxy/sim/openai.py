"""OpenAI's chat wire: a request body in, `Asked` out; a `Script` in, JSON or event bytes out.

Source: the OpenAI API reference, chat completions and streaming, as its official clients parse it
(November 2026). Bytes are a function of the request: `created` is a fixed instant and identifiers
come from the digest, so two runs can be compared byte for byte.

Events of one stream differ in their content alone. So the bytes before and after it are made once
per stream, and an event costs one concatenation.
"""

from collections.abc import Iterator

import msgspec
import orjson

from kproxy.errors import Rejected, rejected_field
from kproxy.sim.asked import (
    Asked,
    Tool,
    decoded,
    digest,
    last_message,
    prompt_size,
)
from kproxy.sim.faults import split_model
from kproxy.sim.script import Script
from kproxy.sim.show import Rendered

__all__ = [
    "CREATED",
    "ID_FIELD",
    "error_event",
    "model_object",
    "models",
    "problem",
    "read",
    "render",
    "reply",
]  # fmt: skip

CREATED = 1_767_225_600
"""The instant of every answer: 1 January 2026, UTC, in seconds."""

ID_FIELD = b"x-request-id"

_TAIL = b'"service_tier":"default","system_fingerprint":"fp_sim"'


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Request(msgspec.Struct):
    model: str
    messages: list[msgspec.Raw]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    tools: msgspec.Raw = msgspec.Raw(b"")
    tool_choice: msgspec.Raw = msgspec.Raw(b"")
    parallel_tool_calls: bool | None = None
    response_format: msgspec.Raw = msgspec.Raw(b"")


class _Function(msgspec.Struct):
    name: str
    parameters: dict[str, object] | None = None


class _Tool(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None


class _Named(msgspec.Struct):
    name: str


class _Choice(msgspec.Struct):
    function: _Named | None = None


class _Schema(msgspec.Struct):
    schema: dict[str, object] | None = None


class _Format(msgspec.Struct):
    type: str
    json_schema: _Schema | None = None


_request = msgspec.json.Decoder(_Request)
_tools = msgspec.json.Decoder(list[_Tool] | None)
_choice = msgspec.json.Decoder(str | _Choice | None)
_format = msgspec.json.Decoder(_Format | None)

_CODES = {
    400: ("invalid_request_error", None, "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", "unsupported_country", "You may not use this."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    408: ("invalid_request_error", "request_timeout", "The request took too long."),
    413: ("invalid_request_error", "request_too_large", "The request is too large."),
    422: ("invalid_request_error", None, "The request cannot be processed."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached. Please try again later."),
    500: ("server_error", None, "The server had an error while processing your request."),
    502: ("server_error", None, "Bad gateway."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
    504: ("server_error", None, "Gateway timeout."),
    529: ("server_error", "overloaded", "The engine is overloaded."),
}
_OTHER = ("server_error", None, "The request failed.")


def read(body: bytes, root: bytes) -> Asked:
    """The request. Raises Rejected (400)."""
    request = decoded(_request, body)
    messages = request.messages
    last = last_message(messages)
    name, faults = split_model(request.model)
    limit = request.max_completion_tokens
    if limit is None:
        limit = request.max_tokens
    if limit is not None and limit < 1:
        raise rejected_field("max_tokens", f"{limit} is less than the minimum of 1")
    choices = request.n or 1
    if not 1 <= choices <= 128:
        raise rejected_field("n", f"{choices} is not between 1 and 128")
    raws = (bytes(request.tools), bytes(request.tool_choice), bytes(request.response_format))
    options = request.stream_options
    return Asked(
        model=request.model,
        name=name,
        faults=faults,
        digest=digest(root, messages, last, name.encode(), *raws),
        messages=messages,
        stream=bool(request.stream),
        usage=options is not None and bool(options.include_usage),
        limit=limit,
        tools=_wanted(request) if raws[0] and not last.has_tool_result else (),
        shape=_shape(request.response_format) if raws[2] else None,
        prefill=last.prefill,
        choices=choices,
        prompt_tokens=prompt_size(messages, raws[0], raws[2]),
    )


def _wanted(request: _Request) -> tuple[Tool, ...]:
    """The tools to call: those the caller insists on, else the first, or two in parallel."""
    offered = decoded(_tools, request.tools, "tools") or []
    tools = [Tool(one.function.name, one.function.parameters) for one in offered if one.function]
    choice = decoded(_choice, request.tool_choice, "tool_choice") if request.tool_choice else None
    if choice == "none":
        return ()
    if isinstance(choice, _Choice) and choice.function is not None:
        wanted = choice.function.name
        named = tuple(tool for tool in tools if tool.name == wanted)
        if not named:
            raise rejected_field("tool_choice", f"there is no tool {wanted!r}")
        return named[:1]
    return tuple(tools[: 1 if request.parallel_tool_calls is False else 2])


def _shape(raw: msgspec.Raw) -> object:
    wanted = decoded(_format, raw, "response_format")
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return True
    if wanted.type == "json_schema" and wanted.json_schema is not None:
        return wanted.json_schema.schema or True
    raise rejected_field("response_format", f"unknown response_format {wanted.type!r}")


def reply(script: Script, asked: Asked, usage: bool) -> bytes:
    """The whole answer as one JSON body. `usage` False leaves the usage out."""
    message = b'{"role":"assistant","content":%b,' % (
        b'"' + b"".join(script.escaped[script.reasoning :]) + b'"' if not script.calls else b"null"
    )
    if script.reasoning:
        thought = b"".join(script.escaped[: script.reasoning])
        message += b'"reasoning_content":"%b",' % thought
    if script.calls:
        calls = [
            b'{"id":"call_%b","type":"function","function":{"name":%b,"arguments":"%b"}}'
            % (call.ident.encode(), orjson.dumps(call.name), b"".join(call.escaped))
            for call in script.calls
        ]
        message += b'"tool_calls":[%b],' % b",".join(calls)
    message += b'"refusal":null,"annotations":[]}'
    choices = b",".join(
        [
            b'{"index":%d,"message":%b,"logprobs":null,"finish_reason":"%b"}'
            % (index, message, script.finish.encode())
            for index in range(asked.choices)
        ]
    )
    return (
        b'{"id":"chatcmpl-%b","object":"chat.completion","created":%d,"model":%b,'
        b'"choices":[%b],%b%b}'
    ) % (
        script.ident.encode(),
        CREATED,
        orjson.dumps(asked.model),
        choices,
        b'"usage":%b,' % _usage(script, asked.choices) if usage else b"",
        _TAIL,
    )


def _usage(script: Script, choices: int) -> bytes:
    answer = script.completion_tokens * choices
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":0,'
        b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
    ) % (
        script.prompt_tokens,
        answer,
        script.prompt_tokens + answer,
        script.cached_tokens,
        script.reasoning * choices,
    )


def render(script: Script, asked: Asked, usage: bool) -> Rendered:
    """The answer as events. `usage` False leaves the usage out even where it was asked for."""
    head = (
        b'data: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":%d,"model":%b,%b,'
        b'"choices":['
    ) % (script.ident.encode(), CREATED, orjson.dumps(asked.model), _TAIL)
    usage = usage and asked.usage
    end = b'],"usage":null}\n\n' if usage else b"]}\n\n"
    none = b'},"logprobs":null,"finish_reason":null}' + end
    starts = [head + b'{"index":%d,"delta":{' % index for index in range(asked.choices)]
    content = b"null" if script.calls else b'""'
    role = b'"role":"assistant","content":%b,"refusal":null' % content
    finish = b'},"logprobs":null,"finish_reason":"%b"}' % script.finish.encode() + end
    return Rendered(
        preamble=b"".join([start + role + none for start in starts]),
        tokens=_call_tokens(script, starts, none)
        if script.calls
        else _tokens(script, starts, none),
        finish=b"".join([start + finish for start in starts]),
        usage=head + b'],"usage":%b}\n\n' % _usage(script, asked.choices) if usage else b"",
        done=b"data: [DONE]\n\n",
        empty=starts[0] + b'"content":""' + none,
        comment=b": keep-alive\n\n",
    )


def _tokens(script: Script, starts: list[bytes], none: bytes) -> Iterator[bytes]:
    """One event for each piece of text, the same for every choice."""
    after = b'"' + none
    if len(starts) > 1 or script.reasoning:
        for number, piece in enumerate(script.escaped):
            key = b'"reasoning_content":"' if number < script.reasoning else b'"content":"'
            yield b"".join([start + key + piece + after for start in starts])
        return
    before = starts[0] + b'"content":"'
    for piece in script.escaped:
        yield before + piece + after


def _call_tokens(script: Script, starts: list[bytes], none: bytes) -> Iterator[bytes]:
    """The events of tool calls: index, identifier and name once, then arguments in pieces."""
    for index, call in enumerate(script.calls):
        deltas = [
            b'"tool_calls":[{"index":%d,"id":"call_%b","type":"function",'
            b'"function":{"name":%b,"arguments":""}}]'
            % (index, call.ident.encode(), orjson.dumps(call.name))
        ]
        deltas += [
            b'"tool_calls":[{"index":%d,"function":{"arguments":"%b"}}]' % (index, piece)
            for piece in call.escaped
        ]
        for delta in deltas:
            yield b"".join([start + delta + none for start in starts])


def problem(error: Rejected, ident: str) -> bytes:
    """An error body; an empty message or code is filled in from the status."""
    kind, code, message = _CODES.get(error.status, _OTHER)
    return orjson.dumps(
        {
            "error": {
                "message": error.message or message,
                "type": error.type or kind,
                "param": error.param,
                "code": error.code
                if error.code != "invalid_request_error" and error.code
                else code,
            }
        }
    )


def error_event(ident: str) -> bytes:
    """What a provider that fails after its 200 puts into the stream."""
    error = Rejected(500, "", "The server had an error while processing your request.")
    return b"data: " + problem(error, ident) + b"\n\n"


def models(names: tuple[str, ...]) -> bytes:
    """The list of models."""
    return b'{"object":"list","data":[%b]}' % b",".join([model_object(name) for name in names])


def model_object(name: str) -> bytes:
    """One model, as the list and `GET /v1/models/{id}` show it."""
    return orjson.dumps(
        {"id": name, "object": "model", "created": CREATED, "owned_by": "kproxy-sim"}
    )
