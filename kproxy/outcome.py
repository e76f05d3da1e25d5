"""How a thing ended: the vocabulary that attempts, receipts and metrics share."""

import enum

import msgspec

__all__ = ["AttemptOutcome", "Ending", "Usage"]


class Ending(enum.Enum):
    """The one way an attempt, or a whole exchange, came to its end."""

    COMPLETE = "complete"  # the provider said why it stopped
    FAULT = "fault"  # the provider failed us
    REJECTED = "rejected"  # the provider refused the caller's content
    CANCELLED = "cancelled"  # the caller left
    SUPERSEDED = "superseded"  # another attempt won


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one attempt. `estimated` marks our count where the provider gave none."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  # part of prompt_tokens, read from the provider's prompt cache
    reasoning_tokens: int = 0  # part of completion_tokens
    estimated: bool = False


class AttemptOutcome(msgspec.Struct, frozen=True):
    """One line of a receipt. Times are seconds since the request arrived; None: it never came."""

    model: str
    provider: str
    started: float
    first_token: float | None
    ended: float
    ending: Ending
    fault: str | None
    usage: Usage | None
