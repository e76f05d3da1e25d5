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
from types import MappingProxyType
from typing import Literal

import msgspec

from kproxy.routing.table import People, Rate

__all__ = ["DEARER", "DIALS", "Dial", "Judgement", "choose", "rate_at", "worths"]

Dial = Literal["cheap", "balanced", "best"]

DIALS: tuple[tuple[Dial, float], ...] = (("cheap", 0.95), ("balanced", 0.98), ("best", 1.0))
"""Each name's floor: the share of the best single model's quality that is kept on the mean."""

_FLOORS = MappingProxyType(dict(DIALS))

DEARER = -5.0
"""A worth below this is of a model that is dearer than the best on the whole."""

_DEARER = 10.0  # more than a whole quality and the dearest rate together


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
    """The number of the model to call, among at least one: the first in worth, then in price.

    `costs` are expected costs in any unit, None where the price is not known: such a model is
    chosen only when it is the best on the whole. Raises ValueError when costs and models differ
    in number.
    """
    found = worths(judgement, costs, dial)
    price = [math.inf if cost is None else cost for cost in costs]
    return max(range(len(price)), key=lambda one: (found[one], -price[one]))


def worths(
    judgement: Judgement,
    costs: Sequence[float | None],
    dial: Dial | float = "balanced",
    places: Sequence[int] | None = None,
) -> tuple[float, ...]:
    """What each model is worth for this prompt, by the rules above; see `choose`.

    Those dearer than the best on the whole come after all others, the better first. `places`: only
    these of the judgement's models are there, with their costs in this order.
    """
    standing: Sequence[float] = judgement.standing
    quality: Sequence[float] = judgement.quality
    if places is not None:
        standing = [standing[place] for place in places]
        quality = [quality[place] for place in places]
    if len(costs) != len(quality) or not costs:
        raise ValueError("not one cost for each model")
    price = [math.inf if cost is None else cost for cost in costs]
    most = max(standing)
    best = min([one for one, level in enumerate(standing) if level == most], key=price.__getitem__)
    whole = price[best]
    if judgement.novel or whole == 0:
        return tuple(0.0 if one == best else level - 2 for one, level in enumerate(standing))
    floor = _FLOORS[dial] if isinstance(dial, str) else dial
    rate, top = rate_at(judgement.rates, floor) * (1 - judgement.novelty), quality[best]
    found = []
    for level, cost in zip(quality, price, strict=True):
        if cost > whole:
            found.append(level - _DEARER)
        else:
            share = 1.0 if cost == whole else cost / whole if whole < math.inf else 0.0
            found.append((level - top if level < top else 0.0) - rate * share)
    return tuple(found)


def rate_at(rates: tuple[Rate, ...], floor: float) -> float:
    """The rate of the lowest calibrated floor that is not below this one; 0 where there is none."""
    for one in rates:
        if one.floor >= floor - 1e-9:
            return one.rate
    return 0.0
