"""A list price goes in; what to expect of a model of that price in each category comes out.

For a model that nobody has scored, its price is the best evidence. The lines below are fitted on
the models of the packaged catalog that have published scores: the log-odds of a model's quality
against the logarithm of its price. They lie one standard error of the fit below the middle, so
that of two models at one price the one that was scored is preferred, unless it was scored badly.
`python -m tests.catalog.generate --lines` prints them, and a test holds them against that.
"""

import math
from collections.abc import Mapping
from typing import Annotated, NamedTuple

import msgspec

from kproxy.money import NANOS_PER_USD

__all__ = ["CATEGORIES", "LINES", "PRIOR", "Line", "Qualities", "Share", "price_prior", "prior_at"]

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Qualities(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The share of everyday prompts that a model gets right, in each category of the contract's
    section 5, as a file has it."""

    code: Share
    reasoning: Share
    analysis: Share
    extraction: Share
    summarization: Share
    creative: Share

    def in_order(self) -> tuple[float, ...]:
        """As `CATEGORIES`."""
        return msgspec.structs.astuple(self)


CATEGORIES = Qualities.__struct_fields__
"""The names; every tuple of qualities is in this order."""

PRIOR = "prior: list price"
"""The source of a quality that only the price speaks for."""

CHEAPEST, DEAREST = 0.1, 15.0
"""USD per million tokens, blended. Beyond the models that were scored the lines do not go on."""


class Line(NamedTuple):
    """Log-odds of the quality: `at_one` for a blended price of 1 USD, `slope` for e times that."""

    at_one: float
    slope: float


LINES: Mapping[str, Line] = {
    "code": Line(1.177, 0.125),
    "reasoning": Line(1.141, 0.206),
    "analysis": Line(0.815, 0.297),
    "extraction": Line(1.577, 0.118),
    "summarization": Line(0.683, 0.151),
    "creative": Line(0.472, 0.318),
}


def prior_at(usd: float) -> tuple[float, ...]:
    """For a price in USD per million tokens: three of input to one of output. 0 to 1 each."""
    place = math.log(min(DEAREST, max(CHEAPEST, usd)))
    return tuple(
        round(1 / (1 + math.exp(-(line.at_one + line.slope * place))), 3)
        for line in (LINES[name] for name in CATEGORIES)
    )


def price_prior(input: int, output: int) -> tuple[float, ...]:
    """For list prices in nano-dollars per million tokens, as `Price` has them."""
    return prior_at((3 * input + output) / 4 / NANOS_PER_USD)
