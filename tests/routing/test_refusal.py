"""What is told where no candidate is left: who came nearest, of those whom the caller meant."""

import pytest

from kproxy.catalog.load import Model, Price
from kproxy.routing.candidates import Judged
from kproxy.routing.constraints import COST_CAP, LISTED, Expected, Violation
from kproxy.routing.live import UNKNOWN
from kproxy.routing.refusal import refusal
from kproxy.schema.chat import decode_chat
from kproxy.schema.jsonlimits import JsonLimits

REQUEST = decode_chat(
    b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}]}', JsonLimits()
).request


def judged(name: str, constraint: str, quality: float | None = None, cost: int = 5) -> Judged:
    model = Model(name, "acme", name, Price.from_usd(1, 1))
    against = (Violation(constraint, f"it is {name}"),)
    return Judged(model, Expected(cost, 1, quality), cost, UNKNOWN, against, "")


def test_the_best_is_named_first() -> None:
    told = refusal(
        REQUEST,
        [judged("poor", "minQualityThreshold", 0.5), judged("good", "minQualityThreshold", 0.8)],
    )
    assert (told.status, told.code, told.param) == (
        400,
        "no_models_available",
        "minQualityThreshold",
    )
    assert told.message.index("acme/good") < told.message.index("acme/poor")


def test_the_cheapest_is_named_first_where_the_cap_is_in_the_way() -> None:
    told = refusal(REQUEST, [judged("dear", COST_CAP, 0.9, 9), judged("cheap", COST_CAP, 0.5, 3)])
    assert (told.status, told.param) == (402, COST_CAP)
    assert told.message.index("acme/cheap") < told.message.index("acme/dear")


def test_whom_the_caller_did_not_list_is_not_named() -> None:
    told = refusal(REQUEST, [judged("other", LISTED, 0.9), judged("meant", "zdr", 0.1)])
    assert "other" not in told.message
    assert told.param == "zdr"
    assert "other" in refusal(REQUEST, [judged("other", LISTED)]).message


@pytest.mark.parametrize("count", [5, 6])
def test_a_long_list_is_cut(count: int) -> None:
    told = refusal(REQUEST, [judged(f"m{at}", "zdr", 0.5, at) for at in range(count)])
    assert ("and 1 more" in told.message) == (count == 6)
    assert "acme/m0" in told.message
