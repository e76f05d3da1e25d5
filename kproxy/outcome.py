"""How a thing ended: the vocabulary that attempts, receipts and metrics share."""

import enum

import msgspec

__all__ = ["Ending", "Usage"]


class Ending(enum.Enum):
    """The one way an attempt, or a whole exchange, came to its end."""

    COMPLETE = "complete"  # the provider said why it stopped
    FAULT = "fault"  # the provider failed us
    REJECTED = "rejected"  # the provider refused the caller's content
    CANCELLED = "cancelled"  # the caller left


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one attempt. `estimated` marks our count where the provider gave none."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  # part of prompt_tokens, read from the provider's prompt cache
    reasoning_tokens: int = 0  # part of completion_tokens
    estimated: bool = False
