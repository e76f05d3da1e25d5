"""The decision as JSON says what was considered, what it would cost, and why not."""

import msgspec

from kproxy.routing.explain import explain_json
from kproxy.schema.receipt import Candidate, Classification
from tests.fakes.plans import plan_of, spec


def test_the_whole_decision_is_shown_in_order() -> None:
    plan = plan_of(
        spec("acme/small"),
        candidates=(
            Candidate("small", "acme", 1_500, None, ("meets every constraint",), 0.75, -0.01),
            Candidate("large", "other", None, "zdr", ('no "zero" retention',)),
        ),
        classification=Classification("code", 0.5, novel=True),
        dial="cheap",
        policy_version="2-abc",
    )
    assert msgspec.json.decode(explain_json(plan, b"[]"))["attempts"] == []
    assert msgspec.json.decode(explain_json(plan)) == {
        "classification": {"category": "code", "confidence": 0.5, "novel": True},
        "dial": "cheap",
        "policy_version": "2-abc",
        "strategy": "single",
        "chain": ["acme/small"],
        "candidates": [
            {
                "model_id": "small",
                "provider": "acme",
                "score": 0.75,
                "worth": -0.01,
                "est_cost_usd": 0.0000015,
                "filtered_out_by": None,
                "reasons": ["meets every constraint"],
            },
            {
                "model_id": "large",
                "provider": "other",
                "score": None,
                "worth": None,
                "est_cost_usd": None,
                "filtered_out_by": "zdr",
                "reasons": ['no "zero" retention'],
            },
        ],
    }
