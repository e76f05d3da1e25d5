"""How a thing ended: the vocabulary that attempts, receipts and metrics share."""

import enum
from typing import Annotated, TypeAlias

import msgspec

__all__ = ["AttemptOutcome", "Ending", "Exact", "Usage"]

Exact: TypeAlias = Annotated[int, msgspec.Meta(gt=-(2**53), lt=2**53)]
"""Of tokens or nano-dollars. Looked at where a receipt is read: exact in every reader, and sums of
SQLite's stay integers."""


class Ending(enum.Enum):
    """The one way an attempt, or a whole exchange, came to its end."""

    COMPLETE = "complete"  # the provider said why it stopped
    FAULT = "fault"  # the provider failed us
    REJECTED = "rejected"  # the provider refused the caller's content
    CANCELLED = "cancelled"  # the caller left
    SUPERSEDED = "superseded"  # another attempt reached its commit point first
    ERROR = "error"  # a mistake of kproxy's own


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Token counts of one attempt. `estimated` marks our count where the provider gave none.

    Cached and written tokens together are at most the prompt's: no token is both.
    """

    prompt_tokens: Exact = 0
    completion_tokens: Exact = 0
    cached_tokens: Exact = 0  # part of prompt_tokens, read from the provider's prompt cache
    reasoning_tokens: Exact = 0  # part of completion_tokens
    estimated: bool = False
    cache_write_tokens: Exact = 0  # part of prompt_tokens, written to the provider's prompt cache


class AttemptOutcome(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One attempt after its end. Times are seconds after the request's arrival.

    `fault` is a `FaultKind`'s value where the ending is a fault. `usage` is None where nothing can
    have been used: the request was never sent, or was answered by an error. `cost` is
    nano-dollars, 0 without usage, None where the price is not known.
    """

    model: str  # the catalog's id
    provider: str  # slug
    started: float
    first_token: float | None
    ended: float
    ending: Ending
    fault: str | None = None
    usage: Usage | None = None
    cost: Exact | None = 0
    price_date: str | None = None  # of the price that made the cost; None: the operator's own
    own_key: bool = False  # sent with a provider key of the caller's own
