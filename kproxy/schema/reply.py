"""A provider's reply or one streamed chunk goes in as bytes; a typed view of it comes out.

A view names only what kproxy reads; the bytes themselves are what goes to the caller. Every field
may be missing or null. What may have several types (text, parts, tool calls) stays a raw slice:
that is faster than building it, and a hostile reply costs no memory.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Raw

__all__ = [
    "ChatChunk",
    "ChatReply",
    "Choice",
    "ChunkChoice",
    "CompletionDetails",
    "Output",
    "PromptDetails",
    "ReplyUsage",
    "decode_chunk",
    "decode_reply",
    "read_usage",
]

View = TypeVar("View")

_NOTHING = Raw(b"")
_EMPTY_VALUES = frozenset((b"", b"null", b'""', b"[]", b"{}"))
_LONGEST_EMPTY = 4
_QUOTES = 2  # around a string, or a list: no model wrote them

Count = int | float | None
"""A token count as providers write it; `12.0` is seen."""


class PromptDetails(msgspec.Struct, frozen=True):
    """Parts of the prompt's count. The last two are one thing: OpenAI's name, and LiteLLM's."""

    cached_tokens: Count = None
    cache_write_tokens: Count = None
    cache_creation_tokens: Count = None


class CompletionDetails(msgspec.Struct, frozen=True):
    """Parts of the completion's count."""

    reasoning_tokens: Count = None


class ReplyUsage(msgspec.Struct, frozen=True):
    """Token counts as the provider tells them: OpenAI's names, then those that only some have."""

    prompt_tokens: Count = None
    completion_tokens: Count = None
    total_tokens: Count = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: Count = None  # DeepSeek
    cached_tokens: Count = None  # Anthropic's OpenAI-compatible endpoint
    cached_prompt_text_tokens: Count = None  # xAI, before it had details
    reasoning_tokens: Count = None  # likewise
    # Anthropic's own; proxies in front of it leave them in an OpenAI-shaped reply.
    input_tokens: Count = None
    output_tokens: Count = None
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None


def read_usage(raw: Raw) -> ReplyUsage | None:
    """The usage in a reply or chunk; None where there is none, or it is not one.

    A good answer is not thrown away for odd counts: it is settled by our own, and says so.
    """
    if len(raw) <= _LONGEST_EMPTY:
        return None
    try:
        return _decode_usage(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


class Output(msgspec.Struct, frozen=True):
    """A `message` or a `delta`."""

    role: str | None = None
    content: Raw = _NOTHING
    reasoning_content: Raw = _NOTHING
    reasoning: Raw = _NOTHING
    refusal: Raw = _NOTHING
    tool_calls: Raw = _NOTHING
    function_call: Raw = _NOTHING

    @property
    def output_bytes(self) -> int:
        """Bytes that the model wrote here: what usage is estimated from, and what commits a stream
        once there are any (contract section 6); a role alone does not."""
        if not (self.refusal or self.reasoning_content or self.reasoning or self.tool_calls):
            return _written_bytes(self.content) + _written_bytes(self.function_call)
        size = 0
        for raw in self._written:
            length = len(raw)
            if length > _LONGEST_EMPTY or (length and bytes(raw) not in _EMPTY_VALUES):
                size += length - _QUOTES
        return size

    @property
    def is_text(self) -> bool:
        """Whether nothing but text and thoughts stands here: no call, no refusal."""
        others = (self.tool_calls, self.function_call, self.refusal)
        return not any(others) or not any(map(_present, others))

    @property
    def text(self) -> str:
        """The content when it is a string, else nothing."""
        raw = bytes(self.content)
        return _decode_text(raw) if raw.startswith(b'"') else ""

    @property
    def _written(self) -> tuple[Raw, ...]:
        # Some hosts send reasoning under both names: it is counted once.
        reasoning = self.reasoning_content if _present(self.reasoning_content) else self.reasoning
        return (self.content, reasoning, self.refusal, self.tool_calls, self.function_call)


class Choice(msgspec.Struct, frozen=True):
    """One answer of a whole reply."""

    index: int | None = None
    message: Output | None = None
    finish_reason: str | None = None


class ChunkChoice(msgspec.Struct, frozen=True):
    """One answer's next piece."""

    index: int | None = None
    delta: Output | None = None
    finish_reason: str | None = None


class ChatReply(msgspec.Struct, frozen=True):
    """`chat.completion`."""

    model: str | None = None
    choices: list[Choice] | None = None
    usage: Raw = _NOTHING
    error: Raw = _NOTHING
    x_kairosroute: Raw = _NOTHING

    @property
    def has_error(self) -> bool:
        """Whether the reply is an error, whatever its status says."""
        return len(self.error) > 0 and _present(self.error)


class ChatChunk(msgspec.Struct, frozen=True):
    """`chat.completion.chunk`."""

    model: str | None = None
    choices: list[ChunkChoice] | None = None
    usage: Raw = _NOTHING
    x_groq: Raw = _NOTHING
    error: Raw = _NOTHING
    x_kairosroute: Raw = _NOTHING

    @property
    def told_usage(self) -> Raw:
        """The usage; Groq has it inside `x_groq` too. Empty where there is none."""
        if not self.x_groq or _present(self.usage):
            return self.usage
        try:
            return _decode_groq(self.x_groq).usage
        except msgspec.DecodeError:  # not what it was, and no reason to lose the chunk
            return _NOTHING

    @property
    def has_error(self) -> bool:
        """Whether the event is an error instead of a piece of the answer."""
        return _present(self.error)


class _GroqPart(msgspec.Struct, frozen=True):
    usage: Raw = _NOTHING


def _present(raw: Raw) -> bool:
    return _written_bytes(raw) > 0


def _written_bytes(raw: Raw) -> int:
    size = len(raw)
    if size > _LONGEST_EMPTY:  # what nearly every chunk has: no copy is made to know it
        return size - _QUOTES
    return size - _QUOTES if size and bytes(raw) not in _EMPTY_VALUES else 0


_decode_text = msgspec.json.Decoder(str).decode
_decode_groq = msgspec.json.Decoder(_GroqPart).decode
_decode_usage = msgspec.json.Decoder(ReplyUsage).decode
_decode_reply = msgspec.json.Decoder(ChatReply).decode
_decode_chunk = msgspec.json.Decoder(ChatChunk).decode


def decode_reply(body: bytes) -> ChatReply:
    """Read a whole reply. Raises msgspec.DecodeError (ValidationError is one) and nothing else."""
    return _decode(_decode_reply, body)


def decode_chunk(data: bytes) -> ChatChunk:
    """Read one event's data. Raises msgspec.DecodeError (ValidationError is one), nothing else."""
    return _decode(_decode_chunk, data)


def _decode(decode: Callable[[bytes], View], data: bytes) -> View:
    try:
        if not data.isascii():
            data.decode()  # raw slices are not checked for UTF-8 by the parser
        return decode(data)
    except UnicodeDecodeError as error:
        raise msgspec.ValidationError("not UTF-8") from error
    except RecursionError as error:
        raise msgspec.ValidationError("nested too deep") from error
