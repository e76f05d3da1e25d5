"""Plans and their attempts by a few words, for tests of what chooses and of what carries out.

In: names of models and what differs. Out: `AttemptSpec` and `Plan` values.
"""

import math
from typing import Any

from kproxy.catalog.load import Model, Price
from kproxy.routing.plan import AttemptSpec, Plan, Timeouts

__all__ = ["plan_of", "spec"]

PRICE = Price.from_usd(1, 2)


def spec(key: str, patience: float = math.inf, **fields: Any) -> AttemptSpec:
    """An attempt at `provider/id`; `model` fields beside the attempt's own."""
    provider, _, name = key.partition("/")
    own = {"est_cost": 1_000, "total": 60.0, "first_token": 60.0, "gap": 5.0}
    own |= {name: fields.pop(name) for name in own if name in fields}
    full = Timeouts(own["total"], own["first_token"], own["gap"])
    made = Model(name, provider, name, PRICE, **fields)
    return AttemptSpec(made, full=full, patience=patience, **own)


def plan_of(*specs: AttemptSpec, total: float = 60.0, **fields: Any) -> Plan:
    """A plan of these attempts."""
    return Plan(attempts=specs, total=total, **fields)
