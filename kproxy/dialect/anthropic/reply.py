"""A whole message of Anthropic's in, a `chat.completion` of OpenAI's out.

Texts are joined, thoughts become `reasoning_content`, calls `tool_calls`. What tools that run at
Anthropic have done, and citations, have no place in a completion and are left out.
"""

from typing import Any

import msgspec
from msgspec import Raw

from kproxy.dialect.anthropic.counts import finish_reason, read_counts, usage
from kproxy.errors import Fault, FaultKind

__all__ = ["completion"]

_ABSENT = Raw(b"")


class _Block(msgspec.Struct, frozen=True):
    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: Raw = _ABSENT


class _Message(msgspec.Struct, frozen=True):
    type: str = "message"
    id: str = ""
    model: str | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: Raw = _ABSENT


_decode = msgspec.json.Decoder(_Message).decode


def completion(body: bytes, created: int) -> bytes:
    """The answer; `created` is when it was asked for, as Unix time. Raises Fault."""
    try:
        body.decode()  # raw slices are not checked by the parser
        message = _decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Fault(FaultKind.BAD_BODY, "a body that is not a message") from error
    if message.type == "error":
        raise Fault(FaultKind.ERROR_EVENT, "an error inside a 200")
    if message.content is None:
        raise Fault(FaultKind.BAD_BODY, "a message without content")
    stopped = message.stop_reason
    choice = {
        "index": 0,
        "message": _said(message.content),
        "logprobs": None,
        "finish_reason": None if stopped is None else finish_reason(stopped),
    }
    counted = usage(read_counts(message.usage))
    return msgspec.json.encode(
        {
            "id": message.id,
            "object": "chat.completion",
            "created": created,
            "model": message.model,
            "choices": [choice],
            **({} if counted is None else {"usage": counted}),
        }
    )


def _said(blocks: list[_Block]) -> dict[str, Any]:
    text = "".join([block.text for block in blocks if block.type == "text"])
    thoughts = "".join([block.thinking for block in blocks if block.type == "thinking"])
    calls = [_call(block) for block in blocks if block.type == "tool_use"]
    said: dict[str, Any] = {
        "role": "assistant",
        "content": text or (None if calls else ""),
        "refusal": None,
    }
    if thoughts:
        said["reasoning_content"] = thoughts
    if calls:
        said["tool_calls"] = calls
    return said


def _call(block: _Block) -> dict[str, Any]:
    arguments = bytes(block.input).decode() or "{}"
    function = {"name": block.name, "arguments": arguments}
    return {"id": block.id, "type": "function", "function": function}
