"""OpenAI's messages in, Anthropic's system text and turns out; what has no place is named.

1. `system` and `developer` messages are gathered into `system`, in their order, wherever they
   stand. Anthropic's own OpenAI-compatible endpoint does the same.
2. Results of tools belong to the user's turn, and messages of one role that follow each other are
   one turn. So the results of parallel calls are one turn, as Anthropic wants them.
3. A text that an assistant turn at the end begins is continued. It may not end in white space.
4. Left out: a message's `name`, an image's `detail`, the thoughts of earlier turns (Anthropic takes
   only its own, signed), and empty texts, which Anthropic refuses.
5. Parts of a kind that OpenAI does not have pass as they are: they are Anthropic's own blocks.
"""

from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from kproxy.dialect.anthropic.media import document, image
from kproxy.errors import NotCarried

__all__ = ["Conversation", "translate_messages"]

Block = dict[str, Any] | Raw

_ABSENT = Raw(b"")


class Conversation(NamedTuple):
    """What `system` and `messages` of the request become."""

    system: list[Block]
    turns: list[dict[str, Any]]


class _Address(msgspec.Struct, frozen=True):
    url: str


class _File(msgspec.Struct, frozen=True):
    file_data: str | None = None
    filename: str | None = None


class _Part(msgspec.Struct, frozen=True):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: _Address | str | None = None
    file: _File | None = None
    cache_control: Raw = _ABSENT


class _Function(msgspec.Struct, frozen=True):
    name: str
    arguments: str = ""


class _Call(msgspec.Struct, frozen=True):
    id: str
    function: _Function | None = None


class _Message(msgspec.Struct, frozen=True):
    role: str
    content: str | list[Raw] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    function_call: Raw = _ABSENT


_decode_messages = msgspec.json.Decoder(list[_Message]).decode
_decode_part = msgspec.json.Decoder(_Part).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant",
          "tool": "user"}  # fmt: skip


def translate_messages(raw: Raw) -> Conversation:
    """The `messages` member. Raises NotCarried, naming the message."""
    try:
        messages = _decode_messages(raw)
    except msgspec.ValidationError as error:
        raise NotCarried("messages", f"Invalid 'messages': {error}") from error
    conversation = Conversation([], [])
    for at, message in enumerate(messages):
        _add(conversation, message, f"messages[{at}]")
    if not conversation.turns:
        raise NotCarried("messages", "Anthropic wants a message of the user's.")
    _trim(conversation.turns)
    if not conversation.turns:
        raise NotCarried("messages", "Anthropic goes on from no text of white space alone.")
    return conversation


def _add(conversation: Conversation, message: _Message, where: str) -> None:
    role = _ROLES.get(message.role)
    if role is None:
        raise NotCarried(f"{where}.role", f"Anthropic has no role like '{message.role[:40]}'.")
    blocks = _blocks(message, where)
    turns = conversation.turns
    if role == "system":
        conversation.system.extend(blocks)
    elif blocks and turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    elif blocks:
        turns.append({"role": role, "content": blocks})


def _blocks(message: _Message, where: str) -> list[Block]:
    said = _content(message.content, where)
    if message.role == "tool":
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": message.tool_call_id or ""}
        return [result | {"content": said} if said else result]
    if message.role == "assistant":
        if message.function_call and bytes(message.function_call) != b"null":
            raise NotCarried(f"{where}.function_call", "Use tool_calls instead of function_call.")
        if message.refusal and not said:
            said = [_text(message.refusal)]
        said += [_call(call, where) for call in message.tool_calls or ()]
    return said


def _content(content: str | list[Raw] | None, where: str) -> list[Block]:
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [_text(content)]
    blocks = (_part(raw, f"{where}.content[{at}]") for at, raw in enumerate(content))
    return [block for block in blocks if block is not None]


def _part(raw: Raw, where: str) -> Block | None:
    try:
        part = _decode_part(raw)
    except msgspec.ValidationError as error:
        raise NotCarried(where, f"Invalid '{where}': {error}") from error
    said: dict[str, Any]
    if part.type in ("text", "refusal"):
        text = part.text or part.refusal
        if not text:
            return None
        said = _text(text)
    elif part.type == "image_url" and part.image_url is not None:
        url = part.image_url
        said = image(url if isinstance(url, str) else url.url, where)
    elif part.type == "file" and part.file is not None:
        said = document(part.file.file_data, part.file.filename, where)
    elif part.type in ("image_url", "file", "input_audio"):
        raise NotCarried(where, f"Anthropic's API takes no such part ('{part.type}').")
    else:
        return raw
    if part.cache_control:
        said["cache_control"] = part.cache_control
    return said


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _call(call: _Call, where: str) -> dict[str, Any]:
    function = call.function
    if function is None:
        raise NotCarried(f"{where}.tool_calls", "Anthropic knows calls of functions only.")
    arguments = function.arguments.strip().encode() or b"{}"
    try:
        _decode_object(arguments)
    except (msgspec.MsgspecError, RecursionError) as error:
        reason = f"The arguments of '{function.name[:80]}' are not a JSON object."
        raise NotCarried(f"{where}.tool_calls", reason) from error
    return {"type": "tool_use", "id": call.id, "name": function.name, "input": Raw(arguments)}


def _trim(turns: list[dict[str, Any]]) -> None:
    """No white space at the end of a text that the model is to go on from."""
    last = turns[-1]
    block = last["content"][-1]
    if last["role"] != "assistant" or isinstance(block, Raw) or block["type"] != "text":
        return
    block["text"] = block["text"].rstrip()
    if not block["text"]:
        last["content"].pop()
        if not last["content"]:
            turns.pop()
