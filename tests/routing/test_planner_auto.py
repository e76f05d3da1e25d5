"""`auto` with a router's word: quality against price, floors, novelty, and who stays."""

import json
from typing import Any

import pytest

from kproxy.catalog.load import Catalog, Model, Price, Provider
from kproxy.errors import Rejected
from kproxy.routing.appraise import Appraisal
from kproxy.routing.constraints import KeyConstraints
from kproxy.routing.dial import Judgement
from kproxy.routing.live import Live
from kproxy.routing.plan import AttemptPolicy, Plan, RoutingPolicy, Timeouts
from kproxy.routing.planner import plan
from kproxy.routing.table import Rate
from kproxy.routing.window import Measured, Quantiles
from kproxy.schema.chat import decode_chat
from kproxy.schema.jsonlimits import JsonLimits
from kproxy.schema.receipt import Classification

POLICY = AttemptPolicy(Timeouts(total=60.0, first_token=20.0, gap=30.0))
PRICES = {"small": 1, "middle": 10, "large": 100, "vain": 1_000}
CATALOG = Catalog(
    {"a": Provider("a", "A")},
    tuple(Model(id, "a", id, Price.from_usd(usd, usd)) for id, usd in PRICES.items()),
)
KEYS = {f"a/{id}": place for place, id in enumerate(PRICES)}
RATES = (Rate(0.95, 0.2), Rate(0.98, 0.1), Rate(1.0, 0.0))
QUALITY = (0.6, 0.75, 0.9, 0.9)


def appraised(quality: tuple[float, ...] = QUALITY, *, novel: bool = False) -> Appraisal:
    judgement = Judgement(
        category="code",
        confidence=0.81234,
        nearest="loops",
        novel=novel,
        novelty=0.9 if novel else 0.0,
        quality=quality,
        output_tokens=(99.5, 199.5, 299.5, 299.5),
        standing=QUALITY,
        rates=RATES,
    )
    return Appraisal(judgement, KEYS, frozenset(), "abc")


def decide(
    appraisal: Appraisal | None,
    *,
    stays: str | None = None,
    snapshot: dict[str, Live] | None = None,
    key: KeyConstraints | None = None,
    policy: AttemptPolicy = POLICY,
    **fields: Any,
) -> Plan:
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], **fields}
    request = decode_chat(json.dumps(body).encode(), JsonLimits()).request
    known = key or KeyConstraints()
    return plan(request, 100, CATALOG, policy, snapshot or {}, known, appraisal, stays)


def ids(decided: Plan) -> list[str]:
    return [spec.model.id for spec in decided.attempts]


@pytest.mark.parametrize(
    ("dial", "quality", "first"),
    [
        ("best", (0.6, 0.75, 0.9, 0.9), "large"),
        ("balanced", (0.6, 0.75, 0.9, 0.9), "large"),
        ("balanced", (0.6, 0.82, 0.9, 0.9), "middle"),
        ("cheap", (0.6, 0.75, 0.9, 0.9), "middle"),
        ("cheap", (0.88, 0.88, 0.9, 0.9), "small"),
        ("best", (0.95, 0.9, 0.9, 0.9), "small"),
    ],
)
def test_the_dial_weighs_quality_against_price(
    dial: str, quality: tuple[float, ...], first: str
) -> None:
    routing = RoutingPolicy(dial)  # type: ignore[arg-type]
    policy = AttemptPolicy(POLICY.timeouts, routing=routing)
    assert ids(decide(appraised(quality), policy=policy))[0] == first
    asked = decide(appraised(quality), x_kairosroute={"dial": dial})
    assert ids(asked)[0] == first


def test_nothing_dearer_than_the_best_is_chosen() -> None:
    decided = decide(appraised((0.6, 0.75, 0.9, 1.0)))
    assert ids(decided)[0] == "large"
    assert ids(decided)[-1] == "vain"
    assert decided.candidates[-1].reasons[-1] == "dearer than the best on the whole"


def test_what_is_novel_goes_to_the_best_and_says_so() -> None:
    decided = decide(appraised((0.9, 0.9, 0.1, 0.1), novel=True))
    assert ids(decided)[0] == "large"
    assert decided.classification == Classification("code", 0.812, novel=True)


def test_the_best_is_the_best_of_those_that_are_allowed() -> None:
    decided = decide(appraised(novel=True), x_kairosroute={"models": ["small", "middle"]})
    assert ids(decided) == ["small", "middle"], "the caller's order comes first"
    cap = KeyConstraints(max_cost=5_000_000)
    assert ids(decide(appraised(novel=True), key=cap))[0] == "middle"


def test_what_is_expected_is_in_the_decision() -> None:
    decided = decide(appraised())
    assert (decided.policy_version, decided.dial) == ("2-abc", "balanced")
    lines = {line.model_id: line for line in decided.candidates}
    assert [lines[id].score for id in PRICES] == list(QUALITY)
    # 100 tokens of prompt and as many as such an answer usually has, at USD 1 and 10 a million.
    assert (lines["small"].est_cost, lines["middle"].est_cost) == (200_000, 3_000_000)
    assert [spec.output_tokens for spec in decided.attempts if spec.model.id == "middle"] == [200]
    assert decide(None).classification is None
    assert decide(None).policy_version == "2"


def test_a_callers_limit_is_what_a_cap_compares_and_no_more_than_usual_what_prices_do() -> None:
    capped = decide(appraised(), max_tokens=1_000)
    assert {line.model_id: line.est_cost for line in capped.candidates}["small"] == 1_100_000
    assert [spec.output_tokens for spec in capped.attempts] == [1_000] * 4
    short = decide(appraised(), max_tokens=50, n=2)
    assert {line.model_id: line.est_cost for line in short.candidates}["small"] == 200_000


def test_a_key_or_an_operator_wants_a_quality() -> None:
    assert ids(decide(appraised(), key=KeyConstraints(min_quality=0.9))) == ["large", "vain"]
    routing = RoutingPolicy(floors={"code": 0.7, "creative": 1.0})
    policy = AttemptPolicy(POLICY.timeouts, routing=routing)
    assert "small" not in ids(decide(appraised(), policy=policy))
    with pytest.raises(Rejected, match=r"0\.600 is below 0\.7") as caught:
        decide(appraised(), policy=policy, model="small")
    assert caught.value.code == "no_models_available"
    with pytest.raises(Rejected, match="not known"):
        decide(None, key=KeyConstraints(min_quality=0.1), model="small")


@pytest.mark.parametrize(
    ("quality", "stays", "first"),
    [
        ((0.6, 0.75, 0.9, 0.9), "a/small", "large"),  # 0.2 are to be gained
        ((0.6, 0.82, 0.9, 0.9), "a/large", "middle"),  # a tenth of the price
        ((0.6, 0.76, 0.8, 0.9), "a/middle", "middle"),
        ((0.895, 0.9, 0.9, 0.9), "a/gone", "small"),
        ((0.895, 0.9, 0.9, 0.9), None, "small"),
    ],
)
def test_a_conversation_stays_unless_it_must_change(
    quality: tuple[float, ...], stays: str | None, first: str
) -> None:
    decided = decide(appraised(quality), stays=stays)
    assert ids(decided)[0] == first
    told = [line.model_id for line in decided.candidates if "turn before" in str(line.reasons)]
    assert told == ([first] if f"a/{first}" == stays else [])


@pytest.mark.parametrize(
    ("price", "first"),
    [
        (Price.from_usd(1.9, 1.9), "b"),
        (Price.from_usd(2.1, 2.1), "a"),
        (Price.from_usd(5, 1, cached_input=0.5), "b"),  # its prefix is warm
    ],
)
def test_who_stays_may_cost_twice_as_much(price: Price, first: str) -> None:
    models = (
        Model("a", "a", "a", Price.from_usd(1, 1)),
        Model("b", "a", "b", price),
    )
    judged = appraised((0.9, 0.9, 0.9, 0.9))
    judged = Appraisal(judged.judgement, {"a/a": 0, "a/b": 1}, frozenset(), "abc")
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    request = decode_chat(json.dumps(body).encode(), JsonLimits()).request
    catalog = Catalog(CATALOG.providers, models)
    decided = plan(request, 10_000, catalog, POLICY, appraisal=judged, stays="a/b")
    assert ids(decided)[0] == first


def test_who_stays_is_still_filtered_and_still_has_to_be_quick() -> None:
    quality = (0.895, 0.9, 0.9, 0.9)
    slow = Quantiles(9, 9, 9, 9, 9)
    live = Live(Measured(30, slow, slow, 30, slow, 50.0, 0.0))
    decided = decide(
        appraised(quality), stays="a/middle", snapshot={"a/middle": live}, preferred_max_latency=100
    )
    assert ids(decided)[0] == "small"
    resting = Live(live.measured, resting=9.0, why="it has failed")
    assert (
        ids(decide(appraised(quality), stays="a/middle", snapshot={"a/middle": resting}))[0]
        == "small"
    )


def test_a_pinned_model_is_not_weighed() -> None:
    decided = decide(appraised((0.1, 0.9, 0.9, 0.9)), model="small", stays="a/large")
    assert ids(decided) == ["small"]


def test_whom_no_row_lists_is_worth_less_than_all_others() -> None:
    """A host that takes any name is asked for one of them; nobody has said anything of it."""
    any_host = Provider("b", "B", any_models=True)
    catalog = Catalog({**CATALOG.providers, "b": any_host}, CATALOG.models)
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    for listed, first in ((["b/foo"], "foo"), (["b/foo", "small"], "foo"), (["small"], "small")):
        asked = {**body, "x_kairosroute": {"models": listed}}
        request = decode_chat(json.dumps(asked).encode(), JsonLimits()).request
        decided = plan(request, 100, catalog, POLICY, appraisal=appraised())
        assert ids(decided)[0] == first, "the caller's order comes first"
        assert {one.model_id: one.score for one in decided.candidates}.get("foo") is None
