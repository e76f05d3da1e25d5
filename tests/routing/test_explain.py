"""The decision as JSON says what was considered, what it would cost, and why not."""

import msgspec

from kproxy.catalog.load import Model, Price
from kproxy.routing.explain import explain_json
from kproxy.routing.plan import AttemptSpec, Candidate, Plan


def test_the_whole_decision_is_shown_in_order() -> None:
    cheap = Model("small", "acme", "small", Price.from_usd(1, 2))
    plan = Plan(
        attempts=(AttemptSpec(cheap, 1_500),),
        total=10.0,
        first_token=5.0,
        gap=1.0,
        strategy="single",
        candidates=(
            Candidate("small", "acme", 1_500, None, ("meets every constraint",)),
            Candidate("large", "other", None, "zdr", ('no "zero" retention',)),
        ),
    )
    assert msgspec.json.decode(explain_json(plan)) == {
        "strategy": "single",
        "chain": ["acme/small"],
        "candidates": [
            {
                "model_id": "small",
                "provider": "acme",
                "est_cost_usd": 0.0000015,
                "filtered_out_by": None,
                "reasons": ["meets every constraint"],
            },
            {
                "model_id": "large",
                "provider": "other",
                "est_cost_usd": None,
                "filtered_out_by": "zdr",
                "reasons": ['no "zero" retention'],
            },
        ],
    }
