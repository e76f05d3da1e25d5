"""The packaged catalog is whole, and lookups are exact."""

import json
from dataclasses import replace
from importlib.resources import files

import pytest

from kproxy.catalog.load import (
    VERSION,
    Catalog,
    Model,
    Price,
    Provider,
    Step,
    load_packaged,
    parse_catalog,
)

PACKAGED = load_packaged()
DATA = (files("kproxy.catalog") / "models.json").read_bytes()
ROWS = json.loads(DATA)


def test_the_seeds_models_and_owners_come_first() -> None:
    assert [(model.id, model.provider) for model in PACKAGED.models[:5]] == [
        ("gpt-4.1", "openai"),
        ("claude-sonnet-4-20250514", "anthropic"),
        ("grok-4.1-fast", "xai"),
        ("deepseek-chat", "deepseek"),
        ("minimax-m2.5", "minimax"),
    ]


@pytest.mark.parametrize(
    ("key", "prices"),
    [
        ("openai/gpt-4.1", ("2", "8", "0.5", None)),
        ("anthropic/claude-sonnet-4-20250514", ("3", "15", "0.3", "3.75")),
        ("xai/grok-4.1-fast", ("0.2", "0.5", "0.05", None)),
        ("deepseek/deepseek-chat", ("0.28", "0.42", "0.028", None)),
        ("minimax/minimax-m2.5", ("0.3", "1.2", "0.03", "0.375")),
    ],
)
def test_prices(key: str, prices: tuple[str, str, str, str | None]) -> None:
    model = PACKAGED.pinned(key)
    assert model is not None
    assert model.price == Price.from_usd(*prices)


def test_every_packaged_row_is_complete() -> None:
    for model in PACKAGED.models:
        assert model.price is not None
        assert 0 < model.price.input < model.price.output
        assert model.price.cached_input is None or model.price.cached_input < model.price.input
        assert model.context_tokens is not None
        assert model.context_tokens > 100_000
        assert model.created == 0 or model.created > 1_700_000_000
        assert "tools" in model.capabilities
        assert model.enabled
        assert model.provider in PACKAGED.providers
    for row in (*ROWS["models"], *ROWS["providers"]):
        assert row["source"]
        assert len(row["date"]) == len("2026-01-01")


def test_every_known_provider_has_two_to_six_models() -> None:
    for slug in PACKAGED.providers:
        assert 2 <= len(PACKAGED.at_providers([slug]).models) <= 6, slug


def test_one_model_at_several_hosts() -> None:
    hosts = PACKAGED.by_id("gpt-oss-120b")
    assert [(model.provider, model.upstream) for model in hosts] == [
        ("groq", "openai/gpt-oss-120b"),
        ("together", "openai/gpt-oss-120b"),
        ("fireworks", "accounts/fireworks/models/gpt-oss-120b"),
    ]


def test_who_continues_an_answer() -> None:
    """Whose documentation says so, and nobody else; see `tests/catalog/table.py`."""
    claude = {model.id for model in PACKAGED.models if model.prefill and "claude" in model.id}
    assert claude == {"claude-sonnet-4-20250514", "claude-haiku-4-5"}
    hosts = {model.provider for model in PACKAGED.models if model.prefill}
    assert hosts == {"anthropic", "mistral"}


@pytest.mark.parametrize(
    ("slug", "display", "may_train", "zdr"),
    [
        ("openai", "OpenAI", False, True),
        ("anthropic", "Anthropic", False, True),
        ("google", "Google", False, True),
        ("mistral", "Mistral", False, True),
        ("groq", "Groq", False, False),
        ("together", "Together AI", False, False),
        ("fireworks", "Fireworks", False, False),
        ("deepseek", "DeepSeek", True, False),
        ("xai", "xAI", True, False),
        ("minimax", "MiniMax", True, False),
        ("never-heard-of", "never-heard-of", True, False),
    ],
)
def test_provider_facts(slug: str, display: str, may_train: bool, zdr: bool) -> None:
    provider = PACKAGED.provider(slug)
    assert provider == Provider(slug, display, may_train, zdr)
    assert not provider.any_models


def test_lookups_are_exact() -> None:
    assert [model.provider for model in PACKAGED.by_id("gpt-4.1")] == ["openai"]
    for near in ("gpt-4", "GPT-4.1", "gpt-4.1 ", "gpt-4.1-2025-04-14", "openai/gpt-4.1", ""):
        assert PACKAGED.by_id(near) == ()
    for near in ("gpt-4.1", "openai/", "OpenAI/gpt-4.1", "xai/gpt-4.1"):
        assert PACKAGED.pinned(near) is None


def test_configured_rows_replace_and_add() -> None:
    own = Model("gpt-4.1", "openai", "gpt-4.1-2025-04-14", None)
    second = Model("gpt-4.1", "acme", "g", Price(1, 1))
    facts = Provider("acme", "Acme", may_train=False, any_models=True)
    catalog = PACKAGED.with_models([own, second], [facts])
    assert catalog.by_id("gpt-4.1") == (own, second)
    assert catalog.pinned("acme/gpt-4.1") is second
    assert catalog.provider("acme") is facts
    assert catalog.provider("openai").zdr
    assert len(catalog.models) == len(PACKAGED.models) + 1
    assert len(PACKAGED.by_id("gpt-4.1")) == 1


def test_only_some_providers() -> None:
    catalog = PACKAGED.at_providers(["xai", "unknown"])
    assert [model.id for model in catalog.models] == [
        "grok-4.1-fast",
        "grok-4.3",
        "grok-4.7",
        "grok-build-0.1",
    ]
    assert catalog.provider("openai").zdr


def test_one_id_twice_at_one_provider() -> None:
    model = PACKAGED.models[0]
    with pytest.raises(ValueError, match=r"^openai/gpt-4\.1 is listed twice$"):
        Catalog(PACKAGED.providers, (model, replace(model, upstream="other")))


@pytest.mark.parametrize("amounts", [(-1, 1), (1, -1), (1, 1, -1), (1, 1, 1, -1), (1, 1, 1, 1, -1)])
def test_a_negative_price(amounts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="negative"):
        Price(*amounts)


def test_a_long_prompt_has_a_price_of_its_own() -> None:
    long = Price(4, 6, cached_input=2)
    price = Price(2, 5, cached_input=1, above=Step(200, long))
    assert [price.at(tokens) is long for tokens in (0, 199, 200, 201)] == [False] * 3 + [True]
    assert long.at(10**9) is long


@pytest.mark.parametrize(
    "long", [Price(1, 5), Price(2, 4), Price(2, 5, cached_input=1), Price(2, 5, per_request=2)]
)
def test_a_long_prompt_is_never_cheaper(long: Price) -> None:
    with pytest.raises(ValueError, match="cheaper"):
        Price(2, 5, per_request=3, above=Step(200, long))


# --- what is refused


def file(**changes: object) -> bytes:
    """The packaged file with its first model changed."""
    return json.dumps(ROWS | {"models": [ROWS["models"][0] | changes]}).encode()


PRICE = {"input": "1", "output": "2"}


def above(**rates: object) -> dict[str, object]:
    return {"price": PRICE | {"above": {"tokens": 9, "input": "1", "output": "2"} | rates}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"price": {"input": "1"}}, "price: Object missing required field `output`"),
        ({"price": {"input": "1", "output": "0"}}, "price.output: it is 0, and an unknown price"),
        ({"price": {"input": 1, "output": 2}}, "price.input: Expected `str`, got `int`"),
        ({"price": PRICE | {"output": "NaN"}}, "price.output: not an amount in USD: 'NaN'"),
        ({"price": PRICE | {"input": "-1"}}, "price.input: not an amount"),
        ({"price": PRICE | {"cached_input": "1e-10"}}, "price.cached_input: not an amount"),
        ({"price": PRICE | {"per_request": ""}}, "price.per_request: not an amount"),
        ({"price": PRICE | {"typo": "1"}}, "price: Object contains unknown field `typo`"),
        ({"price": None}, "price: Expected `object`, got `null`"),
        (above(tokens=0), "price.above.tokens: Expected `int` >= 1"),
        (above(input="x"), "price.above.input: not an amount"),
        (above(output="0"), "price.above.output: it is 0"),
        (above(input="0.9"), "price.above: a long prompt is cheaper than a short one"),
        ({"capabilities": ["fly"]}, "capabilities[0]: Invalid enum value 'fly'"),
        ({"quantization": "fp4"}, "quantization: Invalid enum value 'fp4'"),
        ({"context_tokens": 0}, "context_tokens: Expected `int` >= 1"),
        ({"prefill": 1}, "prefill: Expected `bool`, got `int`"),
        ({"typo": 1}, "Object contains unknown field `typo`"),
        ({"source": None}, "source: Expected `str`, got `null`"),
        ({"source": ""}, "source: Expected `str` of length >= 1"),
        ({"date": "yesterday"}, "date: Expected `str` matching regex"),
    ],
    ids=str,
)
def test_a_wrong_row_is_named(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_catalog(file(**change))
    assert str(caught.value).startswith(f"models[0] (openai/gpt-4.1): {reason}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"provider": "acme"}, "models[0] (acme/gpt-4.1): provider: no row of `providers` has"),
        ({"id": 7}, "models[0]: id: Expected `str`, got `int`"),
        ({"id": ""}, "models[0] (openai): id: Expected `str` of length >= 1"),
    ],
    ids=str,
)
def test_a_row_without_a_name_is_counted(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_catalog(file(**change))
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": VERSION + 1}, "the catalog's version is 2; this kproxy reads 1"),
        ({"version": None}, "not a catalog: Expected `int`, got `null` - at `$.version`"),
        ({"models": None}, "not a catalog: Expected `array`"),
        ({"modles": []}, "not a catalog: Object contains unknown field `modles`"),
        ({"models": ROWS["models"][:1] * 2}, "openai/gpt-4.1 is listed twice"),
        (
            {"providers": ROWS["providers"][:1] * 2},
            "providers[1] (openai): slug: it is listed twice",
        ),
        (
            {"providers": [ROWS["providers"][0] | {"zdr": "yes"}]},
            "providers[0] (openai): zdr: Expected `bool`, got `str`",
        ),
    ],
    ids=str,
)
def test_a_wrong_file_is_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_catalog(json.dumps(ROWS | change).encode())
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("cut", [0, 1, 40, 400, len(DATA) // 2, len(DATA) - 3])
def test_a_cut_file_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match=r"^not a catalog: "):
        parse_catalog(DATA[:cut])


DEEP = b'{"version":1,"providers":[],"models":' + b"[" * 100_000


@pytest.mark.parametrize("data", [b"[]", b"null", b"\xff", b"version = 1\n", DEEP])
def test_what_is_no_catalog_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not a catalog: "):
        parse_catalog(data)


def test_the_seeds_qualities_and_their_sources() -> None:
    for model in PACKAGED.models:
        assert len(model.quality) == 6
        assert all(0 < one < 1 for one in model.quality)
        assert model.quality_source
    assert PACKAGED.models[0].quality == (0.778, 0.704, 0.688, 0.841, 0.742, 0.721)
    assert "Vectara hallucination leaderboard 2026-09-22" in PACKAGED.models[0].quality_source


def test_a_file_without_qualities_still_loads() -> None:
    rows = json.loads(DATA)
    for row in rows["models"]:
        del row["quality"], row["quality_source"]
    older = parse_catalog(json.dumps(rows).encode())
    assert {(model.quality, model.quality_source) for model in older.models} == {((), "")}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"code": 1.01}, r"quality\.code: Expected `float` <= 1\.0"),
        ({"creative": -1}, r"quality\.creative: Expected `float` >= 0\.0"),
        ({"maths": 0.5}, "quality: .*unknown field `maths`"),
        ({"reasoning": None}, r"quality\.reasoning: "),
    ],
)
def test_a_wrong_quality_is_named(change: dict[str, object], why: str) -> None:
    rows = json.loads(DATA)
    rows["models"][2]["quality"].update(change)
    with pytest.raises(ValueError, match=rf"models\[2\] \(xai/grok-4\.1-fast\): {why}"):
        parse_catalog(json.dumps(rows).encode())


def test_a_quality_is_of_all_six_categories() -> None:
    rows = json.loads(DATA)
    del rows["models"][0]["quality"]["analysis"]
    with pytest.raises(ValueError, match=r"quality: .*missing required field `analysis`"):
        parse_catalog(json.dumps(rows).encode())
