"""The requests of a tool loop and its whole answers: a round and its results in, the next request
or the answer that the caller sees out. `calls.py` has the rules, and does the same for streams.

1. Our tools stand behind the caller's own in `tools`. A name that both have is the caller's
   mistake: one of the two would never be called.
2. A round goes back as the model said it, calls with all their members (some providers refuse
   a call that comes back without the signature they gave it). Arguments that are no JSON object go
   back as an empty one, since providers refuse them; the result says what was wrong.
3. A caller who insists on a call (`tool_choice`) has had one: from the second round on the model
   is free. In the last round ours cannot be called any more.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Raw

from kproxy.dialect.calls import BETWEEN, LENGTH, Call, Said, goes_on
from kproxy.errors import Fault, FaultKind, rejected_field
from kproxy.outcome import Usage
from kproxy.schema.chat import ChatCall

__all__ = [
    "Round",
    "Whole",
    "next_fields",
    "offer",
    "read_round",
    "usage_json",
    "whole_answer",
    "with_usage",
]

Members = dict[str, Raw]

_NULL = Raw(b"null")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Members).decode
_decode_items = msgspec.json.Decoder(list[Raw]).decode


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Made(msgspec.Struct):
    id: str | None = None
    function: _Function | None = None


_decode_made = msgspec.json.Decoder(_Made).decode


def offer(call: ChatCall, definitions: Mapping[str, Raw]) -> ChatCall:
    """The request with our tools, by name, beside the caller's. Raises Rejected 400."""
    request = call.request
    if request.functions:
        message = "'functions' does not go with plugins that bring tools: use 'tools'."
        raise rejected_field("functions", message)
    if (request.n or 1) > 1:
        raise rejected_field("n", "'n' does not go with plugins that bring tools: leave it out.")
    names = {tool.function.name for tool in request.tools or () if tool.function is not None}
    for name in definitions:
        if name in names:
            raise rejected_field("tools", f"The name '{name}' is that of a tool of a plugin.")
    given = call.fields.get("tools", _NULL)
    items = _decode_items(given) if request.tools else []
    return call.changed(tools=Raw(_encode([*items, *definitions.values()])))


def next_fields(
    fields: Mapping[str, Raw], said: Said, results: Sequence[str], *, ours: Collection[str] = ()
) -> Members:
    """The members of the next round's request: what was said, and what came of each call.

    `ours` are the tools that can be called no more: this round is the last one.
    """
    members = dict(fields)
    assistant = {
        "role": "assistant",
        "content": said.text or None,
        "tool_calls": [_back(call) for call in said.calls],
    }
    if said.reasoning:
        assistant["reasoning_content"] = said.reasoning
    answers = [
        {"role": "tool", "tool_call_id": call.id, "content": result}
        for call, result in zip(said.calls, results, strict=True)
    ]
    items = [*_decode_items(fields["messages"]), assistant, *answers]
    members["messages"] = Raw(_encode(items))
    members.pop("tool_choice", None)
    if bytes(fields.get("tool_choice", _NULL)) == b'"none"':
        members["tool_choice"] = fields["tool_choice"]
    return _closed(members, ours) if ours else members


def _closed(members: Members, ours: Collection[str]) -> Members:
    """Without our tools; where there are no others they stay, since some providers want the tools
    that the messages speak of, and cannot be called."""
    items = _decode_items(members["tools"])
    theirs = [item for item in items if _name(item) not in ours]
    if theirs:
        return members | {"tools": Raw(_encode(theirs))}
    return members | {"tool_choice": Raw(b'"none"')}


def _name(tool: Raw) -> str | None:
    function = _decode_made(tool).function
    return None if function is None else function.name


def _back(call: Call) -> Members:
    function = {"name": call.name, "arguments": _object(call.arguments)}
    own = {"id": Raw(_encode(call.id)), "function": Raw(_encode(function))}
    return {"type": Raw(b'"function"'), **call.members, **own}


def _object(arguments: str) -> str:
    try:
        _decode(arguments)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return "{}"
    return arguments


class Round(NamedTuple):
    """A whole answer of one choice, looked into. `goes_on`: only our tools were called."""

    reply: Members
    choice: Members
    message: Members
    said: Said
    theirs: Sequence[Raw]
    finish: str | None
    goes_on: bool


def read_round(body: bytes, ours: Collection[str]) -> Round:
    """A believed answer. Raises Fault (BAD_BODY)."""
    try:
        reply = _decode(body)
        choice = _decode(_decode_items(reply["choices"])[0])
        message = _decode(choice.get("message", Raw(b"{}")))
        made = message.get("tool_calls", _NULL)
        calls: list[Call] = []
        theirs: list[Raw] = []
        for item in _decode_items(made) if bytes(made) != b"null" else ():
            call = _decode_made(item)
            name = None if call.function is None else call.function.name
            if call.function is not None and name is not None and name in ours:
                ident = call.id or f"call_{len(calls)}"
                calls.append(Call(ident, name, call.function.arguments or "", _decode(item)))
            else:
                theirs.append(item)
        finish = msgspec.json.decode(choice.get("finish_reason", _NULL), type=str | None)
        said = Said(_text(message, "content"), _text(message, "reasoning_content"), calls)
    except (msgspec.MsgspecError, RecursionError, LookupError) as error:
        raise Fault(FaultKind.BAD_BODY, "an answer whose calls cannot be read") from error
    on = goes_on(finish, len(calls), len(theirs))
    return Round(reply, choice, message, said, theirs, finish, on)


def _text(message: Members, name: str) -> str:
    raw = bytes(message.get(name, _NULL))
    return msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else ""


class Whole(NamedTuple):
    """What the rounds came to: the words of all, the last one's among them, pictures, and what they
    have used (None: there was one round)."""

    texts: Sequence[str]
    images: Sequence[Raw]
    usage: Usage | None


def whole_answer(body: bytes, last: Round, whole: Whole) -> bytes:
    """The last round's answer as the caller sees it: all words, our calls left out. `body` itself
    where nothing is to be changed."""
    words = BETWEEN.join(filter(None, whole.texts))
    if not last.said.calls and words == last.said.text and whole.usage is None:
        return body
    message, choice = dict(last.message), dict(last.choice)
    if last.said.calls:
        message.pop("tool_calls")
        if last.theirs:
            message["tool_calls"] = Raw(_encode(last.theirs))
        if last.goes_on:
            choice["finish_reason"] = Raw(_encode(LENGTH))
    content = message.get("content", _NULL)
    if bytes(content).startswith(b"["):
        parts = [{"type": "text", "text": words}] if words else []
        message["content"] = Raw(_encode([*parts, *_decode_items(content)]))
    elif words:
        message["content"] = Raw(_encode(words))
    if whole.images:
        message["images"] = Raw(_encode(whole.images))
    choice["message"] = Raw(_encode(message))
    changed = last.reply | {"choices": Raw(_encode([choice]))}
    if whole.usage is not None:
        changed["usage"] = usage_json(whole.usage)
    return _encode(changed)


def with_usage(body: bytes, usage: Usage) -> bytes:
    """A whole answer that says this usage."""
    return _encode(_decode(body) | {"usage": usage_json(usage)})


def usage_json(usage: Usage) -> Raw:
    """The usage of several answers as OpenAI writes it."""
    return Raw(
        _encode(
            {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
                "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
                "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            }
        )
    )
