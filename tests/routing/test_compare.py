"""Who is compared, in which order, with which fallbacks, and what the cap makes of it."""

import contextlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.catalog.load import Catalog, Model, Price, Provider
from kproxy.errors import Rejected
from kproxy.routing.compare import TOP, Comparison, compare
from kproxy.routing.constraints import ANYTHING, KeyConstraints
from kproxy.routing.live import UNKNOWN
from kproxy.routing.plan import AttemptPolicy, Plan, Timeouts
from kproxy.routing.planner import plan
from kproxy.schema.chat import ChatRequest, Extension, Message
from kproxy.schema.compare import CompareRequest

POLICY = AttemptPolicy(Timeouts(total=60.0, first_token=20.0, gap=5.0), strategy="hedge")
RESTING = msgspec.structs.replace(UNKNOWN, resting=7.0, why="it failed")


def priced(key: str, cost: int | None) -> Model:
    """A model whose estimate is `cost` nano-dollars, whatever the prompt."""
    provider, _, name = key.partition("/")
    return Model(name, provider, name, None if cost is None else Price(0, 0, per_request=cost))


THREE = [priced("a/m", 1), priced("b/m", 20), priced("a/n", 3), priced("c/o", 4)]


def decided(
    rows: Sequence[Model],
    /,
    *,
    names: Sequence[str] | None = None,
    key: KeyConstraints = ANYTHING,
    resting: Sequence[str] = (),
    **extension: Any,
) -> Comparison:
    slugs = {one.provider for one in rows}
    facts = {slug: Provider(slug, slug.title(), zdr=slug == "a") for slug in slugs}
    catalog = Catalog(MappingProxyType(facts), tuple(rows))
    snapshot = dict.fromkeys(resting, RESTING)

    def decide(request: ChatRequest) -> Plan:
        return plan(request, 100, catalog, POLICY, snapshot, key)

    zdr = extension.pop("zdr", None)
    request = CompareRequest(
        messages=[Message("user", "hi")],
        models=None if names is None else list(names),
        zdr=zdr,
        x_kairosroute=Extension(**extension),
    )
    return compare(request, decide)


def shown(made: Comparison) -> Mapping[str, list[str] | str]:
    """Each entry's endpoints, or the code of its refusal."""
    found: dict[str, list[str] | str] = {}
    for one in made.entries:
        if one.plan is None:
            assert one.refusal is not None
            found[one.name] = one.refusal.code
        else:
            found[one.name] = [spec.model.key for spec in one.plan.attempts]
    return found


def refused(rows: Sequence[Model], /, **fields: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        decided(rows, **fields)
    return caught.value


def test_named_models_in_the_callers_order_each_with_its_own_providers() -> None:
    made = decided(THREE, names=["o", "m"])
    assert shown(made) == {"o": ["c/o"], "m": ["a/m", "b/m"]}
    assert list(shown(made)) == ["o", "m"]


def test_the_routers_top_candidates() -> None:
    """Distinct models, in the order of `auto`."""
    models = [*THREE, priced("d/p", 2), priced("e/q", 90)]
    assert shown(decided(models)) == {"m": ["a/m", "b/m"], "p": ["d/p"], "n": ["a/n"]}
    assert TOP == 3
    assert shown(decided(THREE[:3])) == {"m": ["a/m", "b/m"], "n": ["a/n"]}


def test_the_plan_of_all() -> None:
    made = decided(THREE, names=["m", "n"])
    whole = made.plan
    assert [spec.model.key for spec in whole.attempts] == ["a/m", "b/m", "a/n"]
    assert (whole.strategy, whole.total, whole.beside, whole.most) == ("compare", 60.0, 2, 6)
    assert [f"{one.provider}/{one.model_id}" for one in whole.candidates] == ["a/m", "b/m", "a/n"]


def test_the_plan_of_each_is_a_chain_and_no_hedge() -> None:
    for one in decided(THREE, names=["m", "n"], deadline_ms=9_000).entries:
        assert one.plan is not None
        assert (one.plan.strategy, one.plan.beside, one.plan.most) == ("single", 1, 3)
        assert one.plan.total == 9.0
        assert all(spec.patience == float("inf") for spec in one.plan.attempts)


def test_no_endpoint_is_asked_twice() -> None:
    assert shown(decided(THREE, names=["m", "a/m"])) == {"m": ["b/m"], "a/m": ["a/m"]}
    assert shown(decided(THREE, names=["a/m", "b/m"])) == {"a/m": ["a/m"], "b/m": ["b/m"]}
    assert shown(decided(THREE, names=["a/n", "n"])) == {"a/n": ["a/n"], "n": "no_models_available"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"zdr": True}, {"m": ["a/m"], "o": "no_models_available"}),
        ({"resting": ["c/o"]}, {"m": ["a/m", "b/m"], "o": "all_models_unavailable"}),
        ({"resting": ["a/m"]}, {"m": ["b/m"], "o": ["c/o"]}),
        (
            {"key": KeyConstraints(excluded=frozenset({"b", "c"}))},
            {"m": ["a/m"], "o": "no_models_available"},
        ),
    ],
    ids=str,
)
def test_what_keeps_one_out_is_its_entrys(fields: dict[str, Any], expected: object) -> None:
    assert shown(decided(THREE, names=["m", "o"], **fields)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"names": ["m", "gpt-0"]}, (404, "model_not_found", "models")),
        ({"models": ["m", "gpt-0"]}, (404, "model_not_found", "x_kairosroute.models")),
        ({"names": ["m", "auto"]}, (404, "model_not_found", "models")),
        ({"names": ["m", "kr-compare"]}, (404, "model_not_found", "models")),
        ({"names": ["b/m", "o"], "zdr": True}, (400, "no_models_available", "zdr")),
        ({"names": ["o", "b/m"], "resting": ["b/m", "c/o"]}, (503, "all_models_unavailable", None)),
        (
            {"names": ["o", "a/m"], "resting": ["a/m"], "zdr": True},
            (503, "all_models_unavailable", None),
        ),
        ({"key": KeyConstraints(allowed=frozenset("b"))}, (400, "no_models_available", None)),
        ({"resting": ["a/m", "b/m", "a/n", "c/o"]}, (503, "all_models_unavailable", None)),
    ],
    ids=str,
)
def test_refused(fields: dict[str, Any], expected: tuple[int, str, str | None]) -> None:
    refusal = refused(THREE, **fields)
    assert (refusal.status, refusal.code, refusal.param) == expected


# --- the cap


@pytest.mark.parametrize(
    ("cap", "expected"),
    [
        (24, {"m": ["a/m", "b/m"], "o": ["c/o"]}),
        (23, {"m": ["a/m"], "o": ["c/o"]}),
        (5, {"m": ["a/m"], "o": ["c/o"]}),
    ],
)
def test_a_fallback_that_could_break_the_cap_is_left_out(cap: int, expected: object) -> None:
    assert shown(decided(THREE, names=["m", "o"], max_cost_usd=cap / 1e9)) == expected
    assert shown(decided(THREE, names=["m", "o"], key=KeyConstraints(max_cost=cap))) == expected


def test_the_first_attempts_are_above_the_cap_together() -> None:
    refusal = refused(THREE, names=["m", "o"], max_cost_usd=4e-9)
    assert (refusal.status, refusal.code) == (402, "cost_guardrail_exceeded")
    assert refusal.param == "x_kairosroute.max_cost_usd"
    assert "0.000000005 USD together" in refusal.message
    key = KeyConstraints(max_cost=4)
    assert refused(THREE, names=["m", "o"], key=key).param == "maxCostPerRequestUsd"
    assert refused(THREE, names=["m", "o"], key=key, max_cost_usd=1).param == "maxCostPerRequestUsd"


def test_one_that_is_above_the_cap_alone() -> None:
    refusal = refused(THREE, names=["m", "o"], max_cost_usd=3e-9)
    assert (refusal.status, refusal.param) == (402, "x_kairosroute.max_cost_usd")


def test_an_unknown_price_is_not_within_a_cap() -> None:
    models = [*THREE, priced("d/p", None)]
    assert refused(models, names=["m", "p"], max_cost_usd=1).status == 402
    assert shown(decided(models, names=["m", "p"])) == {"m": ["a/m", "b/m"], "p": ["d/p"]}


def test_the_router_takes_who_fits() -> None:
    models = [priced("a/m", 2), priced("b/n", 3), priced("c/o", 4)]
    assert list(shown(decided(models, max_cost_usd=8e-9))) == ["m", "n"]
    assert list(shown(decided(models, max_cost_usd=9e-9))) == ["m", "n", "o"]
    assert list(shown(decided([*models, priced("d/p", 3)], max_cost_usd=8e-9))) == ["m", "n", "p"]
    refusal = refused(models, max_cost_usd=4e-9)
    assert (refusal.status, refusal.param) == (402, "x_kairosroute.max_cost_usd")


@settings(max_examples=200)
@given(
    costs=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=2, max_size=8),
    cap=st.integers(0, 40),
    named=st.booleans(),
)
def test_whatever_is_asked_costs_at_most_the_cap(
    costs: list[tuple[str, int]], cap: int, named: bool
) -> None:
    """The dearest attempt of each together; no endpoint twice; the whole plan is sound."""
    models = {f"{p}/{'mno'[i % 3]}": c for i, (p, c) in enumerate(costs)}
    rows = [priced(key, cost) for key, cost in models.items()]
    names = list(dict.fromkeys(one.id for one in rows)) if named else None
    if names is not None and len(names) < 2:
        return
    with contextlib.suppress(Rejected):  # the tests above say when
        check(decided(rows, names=names, key=KeyConstraints(max_cost=cap)), cap)


def check(made: Comparison, cap: int) -> None:
    plans = [one.plan for one in made.entries if one.plan is not None]
    assert sum(max(spec.est_cost or 0 for spec in one.attempts) for one in plans) <= cap
    asked = [spec.model.key for one in plans for spec in one.attempts]
    assert sorted(asked) == sorted(set(asked))
    assert [spec.model.key for spec in made.plan.attempts] == asked
    for one in made.entries:
        assert one.plan is not None
        assert {spec.model.id for spec in one.plan.attempts} == {one.name}
