"""The decision as a value: which attempts, in which order, under which deadlines, and why.

Frozen, and checked when it is made: whoever carries a plan out need not ask whether it is sound.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from kproxy.catalog.load import Model
from kproxy.routing.dial import Dial
from kproxy.routing.estimate import DEFAULT_OUTPUT_TOKENS
from kproxy.routing.table import People
from kproxy.schema.receipt import Candidate, Classification

__all__ = [
    "POLICY_VERSION",
    "AttemptPolicy",
    "AttemptSpec",
    "Plan",
    "RoutingPolicy",
    "Strategy",
    "Timeouts",
]

POLICY_VERSION = "2"
"""Of the rules in `planner.py`; a receipt says which made its decision."""

Strategy = Literal["single", "hedge", "race", "compare"]
"""How attempts stand to each other; in a comparison (routing/compare.py) all are wanted."""


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds: the whole exchange, up to the first token, and the longest silence after it."""

    total: float
    first_token: float
    gap: float

    def __post_init__(self) -> None:
        if not all(0 < value < math.inf for value in (self.total, self.first_token, self.gap)):
            raise ValueError("a timeout is not a positive number of seconds")


class RoutingPolicy(msgspec.Struct, frozen=True):
    """What a model must be expected to do, as the operator wants it.

    `dial` says how quality is weighed against price; `floors` are the least quality, 0 to 1, by
    category.
    """

    dial: Dial = "balanced"
    floors: Mapping[People, float] = MappingProxyType({})


class AttemptPolicy(msgspec.Struct, frozen=True):
    """How attempts are made, as the operator wants it. Times in seconds.

    `retries`: attempts after the first, of whatever kind (R9). `beside`: attempts at one time in a
    hedge or a race. `hedge_floor`: the least patience of a hedge; below it the network's own noise
    would start one. `hedge_samples`: first tokens seen before a percentile is believed.
    """

    timeouts: Timeouts
    strategy: Strategy = "single"
    retries: int = 2
    beside: int = 2
    rescue: bool = False
    hedge_floor: float = 0.05
    hedge_samples: int = 20
    routing: RoutingPolicy = RoutingPolicy()


class AttemptSpec(msgspec.Struct, frozen=True):
    """One attempt. `est_cost` is in nano-dollars, None when the price is not known.

    `patience`: seconds without a first token after which the next attempt starts beside this one;
    infinite in a fallback. `total`, `first_token` and `gap` are this attempt's timers, in seconds;
    `full` are those that the operator gives the route, whatever the caller wishes. `output_tokens`
    is how long the answer may be where the caller says it, else how long such answers usually are.
    """

    model: Model
    est_cost: int | None
    total: float
    first_token: float
    gap: float
    full: Timeouts
    patience: float = math.inf
    output_tokens: int = DEFAULT_OUTPUT_TOKENS


class Plan(msgspec.Struct, frozen=True):
    """Attempts in order. Raises ValueError when it is not sound.

    `total` is the whole request's deadline in seconds; `most` the attempts there may be in all,
    `beside` at one time; `cost_cap` nano-dollars for what the attempts so far cost or may cost.
    `classification` is the router's word, None where it was not asked; `dial` is how its word was
    weighed against price, None where it was not.
    """

    attempts: tuple[AttemptSpec, ...]
    total: float
    strategy: Strategy = "single"
    most: int = 3
    beside: int = 1
    rescue: bool = False
    cost_cap: int | None = None
    candidates: tuple[Candidate, ...] = ()
    classification: Classification | None = None
    dial: Dial | None = None
    policy_version: str = POLICY_VERSION

    def __post_init__(self) -> None:
        if not self.attempts:
            raise ValueError("a plan without an attempt")
        if not 0 < self.total < math.inf:
            raise ValueError("the total is not a positive number of seconds")
        if self.most < 1 or self.beside < 1:
            raise ValueError("a plan that allows no attempt")
        total = self.total
        for spec in self.attempts:
            if not 0 < spec.total <= total:
                raise ValueError("an attempt's deadline is not within the total")
            if not 0 < spec.first_token <= total:
                raise ValueError("the first token's deadline is not within the total")
            if not 0 < spec.gap < math.inf:
                raise ValueError("the gap is not a positive number of seconds")
            if not spec.patience >= 0:
                raise ValueError("patience is negative")
        if len({spec.model.key for spec in self.attempts}) != len(self.attempts):
            raise ValueError("a model is tried twice at one provider")
