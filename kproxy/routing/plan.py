"""The decision as a value: which attempts, in which order, under which deadlines, and why.

Frozen, and checked when it is made: whoever carries a plan out need not ask whether it is sound.
"""

import math

import msgspec

from kproxy.catalog.load import Model

__all__ = ["AttemptSpec", "Candidate", "Plan", "Timeouts"]


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds: the whole exchange, up to the first token, and the longest silence after it."""

    total: float
    first_token: float
    gap: float

    def __post_init__(self) -> None:
        if not all(0 < value < math.inf for value in (self.total, self.first_token, self.gap)):
            raise ValueError("a timeout is not a positive number of seconds")


class AttemptSpec(msgspec.Struct, frozen=True):
    """One attempt. `est_cost` is in nano-dollars, None when the price is not known."""

    model: Model
    est_cost: int | None


class Candidate(msgspec.Struct, frozen=True):
    """One line of the decision. `filtered_out_by` is the first constraint broken, if any."""

    model_id: str
    provider: str
    est_cost: int | None
    filtered_out_by: str | None
    reasons: tuple[str, ...]


class Plan(msgspec.Struct, frozen=True):
    """Attempts in order, and deadlines in seconds. Raises ValueError when it is not sound."""

    attempts: tuple[AttemptSpec, ...]
    total: float
    first_token: float
    gap: float
    strategy: str
    candidates: tuple[Candidate, ...] = ()

    def __post_init__(self) -> None:
        if not self.attempts:
            raise ValueError("a plan without an attempt")
        if not 0 < self.first_token <= self.total < math.inf:
            raise ValueError("the first token's deadline is not within the total")
        if not 0 < self.gap < math.inf:
            raise ValueError("the gap is not a positive number of seconds")
        keys = [attempt.model.key for attempt in self.attempts]
        if len(set(keys)) != len(keys):
            raise ValueError("a model is tried twice at one provider")
