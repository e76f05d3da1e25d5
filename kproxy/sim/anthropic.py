"""Anthropic's Messages wire: a request body in, `Asked` out; a `Script` in, JSON or events out.

Source: the Messages API reference and its streaming events, as the official client parses them
(November 2026): message_start, then for each block content_block_start, content_block_delta and
content_block_stop, then message_delta with the stop reason and the usage, message_stop; `ping`
anywhere between. A stream that fails after its 200 says so by an `error` event.
"""

import re
from collections.abc import Iterator

import msgspec
import orjson

from kproxy.errors import Rejected, rejected_field
from kproxy.sim.asked import Asked, Tool, decoded, digest, last_message, prompt_size
from kproxy.sim.faults import split_model
from kproxy.sim.script import Script
from kproxy.sim.show import Rendered

__all__ = ["ID_FIELD", "error_event", "problem", "read", "render", "reply"]

ID_FIELD = b"request-id"

_PING = b'event: ping\ndata: {"type":"ping"}\n\n'


class _ToolChoice(msgspec.Struct):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Tool(msgspec.Struct):
    name: str
    input_schema: dict[str, object] | None = None


class _Format(msgspec.Struct):
    type: str
    schema: dict[str, object] | None = None


class _OutputConfig(msgspec.Struct):
    format: _Format | None = None


class _Request(msgspec.Struct):
    model: str
    messages: list[msgspec.Raw]
    max_tokens: int
    stream: bool | None = None
    system: msgspec.Raw = msgspec.Raw(b"")
    tools: msgspec.Raw = msgspec.Raw(b"")
    tool_choice: msgspec.Raw = msgspec.Raw(b"")
    output_config: msgspec.Raw = msgspec.Raw(b"")


_request = msgspec.json.Decoder(_Request)
_tools = msgspec.json.Decoder(list[_Tool] | None)
_choice = msgspec.json.Decoder(_ToolChoice | None)
_config = msgspec.json.Decoder(_OutputConfig | None)

_REASONS = {
    "stop": b"end_turn",
    "length": b"max_tokens",
    "tool_calls": b"tool_use",
    "content_filter": b"refusal",
}
_TYPES = {
    400: ("invalid_request_error", "The request is not valid."),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "You may not use this."),
    404: ("not_found_error", "model: not found"),
    408: ("timeout_error", "The request took too long."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    422: ("invalid_request_error", "The request cannot be processed."),
    429: ("rate_limit_error", "This request would exceed your rate limit."),
    504: ("timeout_error", "Gateway timeout."),
    529: ("overloaded_error", "Overloaded"),
}
_WORDS = {
    "context_length_exceeded": "prompt is too long: {} tokens > {} maximum",
    "content_filter": "Output blocked by content filtering policy",
}
_OTHER = ("api_error", "Internal server error")


def read(body: bytes, root: bytes) -> Asked:
    """The request. Raises Rejected (400)."""
    request = decoded(_request, body)
    messages = request.messages
    last = last_message(messages)
    name, faults = split_model(request.model)
    if request.max_tokens < 1:
        raise rejected_field("max_tokens", "max_tokens: must be greater than or equal to 1")
    raws = (
        bytes(request.system),
        bytes(request.tools),
        bytes(request.tool_choice),
        bytes(request.output_config),
    )
    config = decoded(_config, request.output_config, "output_config") if raws[3] else None
    wanted = config.format if config is not None else None
    return Asked(
        model=request.model,
        name=name,
        faults=faults,
        digest=digest(root, messages, last, name.encode(), *raws),
        messages=messages,
        stream=bool(request.stream),
        usage=True,
        limit=request.max_tokens,
        tools=_wanted(request) if raws[1] and not last.has_tool_result else (),
        shape=(wanted.schema or True) if wanted is not None else None,
        prefill=last.prefill,
        choices=1,
        prompt_tokens=prompt_size(messages, raws[0], raws[1]),
    )


def _wanted(request: _Request) -> tuple[Tool, ...]:
    """The tools to call: the one the caller insists on, else the first, or two in parallel."""
    offered = decoded(_tools, request.tools, "tools") or []
    tools = tuple(Tool(one.name, one.input_schema) for one in offered)
    choice = decoded(_choice, request.tool_choice, "tool_choice") if request.tool_choice else None
    if choice is None:
        return tools[:2]
    if choice.type == "none":
        return ()
    if choice.type == "tool":
        named = tuple(tool for tool in tools if tool.name == choice.name)
        if not named:
            raise rejected_field("tool_choice", f"tool_choice: there is no tool {choice.name!r}")
        return named[:1]
    return tools[: 1 if choice.disable_parallel_tool_use else 2]


def reply(script: Script, asked: Asked, usage: bool) -> bytes:
    """The whole answer as one JSON body. `usage` False leaves the usage out."""
    if script.calls:
        content = b",".join(
            [
                b'{"type":"tool_use","id":"toolu_%b","name":%b,"input":%b}'
                % (call.ident.encode(), orjson.dumps(call.name), _input(call.escaped))
                for call in script.calls
            ]
        )
    else:
        content = b'{"type":"text","text":"%b"}' % b"".join(script.escaped)
    return (
        b'{"id":"msg_%b","type":"message","role":"assistant","model":%b,"content":[%b],'
        b'"stop_reason":"%b","stop_sequence":null%b}'
    ) % (
        script.ident.encode(),
        orjson.dumps(asked.model),
        content,
        _REASONS[script.finish],
        b',"usage":%b' % _usage(script, script.completion_tokens) if usage else b"",
    )


def _input(escaped: tuple[bytes, ...]) -> bytes:
    """A call's arguments as JSON; {} where the token limit has cut them."""
    text: str = orjson.loads(b'"%b"' % b"".join(escaped))
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return b"{}"
    return text.encode()


def _usage(script: Script, output: int) -> bytes:
    return (
        b'{"input_tokens":%d,"cache_creation_input_tokens":0,"cache_read_input_tokens":%d,'
        b'"output_tokens":%d,"service_tier":"standard"}'
    ) % (script.prompt_tokens - script.cached_tokens, script.cached_tokens, output)


def render(script: Script, asked: Asked, usage: bool) -> Rendered:
    """The answer as events. `usage` False leaves the usage out, where the wire allows it: zero."""
    start = (
        b'{"type":"message_start","message":{"id":"msg_%b","type":"message","role":"assistant",'
        b'"model":%b,"content":[],"stop_reason":null,"stop_sequence":null%b}}'
    ) % (
        script.ident.encode(),
        orjson.dumps(asked.model),
        b',"usage":%b' % _usage(script, min(1, script.completion_tokens)) if usage else b"",
    )
    delta = b'{"type":"message_delta","delta":{"stop_reason":"%b","stop_sequence":null}%b}' % (
        _REASONS[script.finish],
        b',"usage":{"output_tokens":%d}' % script.completion_tokens if usage else b"",
    )
    last = max(0, len(script.calls) - 1)
    preamble = _event(b"message_start", start)
    if not script.calls:
        preamble += _start(0, b'{"type":"text","text":""}')
    return Rendered(
        preamble=preamble + _PING,
        tokens=_call_tokens(script) if script.calls else _tokens(script),
        finish=_stop(last) + _event(b"message_delta", delta),
        usage=b"",
        done=_event(b"message_stop", b'{"type":"message_stop"}'),
        empty=_delta(0, b'"text_delta","text":""') if not script.calls else _PING,
        comment=_PING,
    )


def _tokens(script: Script) -> Iterator[bytes]:
    """One event for each piece of text."""
    before, after = _delta(0, b'"text_delta","text":"\0"').split(b"\0")
    for piece in script.escaped:
        yield before + piece + after


def _call_tokens(script: Script) -> Iterator[bytes]:
    """The events of tool calls; each block ends where the next one begins."""
    for index, call in enumerate(script.calls):
        block = b'{"type":"tool_use","id":"toolu_%b","name":%b,"input":{}}' % (
            call.ident.encode(),
            orjson.dumps(call.name),
        )
        yield (_stop(index - 1) if index else b"") + _start(index, block)
        for piece in call.escaped:
            yield _delta(index, b'"input_json_delta","partial_json":"%b"' % piece)


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, data)


def _start(index: int, block: bytes) -> bytes:
    data = b'{"type":"content_block_start","index":%d,"content_block":%b}' % (index, block)
    return _event(b"content_block_start", data)


def _delta(index: int, delta: bytes) -> bytes:
    data = b'{"type":"content_block_delta","index":%d,"delta":{"type":%b}}' % (index, delta)
    return _event(b"content_block_delta", data)


def _stop(index: int) -> bytes:
    data = b'{"type":"content_block_stop","index":%d}' % index
    return _event(b"content_block_stop", data)


def problem(error: Rejected, ident: str) -> bytes:
    """An error body; an empty message is filled in from the status.

    Anthropic has no codes: what OpenAI says by one, it says in words.
    """
    kind, message = _TYPES.get(error.status, _OTHER)
    own = _WORDS.get(error.code)
    if own is not None:
        sizes = re.findall(r"\d+", error.message)
        error = Rejected(error.status, "", own.format(*reversed(sizes)))
    return orjson.dumps(
        {
            "type": "error",
            "error": {"type": kind, "message": error.message or message},
            "request_id": f"req_{ident}",
        }
    )


def error_event(ident: str) -> bytes:
    """What a provider that fails after its 200 puts into the stream."""
    return _event(b"error", problem(Rejected(529, "", ""), ident))
