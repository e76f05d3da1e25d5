"""A whole answer's body goes in; the texts that a model wrote in it come out, and go back changed.

The dialect's answers are OpenAI's `chat.completion` by the time they come here. Only what is
changed is written anew: every other member of the body keeps its bytes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import Raw

__all__ = ["Place", "Spoken", "asked_again", "respoken", "spoken"]

Members = dict[str, Raw]

MOST_QUOTED = 16_384
"""Characters of an answer that are shown to who is asked again."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Members).decode
_decode_list = msgspec.json.Decoder(list[Members]).decode
_decode_text = msgspec.json.Decoder(str).decode


class Place(NamedTuple):
    """Where a text stands: its choice, and which of its tool calls; None: the content."""

    choice: int
    call: int | None = None


class Spoken(NamedTuple):
    """A text, the tool that is called with it (None: the content), and why its choice ended."""

    text: str
    tool: str | None
    finish: str


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: Raw = Raw(b"")


class _Call(msgspec.Struct, frozen=True):
    function: _Function | None = None


class _Message(msgspec.Struct, frozen=True):
    content: Raw = Raw(b"")
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, frozen=True):
    message: _Message | None = None
    finish_reason: str | None = None


class _Reply(msgspec.Struct, frozen=True):
    choices: list[_Choice]


_decode_reply = msgspec.json.Decoder(_Reply).decode


def spoken(body: bytes) -> dict[Place, Spoken]:
    """Every text of an answer that was believed. Empty where it cannot be read so."""
    try:
        choices = _decode_reply(body).choices
    except (msgspec.MsgspecError, RecursionError):
        return {}
    found: dict[Place, Spoken] = {}
    for number, choice in enumerate(choices):
        message, finish = choice.message or _Message(), choice.finish_reason or ""
        if bytes(message.content).startswith(b'"'):
            found[Place(number)] = Spoken(_decode_text(message.content), None, finish)
        for place, call in enumerate(message.tool_calls or ()):
            function = call.function
            if function is not None and bytes(function.arguments).startswith(b'"'):
                text = _decode_text(function.arguments)
                found[Place(number, place)] = Spoken(text, function.name or "", finish)
    return found


def respoken(body: bytes, changes: Mapping[Place, str]) -> bytes:
    """The body with these texts in place of what `spoken` has found there."""
    if not changes:
        return body
    reply = _decode(body)
    choices = _decode_list(reply["choices"])
    for number in {place.choice for place in changes}:
        message = _decode(choices[number]["message"])
        if (text := changes.get(Place(number))) is not None:
            message["content"] = Raw(_encode(text))
            choices[number].pop("logprobs", None)  # of tokens that are not there any more
        calls = {place.call: text for place, text in changes.items() if place.choice == number}
        calls.pop(None, None)
        if calls:
            message["tool_calls"] = Raw(_recalled(message["tool_calls"], calls))
        choices[number]["message"] = Raw(_encode(message))
    reply["choices"] = Raw(_encode(choices))
    return _encode(reply)


def _recalled(calls: Raw, changes: Mapping[int | None, str]) -> bytes:
    """Tool calls with these arguments instead."""
    found = _decode_list(calls)
    for number, text in changes.items():
        assert number is not None
        function = _decode(found[number]["function"])
        function["arguments"] = Raw(_encode(text))
        found[number]["function"] = Raw(_encode(function))
    return _encode(found)


def asked_again(fields: Mapping[str, Raw], said: str | None, wish: str) -> Members:
    """The members of the request with what was answered, where it is shown, and a wish."""
    messages = bytes(fields["messages"]).rstrip()[:-1].rstrip()
    if said and len(said) <= MOST_QUOTED:
        messages += b"," + _encode({"role": "assistant", "content": said})
    messages += b"," + _encode({"role": "user", "content": wish}) + b"]"
    return {**fields, "messages": Raw(messages)}
