"""What a caller asks of a simulated provider, the same value for both wires; and its digest.

`openai.py` and `anthropic.py` read their request bodies into `Asked`. The digest covers what an
answer depends on: seed, address prefix, plain model name, messages, tools, answer format. It leaves
out streaming, the length limit, the faults and an assistant's message at the end. So the streamed
and the whole answer, the cut and the good one, and an answer and its continuation belong together.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

import msgspec

from kproxy.errors import Rejected, rejected_field
from kproxy.sim.faults import Fault

__all__ = ["Asked", "Last", "Tool", "decoded", "digest", "last_message", "prompt_size", "user_text"]


_T = TypeVar("_T")


class Tool(msgspec.Struct, frozen=True):
    """A function that the caller offers."""

    name: str
    schema: object = None


class Asked(msgspec.Struct, frozen=True):
    """One request, read. `digest` has 128 bits.

    limit: tokens the caller wants at most. tools: those to be called in this answer, in order.
    shape: the JSON schema of a structured answer, `True` for any object, None for text.
    prefill: the text of an assistant's message at the end, which the answer continues.
    choices: how many answers (OpenAI's n). usage: whether a stream ends with its usage.
    """

    model: str
    name: str
    faults: tuple[Fault, ...]
    digest: int
    messages: list[msgspec.Raw]
    stream: bool
    usage: bool
    limit: int | None
    tools: tuple[Tool, ...]
    shape: object
    prefill: str | None
    choices: int
    prompt_tokens: int


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None


class Last(msgspec.Struct, frozen=True):
    """What the last message says about the answer."""

    prefill: str | None
    has_tool_result: bool


_message = msgspec.json.Decoder(_Message)


def decoded(decoder: msgspec.json.Decoder[_T], body: bytes | msgspec.Raw, param: str = "") -> _T:
    """The body as the decoder's type. Raises Rejected (400) that names the field."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        text = str(error)
        _, _, path = text.partition(" - at `$")
        place = param + path.rstrip("`")
        raise rejected_field(place.lstrip(".") or "body", text) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"We could not parse the JSON body of your request: {error}"
        raise Rejected(400, "invalid_request_error", message) from None


def last_message(messages: Sequence[msgspec.Raw]) -> Last:
    """Read the last message. Raises Rejected where there is none or it is no message."""
    if not messages:
        raise rejected_field("messages", "[] is too short - 'messages'")
    message = decoded(_message, messages[-1], f"messages[{len(messages) - 1}]")
    content = message.content
    tool = message.role == "tool" or (
        isinstance(content, list) and any(part.type == "tool_result" for part in content)
    )
    return Last(_text(message) if message.role == "assistant" else None, tool)


def user_text(messages: Sequence[msgspec.Raw]) -> str:
    """The text of the last message of a user; "" where there is none."""
    for number in range(len(messages) - 1, -1, -1):
        message = decoded(_message, messages[number], f"messages[{number}]")
        if message.role == "user":
            return _text(message)
    return ""


def _text(message: _Message) -> str:
    if isinstance(message.content, list):
        return "".join(part.text or "" for part in message.content if part.type == "text")
    return message.content or ""


def digest(root: bytes, messages: Sequence[msgspec.Raw], last: Last, *rest: bytes) -> int:
    """128 bits of everything that an answer depends on; `root` stands for seed and prefix."""
    if last.prefill is not None:
        messages = messages[:-1]
    hashed = blake2b(b",".join([bytes(message) for message in messages]), digest_size=16, key=root)
    for part in rest:
        hashed.update(b"\0")
        hashed.update(part)
    return int.from_bytes(hashed.digest(), "big")


def prompt_size(messages: Sequence[msgspec.Raw], *rest: bytes) -> int:
    """A prompt's tokens, near enough for a simulation: four bytes each."""
    return 3 + sum([len(bytes(message)) for message in messages], sum(map(len, rest))) // 4
