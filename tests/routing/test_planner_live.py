"""Decisions by what the routes have shown: order, patience, strategy, and who is left alone."""

import json
import math
from typing import Any

import pytest

from kproxy.catalog.load import Catalog, Model, Price, Provider
from kproxy.errors import Rejected
from kproxy.routing.live import Live
from kproxy.routing.plan import AttemptPolicy, Plan, Timeouts
from kproxy.routing.planner import plan
from kproxy.routing.window import Measured, Quantiles, Window
from kproxy.schema.chat import decode_chat
from kproxy.schema.jsonlimits import JsonLimits

POLICY = AttemptPolicy(Timeouts(total=60.0, first_token=20.0, gap=30.0))
CHEAP, DEAR = Price.from_usd(1, 1), Price.from_usd(2, 2)
CATALOG = Catalog(
    {slug: Provider(slug, slug) for slug in ("a", "b")},
    (Model("m", "a", "m", CHEAP), Model("m", "b", "m", DEAR)),
)


def seen(seconds: float, samples: int = 30, pace: float = 50.0, errors: float = 0.0) -> Live:
    """A route all of whose answers took as long."""
    quantiles = Quantiles(seconds, seconds, seconds, seconds, seconds)
    return Live(Measured(samples, quantiles, quantiles, samples, quantiles, pace, errors))


def decide(
    snapshot: dict[str, Live] | None = None, policy: AttemptPolicy = POLICY, **fields: Any
) -> Plan:
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], **fields}
    request = decode_chat(json.dumps(body).encode(), JsonLimits()).request
    return plan(request, 100, CATALOG, policy, snapshot or {})


def first(decided: Plan) -> str:
    return decided.attempts[0].model.provider


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("a", "b", "wish", "chosen"),
    [
        (seen(2), seen(1), {"preferred_max_latency": 1500}, "b"),
        (seen(2), seen(2), {"preferred_max_latency": 1500}, "a"),
        (seen(1), seen(1), {"preferred_max_latency": 1500}, "a"),
        (seen(2, samples=2), seen(1), {"preferred_max_latency": 1500}, "a"),
        (seen(1, pace=10), seen(1, pace=99), {"preferred_min_throughput": 50}, "b"),
        (seen(1, pace=50), seen(1, pace=99), {"preferred_min_throughput": 50}, "a"),
        (seen(9, pace=1), seen(1, pace=99), {}, "a"),
    ],
)
def test_soft_thresholds_order_and_never_exclude(
    a: Live, b: Live, wish: dict[str, float], chosen: str, stream: bool
) -> None:
    decided = decide({"a/m": a, "b/m": b}, stream=stream, **wish)
    assert first(decided) == chosen
    assert len(decided.attempts) == 2


def test_a_stream_is_measured_by_its_first_token() -> None:
    quick, slow = Quantiles(1, 1, 1, 1, 1), Quantiles(9, 9, 9, 9, 9)
    route = Live(Measured(30, quick, quick, 30, slow, 50.0, 0.0))
    wish = {"preferred_max_latency": 5000}
    assert first(decide({"a/m": route}, stream=True, **wish)) == "a"
    assert first(decide({"a/m": route}, stream=False, **wish)) == "b"


def test_the_healthier_of_two_that_cost_the_same() -> None:
    same = Catalog(CATALOG.providers, (Model("m", "a", "m", CHEAP), Model("m", "b", "m", CHEAP)))
    body = b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}]}'
    request = decode_chat(body, JsonLimits()).request
    snapshot = {"a/m": seen(1, errors=0.2), "b/m": seen(1, errors=0.1)}
    assert first(plan(request, 100, same, POLICY, snapshot)) == "b"


def test_who_rests_is_left_out() -> None:
    snapshot = {"a/m": Live(seen(1).measured, 4.2, "its breaker is open", "open")}
    decided = decide(snapshot)
    assert [one.model.provider for one in decided.attempts] == ["b"]
    line = decided.candidates[1]
    assert (line.filtered_out_by, line.reasons) == ("breaker", ("its breaker is open, for 5 s",))


def test_one_request_probes_one_endpoint() -> None:
    """The second that is due comes last, behind who is known to be well."""
    three = (*CATALOG.models, Model("n", "a", "n", CHEAP))
    body = b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}]}'
    request = decode_chat(body, JsonLimits()).request
    due = Live(seen(1).measured, breaker="open", due=True)
    decided = plan(
        request, 100, Catalog(CATALOG.providers, three), POLICY, {"a/m": due, "a/n": due}
    )
    assert [one.model.key for one in decided.attempts] == ["a/m", "b/m", "a/n"]


def test_when_all_rest_the_answer_says_for_how_long() -> None:
    rests = {key: Live(seen(1).measured, wait, "why") for key, wait in (("a/m", 9.5), ("b/m", 3.2))}
    with pytest.raises(Rejected) as refused:
        decide(rests)
    assert (refused.value.status, refused.value.code) == (503, "all_models_unavailable")
    assert refused.value.headers == ((b"retry-after", b"4"),)


def test_a_constraint_is_no_outage() -> None:
    rests = {"a/m": Live(seen(1).measured, 9.5, "why")}
    with pytest.raises(Rejected) as refused:
        decide(rests, model="a/m", zdr=True)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("fields", "default", "strategy"),
    [
        ({}, "single", "single"),
        ({}, "hedge", "hedge"),
        ({}, "race", "race"),
        ({"x_kairosroute": {"strategy": "auto"}}, "hedge", "hedge"),
        ({"x_kairosroute": {"strategy": "single"}}, "race", "single"),
        ({"x_kairosroute": {"strategy": "race"}}, "single", "race"),
        ({"preferred_max_latency": 900}, "single", "hedge"),
        ({"preferred_max_latency": 900}, "race", "race"),
        ({"stream": True, "x_kairosroute": {"first_token_ms": 900}}, "single", "hedge"),
        ({"stream": False, "x_kairosroute": {"first_token_ms": 900}}, "single", "single"),
        ({"preferred_min_throughput": 5}, "single", "single"),
        ({"model": "a/m", "x_kairosroute": {"strategy": "race"}}, "single", "single"),
    ],
    ids=str,
)
def test_strategies(fields: dict[str, Any], default: Any, strategy: str) -> None:
    policy = AttemptPolicy(POLICY.timeouts, strategy=default, beside=3)
    decided = decide(policy=policy, **fields)
    assert decided.strategy == strategy
    assert decided.beside == (1 if strategy == "single" else 3)


@pytest.mark.parametrize(
    ("live", "fields", "seconds"),
    [
        (seen(2), {}, 2.0),
        (seen(0.001), {}, 0.05),
        (seen(2, samples=19), {}, math.inf),
        (seen(2, samples=19), {"preferred_max_latency": 3000}, 1.5),
        (seen(2), {"preferred_max_latency": 30_000}, 2.0),
        (seen(2), {"x_kairosroute": {"first_token_ms": 1000}}, 0.5),
    ],
)
def test_the_patience_of_a_hedge(live: Live, fields: dict[str, Any], seconds: float) -> None:
    """P95 of what was seen, or half of what the caller states; never below the floor."""
    policy = AttemptPolicy(POLICY.timeouts, strategy="hedge")
    decided = decide({"a/m": live}, policy, stream=True, **fields)
    assert decided.attempts[
        [one.model.provider for one in decided.attempts].index("a")
    ].patience == (pytest.approx(seconds))


def test_patience_without_a_hedge() -> None:
    assert {one.patience for one in decide().attempts} == {math.inf}
    race = decide(x_kairosroute={"strategy": "race"})
    assert {one.patience for one in race.attempts} == {0.0}


def test_whole_answers_are_waited_for_by_their_total() -> None:
    window = Window()
    for _ in range(30):
        window.first_token(1.0, 1.0)
        window.total(1.0, 8.0)
    policy = AttemptPolicy(POLICY.timeouts, strategy="hedge")
    snapshot = {"a/m": Live(window.measure(1.0))}
    assert decide(snapshot, policy, stream=True).attempts[0].patience == pytest.approx(1, rel=0.1)
    assert decide(snapshot, policy, stream=False).attempts[0].patience == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize(
    ("asked", "operator", "stream", "rescue"),
    [
        (None, False, True, False),
        (None, True, True, True),
        (True, False, True, True),
        (False, True, True, False),
        (True, True, False, False),
    ],
)
def test_rescue(asked: bool | None, operator: bool, stream: bool, rescue: bool) -> None:
    """A silence is cut short where somebody could go on: a quarter of the time."""
    policy = AttemptPolicy(POLICY.timeouts, rescue=operator)
    decided = decide(policy=policy, stream=stream, x_kairosroute={"rescue": asked})
    assert decided.rescue is rescue
    assert {one.gap for one in decided.attempts} == {15.0 if rescue else 30.0 if stream else 60.0}


def test_the_cost_cap_is_rounded_down() -> None:
    assert decide(x_kairosroute={"max_cost_usd": 0.01000000009}).cost_cap == 10_000_000
    assert decide().cost_cap is None
