"""A judgement, what each model would cost and a dial go in; the number of the model comes out.

1. The measure of all things is the best single model on the whole (`standing`): it is what a caller
   without a router would have used, it answers what is novel, and nothing dearer is ever chosen.
2. A floor is a share of its quality. What the floor allows to give up for the whole of its price
   was found on predictions for prompts that the predicting weights had not seen, so that the mean
   quality stays above the floor by a margin (`learning/calibrate.py`).
3. Quality beyond the best model's buys nothing: the floor is kept, the rest is price.
4. Doubt makes a saving count less, so a prompt at the edge of the known pays for its safety.
"""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from kproxy.routing.table import People, Rate

__all__ = ["DIALS", "Dial", "Judgement", "choose", "rate_at"]

Dial = Literal["cheap", "balanced", "best"]

DIALS: tuple[tuple[Dial, float], ...] = (("cheap", 0.95), ("balanced", 0.98), ("best", 1.0))
"""Each name's floor: the share of the best single model's quality that is kept on the mean."""


class Judgement(msgspec.Struct, frozen=True):
    """What to expect of each model on one prompt, in the order of the models that were asked about.

    `category` is one of six with its share of the mass as `confidence`; `nearest` is the category
    of the table with the most evidence; `novelty` is a probability; `standing` is each model's
    quality on the whole; `rates` say what a floor allows to give up.
    """

    category: People
    confidence: float
    nearest: str
    novel: bool
    novelty: float
    quality: tuple[float, ...]
    output_tokens: tuple[float, ...]
    standing: tuple[float, ...]
    rates: tuple[Rate, ...]


def choose(
    judgement: Judgement, costs: Sequence[float | None], dial: Dial | float = "balanced"
) -> int:
    """The number of the model to call, among at least one.

    `costs` are expected costs in any unit, None where the price is not known: such a model is
    chosen only when it is the best on the whole. Raises ValueError when costs and models differ
    in number.
    """
    if len(costs) != len(judgement.quality) or not costs:
        raise ValueError("not one cost for each model")
    price = [math.inf if cost is None else cost for cost in costs]
    numbers = range(len(price))
    best = max(numbers, key=lambda one: (judgement.standing[one], -price[one]))
    if judgement.novel or price[best] == 0:
        return best
    floor = dict(DIALS)[dial] if isinstance(dial, str) else dial
    rate = rate_at(judgement.rates, floor) * (1 - judgement.novelty)
    top, whole = judgement.quality[best], price[best]

    def worth(one: int) -> tuple[float, float]:
        share = 1.0 if price[one] == whole else price[one] / whole if whole < math.inf else 0.0
        return min(0.0, judgement.quality[one] - top) - rate * share, -price[one]

    return max((one for one in numbers if price[one] <= whole), key=worth)


def rate_at(rates: tuple[Rate, ...], floor: float) -> float:
    """The rate of the lowest calibrated floor that is not below this one; 0 where there is none."""
    return next((one.rate for one in rates if one.floor >= floor - 1e-9), 0.0)
