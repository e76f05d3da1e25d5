"""The packaged catalog is whole, and lookups are exact."""

import json
from dataclasses import replace
from importlib.resources import files

import pytest

from kproxy.catalog.load import Catalog, Model, Price, Provider, load_packaged, parse_catalog

PACKAGED = load_packaged()
ROWS = json.loads((files("kproxy.catalog") / "models.json").read_bytes())


def test_the_seeds_models_and_owners() -> None:
    assert [(model.id, model.provider) for model in PACKAGED.models] == [
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
        assert model.price.cached_input is not None
        assert model.price.cached_input < model.price.input
        assert model.context_tokens is not None
        assert model.context_tokens > 100_000
        assert model.created > 1_700_000_000
        assert "tools" in model.capabilities
        assert model.enabled
        assert model.provider in PACKAGED.providers
    for row in (*ROWS["models"], *ROWS["providers"]):
        assert row["source"]
        assert len(row["date"]) == len("2026-01-01")


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
    for near in ("gpt-4", "GPT-4.1", "gpt-4.1 ", "gpt-4.1-mini", "openai/gpt-4.1", ""):
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
    assert [model.id for model in catalog.models] == ["grok-4.1-fast"]
    assert catalog.provider("openai").zdr


def test_one_id_twice_at_one_provider() -> None:
    model = PACKAGED.models[0]
    with pytest.raises(ValueError, match="twice"):
        Catalog(PACKAGED.providers, (model, replace(model, upstream="other")))


@pytest.mark.parametrize("amounts", [(-1, 1), (1, -1), (1, 1, -1), (1, 1, 1, -1), (1, 1, 1, 1, -1)])
def test_a_negative_price(amounts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="negative"):
        Price(*amounts)


@pytest.mark.parametrize(
    ("change"),
    [
        {"price": {"input": "1"}},
        {"price": {"input": "1", "output": "0"}},
        {"price": {"input": 1, "output": 2}},
        {"price": {"input": "1", "output": "NaN"}},
        {"price": {"input": "-1", "output": "1"}},
        {"price": {"input": "1", "output": "1", "typo": "1"}},
        {"price": None},
        {"capabilities": ["fly"]},
        {"quantization": "fp4"},
        {"typo": 1},
        {"source": None},
    ],
    ids=str,
)
def test_a_wrong_row_fails_the_load(change: dict[str, object]) -> None:
    row = {**ROWS["models"][0], **change}
    with pytest.raises(ValueError):
        parse_catalog(json.dumps({"providers": [], "models": [row]}).encode())
