"""Decisions by table over the packaged catalog, and laws over arbitrary ones."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kproxy.catalog.load import Catalog, Model, Price, Provider, RouteTimeouts, load_packaged
from kproxy.errors import NotCarried, Rejected
from kproxy.routing.candidates import is_auto
from kproxy.routing.constraints import Expected, violations
from kproxy.routing.plan import AttemptPolicy, Plan, Timeouts
from kproxy.routing.planner import plan
from kproxy.schema.chat import ChatRequest, decode_chat
from kproxy.schema.jsonlimits import JsonLimits

PACKAGED = Catalog(load_packaged().providers, load_packaged().models[:5])  # the seed's
POLICY = AttemptPolicy(Timeouts(total=60.0, first_token=20.0, gap=5.0))
ACME = Provider("acme", "Acme", may_train=False, any_models=True)
TOOLS = [{"type": "function", "function": {"name": "f"}}]
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]


def request(model: str = "auto", **fields: object) -> ChatRequest:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
    return decode_chat(json.dumps(body).encode(), JsonLimits()).request


def decide(asked: ChatRequest, catalog: Catalog = PACKAGED, prompt_tokens: int = 100) -> Plan:
    return plan(asked, prompt_tokens, catalog, POLICY)


def order(decided: Plan) -> list[str]:
    return [attempt.model.key for attempt in decided.attempts]


def refused(asked: ChatRequest, catalog: Catalog = PACKAGED, prompt_tokens: int = 100) -> Rejected:
    with pytest.raises(Rejected) as caught:
        decide(asked, catalog, prompt_tokens)
    return caught.value


@pytest.mark.parametrize("model", ["auto", "kr-auto"])
def test_auto_is_the_cheapest_first(model: str) -> None:
    decided = decide(request(model))
    assert order(decided) == [
        "deepseek/deepseek-chat",
        "xai/grok-4.1-fast",
        "minimax/minimax-m2.5",
        "openai/gpt-4.1",
        "anthropic/claude-sonnet-4-20250514",
    ]
    assert decided.attempts[0].est_cost == 100 * 280 + 256 * 420
    assert (decided.strategy, decided.total, decided.most) == ("single", 60.0, 3)


@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ({}, "deepseek-chat"),
        ({"tools": TOOLS}, "deepseek-chat"),
        ({"messages": IMAGE}, "grok-4.1-fast"),
        ({"data_collection": "deny"}, "gpt-4.1"),
        ({"zdr": True}, "gpt-4.1"),
        ({"max_tokens": 9000}, "grok-4.1-fast"),
        ({"x_kairosroute": {"models": ["gpt-4.1", "deepseek-chat"]}}, "gpt-4.1"),
        (
            {"x_kairosroute": {"models": ["deepseek-chat", "anthropic/claude-sonnet-4-20250514"]}},
            "deepseek-chat",
        ),
        (
            {"zdr": True, "x_kairosroute": {"models": ["deepseek-chat", "gpt-4.1"]}},
            "gpt-4.1",
        ),
    ],
    ids=str,
)
def test_auto_with_constraints(fields: dict[str, object], first: str) -> None:
    assert decide(request(**fields)).attempts[0].model.id == first


def test_a_long_prompt_needs_a_long_context() -> None:
    assert order(decide(request(), prompt_tokens=150_000)) == [
        "xai/grok-4.1-fast",
        "minimax/minimax-m2.5",
        "openai/gpt-4.1",
        "anthropic/claude-sonnet-4-20250514",
    ]
    assert refused(request(), prompt_tokens=3_000_000).code == "no_models_available"


def test_the_answers_asked_for_count() -> None:
    one, three = decide(request(max_tokens=50)), decide(request(max_tokens=50, n=3))
    costs = [
        {attempt.model.id: attempt.est_cost for attempt in decided.attempts}
        for decided in (one, three)
    ]
    assert [cost["deepseek-chat"] for cost in costs] == [28_000 + 21_000, 28_000 + 63_000]


def two_hosts() -> Catalog:
    cheap = Model("gpt-4.1", "acme", "big", Price(1, 1), price_date="2026-01-01")
    free = Model("gpt-4.1", "zeta", "z", None)
    return PACKAGED.with_models([free, cheap], [ACME])


def test_a_pinned_id_takes_every_provider_of_it() -> None:
    decided = decide(request("gpt-4.1"), two_hosts())
    assert order(decided) == ["acme/gpt-4.1", "openai/gpt-4.1", "zeta/gpt-4.1"]
    assert [attempt.est_cost for attempt in decided.attempts][-1] is None


def test_both_pinned() -> None:
    assert order(decide(request("zeta/gpt-4.1"), two_hosts())) == ["zeta/gpt-4.1"]


def test_any_model_of_a_host_that_takes_any() -> None:
    decided = decide(request("acme/org/model:7b", tools=TOOLS), two_hosts())
    model = decided.attempts[0].model
    assert (model.provider, model.id, model.upstream) == ("acme", "org/model:7b", "org/model:7b")
    assert model.price is None
    assert decided.attempts[0].est_cost is None
    assert order(decide(request("acme/gpt-4.1"), two_hosts())) == ["acme/gpt-4.1"]
    listed = decide(request(x_kairosroute={"models": ["acme/x", "gpt-4.1"]}), two_hosts())
    assert order(listed)[:2] == ["acme/x", "acme/gpt-4.1"]


def test_an_id_with_a_slash_is_an_id_first() -> None:
    model = Model("acme/x", "zeta", "x", None)
    assert order(decide(request("acme/x"), two_hosts().with_models([model]))) == ["zeta/acme/x"]


@pytest.mark.parametrize(
    "name",
    ["gpt-5", "GPT-4.1", "gpt", "openai/gpt-5", "openai/", "/gpt-4.1", "zeta/x", "acme/", "Auto"],
)
def test_an_unknown_model(name: str) -> None:
    rejected = refused(request(name), two_hosts())
    assert (rejected.status, rejected.code, rejected.param) == (404, "model_not_found", "model")
    assert rejected.message == f"The model '{name}' does not exist"
    assert rejected.type == "invalid_request_error"


def test_an_unknown_model_in_the_list() -> None:
    rejected = refused(request(x_kairosroute={"models": ["gpt-4.1", "gtp-4.1" * 36]}))
    assert (rejected.status, rejected.param) == (404, "x_kairosroute.models")
    assert len(rejected.message) < 400


def test_a_disabled_model() -> None:
    off = PACKAGED.with_models([replace(model, enabled=False) for model in PACKAGED.models[:1]])
    assert refused(request("gpt-4.1"), off).status == 404
    decided = decide(request(), off)
    assert "openai/gpt-4.1" not in order(decided)
    assert decided.candidates[-1].filtered_out_by == "enabled"


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"model": "deepseek-chat", "zdr": True}, "zdr", ["zdr", "deepseek/deepseek-chat"]),
        ({"model": "deepseek/deepseek-chat", "messages": IMAGE}, "vision", ["vision"]),
        ({"model": "deepseek-chat", "max_tokens": 10_000}, "max_tokens", ["8192"]),
        ({"min_quantization": "int4"}, "min_quantization", ["min_quantization", "disclose"]),
        (
            {"data_collection": "deny", "min_quantization": "fp8"},
            None,
            ["min_quantization", "data_collection"],
        ),
        (
            {"model": "gpt-4.1", "x_kairosroute": {"models": ["deepseek-chat"]}},
            "x_kairosroute.models",
            ["x_kairosroute.models"],
        ),
    ],
    ids=str,
)
def test_nothing_left(fields: dict[str, object], param: str | None, words: list[str]) -> None:
    rejected = refused(request(**{"model": "auto", **fields}))  # type: ignore[arg-type]
    assert (rejected.status, rejected.code) == (400, "no_models_available")
    assert rejected.param == param
    assert all(word in rejected.message for word in words)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 402),
        ({"model": "gpt-4.1"}, 402),
        ({"zdr": True}, 402),
        ({"min_quantization": "fp8"}, 400),
        ({"model": "deepseek-chat", "zdr": True}, 400),
    ],
    ids=str,
)
def test_the_cost_cap_empties_the_set(fields: dict[str, object], status: int) -> None:
    cap = {"max_cost_usd": 0.000001}
    rejected = refused(request(**{"model": "auto", **fields}, x_kairosroute=cap))  # type: ignore[arg-type]
    assert rejected.status == status
    if status == 402:
        assert rejected.code == "cost_guardrail_exceeded"
        assert rejected.param == "x_kairosroute.max_cost_usd"


def test_without_any_model() -> None:
    rejected = refused(request(), Catalog())
    assert (rejected.status, rejected.code) == (503, "all_models_unavailable")


@pytest.mark.parametrize(
    ("extension", "total", "first_token"),
    [
        ({}, 60.0, 20.0),
        ({"deadline_ms": 1500}, 1.5, 1.5),
        ({"deadline_ms": 600_000}, 60.0, 20.0),
        ({"first_token_ms": 250}, 60.0, 0.25),
        ({"first_token_ms": 90_000}, 60.0, 60.0),
        ({"deadline_ms": 100, "first_token_ms": 200}, 0.1, 0.1),
    ],
    ids=str,
)
def test_deadlines(extension: dict[str, object], total: float, first_token: float) -> None:
    decided = decide(request(x_kairosroute=extension, stream=True))
    timers = {(one.total, one.first_token, one.gap) for one in decided.attempts}
    assert timers == {(total, first_token, 5.0)}
    assert decided.total == total, "the operator's is the longest"
    assert {one.full for one in decided.attempts} == {POLICY.timeouts}


def test_a_whole_answer_has_its_total_alone() -> None:
    decided = decide(request(x_kairosroute={"first_token_ms": 250}))
    timers = {(one.total, one.first_token, one.gap) for one in decided.attempts}
    assert timers == {(60.0, 60.0, 60.0)}


def test_a_route_may_have_timers_of_its_own() -> None:
    slow = Model("m", "acme", "m", None, timeouts=RouteTimeouts(50.0, 40.0, 30.0))
    catalog = PACKAGED.with_models([slow], [ACME])
    (only,) = decide(request("m", stream=True), catalog).attempts
    assert (only.total, only.first_token, only.gap) == (50.0, 40.0, 30.0)
    hasty = request("m", stream=True, x_kairosroute={"first_token_ms": 250})
    (only,) = decide(hasty, catalog).attempts
    assert (only.first_token, only.full) == (0.25, Timeouts(50.0, 40.0, 30.0))


def test_candidates_tell_why() -> None:
    decided = decide(request(zdr=True))
    lines = {line.provider: line for line in decided.candidates}
    assert list(lines) == ["openai", "anthropic", "xai", "deepseek", "minimax"]
    assert lines["openai"].filtered_out_by is None
    assert lines["openai"].reasons == ("meets every constraint",)
    assert lines["deepseek"].filtered_out_by == "zdr"
    assert lines["deepseek"].reasons == ("the provider guarantees no zero data retention",)


def test_which_names_mean_auto() -> None:
    assert [is_auto(name) for name in ("auto", "kr-auto", "gpt-4.1")] == [True, True, False]


PRECISIONS = st.sampled_from([None, "fp32", "fp16", "bf16", "fp8", "int8", "int4"])
PROVIDERS = [
    Provider("p", "P", may_train=False, zdr=True),
    Provider("q", "Q", may_train=True, zdr=False),
    Provider("r", "R", may_train=False, zdr=False, any_models=True),
]
MODELS = st.builds(
    Model,
    id=st.sampled_from(["a", "b", "c", "d/e"]),
    provider=st.sampled_from(["p", "q", "r", "unlisted"]),
    upstream=st.just("u"),
    price=st.none() | st.builds(Price, st.integers(0, 10**10), st.integers(0, 10**10)),
    context_tokens=st.none() | st.integers(1, 2000),
    max_output_tokens=st.none() | st.integers(1, 500),
    capabilities=st.frozensets(st.sampled_from(["tools", "vision", "json"])),
    quantization=PRECISIONS,
    enabled=st.booleans(),
)
CATALOGS = st.lists(MODELS, max_size=10, unique_by=lambda model: model.key).map(
    lambda models: Catalog({one.slug: one for one in PROVIDERS}, tuple(models))
)
REQUESTS = st.fixed_dictionaries(
    {"model": st.sampled_from(["auto", "auto", "a", "p/b", "r/new", "d/e", "none"])},
    optional={
        "tools": st.just(TOOLS),
        "messages": st.just(IMAGE),
        "response_format": st.just({"type": "json_object"}),
        "max_tokens": st.integers(1, 600),
        "data_collection": st.sampled_from(["allow", "deny"]),
        "zdr": st.booleans(),
        "min_quantization": PRECISIONS,
        "max_quantization": PRECISIONS,
        "x_kairosroute": st.fixed_dictionaries(
            {},
            optional={
                "max_cost_usd": st.floats(0, 0.01),
                "models": st.lists(st.sampled_from(["a", "b", "q/c", "r/x"]), min_size=1),
                "deadline_ms": st.floats(0.1, 1e6),
                "first_token_ms": st.floats(0.1, 1e6),
            },
        ),
    },
)
REFUSALS = {
    (400, "no_models_available"),
    (402, "cost_guardrail_exceeded"),
    (404, "model_not_found"),
    (503, "all_models_unavailable"),
}


@settings(deadline=None)
@given(REQUESTS, CATALOGS, st.integers(1, 2500))
def test_laws(fields: dict[str, object], catalog: Catalog, prompt_tokens: int) -> None:
    asked = request(**fields)  # type: ignore[arg-type]
    try:
        decided = decide(asked, catalog, prompt_tokens)
    except Rejected:
        first, second = (refused(asked, catalog, prompt_tokens) for _ in range(2))
        assert repr(first) == repr(second)
        assert (first.status, first.code) in REFUSALS
        return
    again = Catalog(catalog.providers, tuple(reversed(catalog.models)))
    assert decide(asked, catalog, prompt_tokens) == decided
    assert decide(asked, again, prompt_tokens).attempts == decided.attempts
    for attempt in decided.attempts:
        assert not violations(
            asked, attempt.model, catalog, prompt_tokens, Expected(attempt.est_cost, 1, None)
        )
        if not is_auto(asked.model):
            assert asked.model in (attempt.model.id, attempt.model.key)
    tried = {(attempt.model.id, attempt.model.provider) for attempt in decided.attempts}
    for line in decided.candidates:
        assert line.reasons
        assert (line.filtered_out_by is None) == ((line.model_id, line.provider) in tried)
    if asked.extension.models is None:
        costs = [attempt.est_cost for attempt in decided.attempts]
        known = [one for one in costs if one is not None]
        assert costs == sorted(known) + [None] * (len(costs) - len(known))


# --- what an API has no words for


def wordless(provider: str) -> NotCarried | None:
    return NotCarried("n", "it says one thing") if provider in ("deepseek", "xai") else None


def test_who_has_no_words_for_a_request_is_no_candidate() -> None:
    decided = plan(request(), 100, PACKAGED, POLICY, refuses=wordless)
    assert order(decided)[0] == "minimax/minimax-m2.5"
    out = {one.provider: one for one in decided.candidates if one.filtered_out_by is not None}
    assert out.keys() == {"deepseek", "xai"}
    assert out["xai"].filtered_out_by == "unsupported_parameter"
    assert out["xai"].reasons == ("'n': it says one thing",)


@pytest.mark.parametrize(
    ("model", "fields", "status", "code", "param"),
    [
        ("deepseek-chat", {}, 400, "unsupported_parameter", "n"),
        (
            "auto",
            {"x_kairosroute": {"models": ["deepseek-chat"]}},
            400,
            "unsupported_parameter",
            "n",
        ),
        ("deepseek-chat", {"zdr": True}, 400, "no_models_available", "zdr"),
        (
            "deepseek-chat",
            {"x_kairosroute": {"max_cost_usd": 0}},
            400,
            "unsupported_parameter",
            "n",
        ),
        (
            "auto",
            {"x_kairosroute": {"max_cost_usd": 0}},
            402,
            "cost_guardrail_exceeded",
            "x_kairosroute.max_cost_usd",
        ),
    ],
    ids=str,
)
def test_where_nobody_else_is_left_the_field_is_named(
    model: str, fields: dict[str, object], status: int, code: str, param: str
) -> None:
    with pytest.raises(Rejected) as caught:
        plan(request(model, **fields), 100, PACKAGED, POLICY, refuses=wordless)
    refusal = caught.value
    assert (refusal.status, refusal.code, refusal.param) == (status, code, param)


def test_nobody_is_asked_for_words_who_is_out_already() -> None:
    asked: list[str] = []
    plan(request(zdr=True), 100, PACKAGED, POLICY, refuses=asked.append)
    assert asked == ["openai", "anthropic"]
