"""Anthropic's usage in, OpenAI's out: what a message has cost in tokens, and why it stopped.

Anthropic counts as input only what its prompt cache had no part in; OpenAI's `prompt_tokens` are
the whole prompt, with the parts that were read and written beside.
"""

from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

__all__ = ["NO_COUNTS", "Counts", "finish_reason", "read_counts", "usage"]

Count = Annotated[int, Meta(ge=0, le=2**53)] | None

FINISH = MappingProxyType(
    {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "pause_turn": "length",  # a tool at Anthropic takes long: the turn is not over
        "tool_use": "tool_calls",
        "refusal": "content_filter",
    }
)


def finish_reason(stop_reason: str) -> str:
    """OpenAI's word; a reason that we do not know is an end all the same."""
    return FINISH.get(stop_reason, "stop")


class _Details(msgspec.Struct, frozen=True):
    thinking_tokens: Count = None


class Counts(msgspec.Struct, frozen=True):
    """`usage` of a message, or of what has changed since it began."""

    input_tokens: Count = None
    output_tokens: Count = None
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    output_tokens_details: _Details | None = None

    def then(self, later: "Counts") -> "Counts":
        """These counts, where `later` ones do not say otherwise: they are sums."""
        told = {name: getattr(later, name) for name in self.__struct_fields__}
        told = {name: said for name, said in told.items() if said is not None}
        return msgspec.structs.replace(self, **told)


_decode = msgspec.json.Decoder(Counts | None).decode
NO_COUNTS = Counts()


def read_counts(raw: Raw) -> Counts:
    """What is told; nothing where it is no usage: an answer is not lost for odd counts."""
    try:
        return (_decode(raw) if raw else None) or NO_COUNTS
    except (msgspec.MsgspecError, RecursionError):
        return NO_COUNTS


def usage(counts: Counts) -> dict[str, Any] | None:
    """OpenAI's `usage`; None where prompt or answer was not told."""
    if counts.input_tokens is None or counts.output_tokens is None:
        return None
    read, written = counts.cache_read_input_tokens or 0, counts.cache_creation_input_tokens or 0
    prompt, details = counts.input_tokens + read + written, counts.output_tokens_details
    thought = 0 if details is None else details.thinking_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": counts.output_tokens,
        "total_tokens": prompt + counts.output_tokens,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }
