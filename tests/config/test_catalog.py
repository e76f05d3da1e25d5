"""The packaged catalog under the operator's rows: what is configured is there, and wins."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from kproxy.catalog.load import Model, load_packaged
from kproxy.catalog.quality import PRIOR, prior_at
from kproxy.config import Config, ConfigError, Overrides, load
from kproxy.config.catalog import build_catalog
from kproxy.config.providers import SEED_PROVIDERS
from kproxy.money import nanos

ACME = '[providers.acme]\nbase_url = "http://127.0.0.1:9/v1"\n'


def configured(tmp_path: Path, text: str = "") -> Config:
    file = tmp_path / "kproxy.toml"
    file.write_text(text)
    return load(Overrides(config=file, data_dir=tmp_path / "data"), {})


def test_without_configuration_the_packaged_one_of_the_seeds_providers(tmp_path: Path) -> None:
    catalog = build_catalog(configured(tmp_path))
    packaged = load_packaged().at_providers(SEED_PROVIDERS)
    assert [model.key for model in catalog.models[:5]] == [
        "openai/gpt-4.1",
        "anthropic/claude-sonnet-4-20250514",
        "xai/grok-4.1-fast",
        "deepseek/deepseek-chat",
        "minimax/minimax-m2.5",
    ]
    assert [model.key for model in catalog.models] == [model.key for model in packaged.models]
    assert [model.price for model in catalog.models] == [model.price for model in packaged.models]
    assert catalog.provider("deepseek") == packaged.provider("deepseek")


def test_only_models_of_configured_providers(tmp_path: Path) -> None:
    text = '[providers.openai]\napi_key = "sk-1"\n'
    catalog = build_catalog(configured(tmp_path, text))
    assert catalog.models == load_packaged().at_providers(["openai"]).models
    assert catalog.models[0].key == "openai/gpt-4.1"


def test_the_operators_rows_over_what_is_known(tmp_path: Path) -> None:
    text = f"""
{ACME}display = "Acme & Sons"
zdr = true
models = "any"
[providers.openai]
api_key = "sk-1"
[[models]]
id = "gpt-4.1"
provider = "openai"
price = {{ input = 1, output = 2.5, cached_input = 0.1, request = 0.01 }}
context_tokens = 1000
[[models]]
id = "m"
provider = "acme"
upstream = "m-2025"
prefill = true
capabilities = ["tools"]
quantization = "fp8"
enabled = false
"""
    catalog = build_catalog(configured(tmp_path, text))
    known = load_packaged().pinned("openai/gpt-4.1")
    ours = catalog.pinned("openai/gpt-4.1")
    assert known is not None
    assert ours is not None
    assert ours.price is not None
    assert (ours.price.input, ours.price.output) == (nanos(1), nanos("2.5"))
    assert (ours.price.cached_input, ours.price.per_request) == (nanos("0.1"), nanos("0.01"))
    assert ours.context_tokens == 1000
    assert ours.max_output_tokens == known.max_output_tokens
    assert (ours.capabilities, ours.created) == (known.capabilities, known.created)
    assert (ours.price_date, ours.prefill) == (None, known.prefill)
    mine = catalog.pinned("acme/m")
    assert mine is not None
    assert (mine.upstream, mine.price, mine.quantization) == ("m-2025", None, "fp8")
    assert (mine.capabilities, mine.enabled) == (frozenset({"tools"}), False)
    assert mine.prefill
    acme = catalog.provider("acme")
    assert (acme.display, acme.may_train, acme.zdr) == ("Acme & Sons", True, True)
    assert acme.any_models
    assert not catalog.provider("openai").any_models


def test_a_simulated_provider_is_asked_for_the_model_by_its_id(tmp_path: Path) -> None:
    """What it plays is named as callers name it; the real one has a name of its own."""
    simulated = build_catalog(configured(tmp_path)).pinned("xai/grok-4.1-fast")
    real = build_catalog(configured(tmp_path, '[providers.xai]\napi_key = "k"\n'))
    known = load_packaged().pinned("xai/grok-4.1-fast")
    assert simulated is not None
    assert simulated.upstream == "grok-4.1-fast"
    assert real.pinned("xai/grok-4.1-fast") == known


def test_a_row_without_a_price_keeps_the_known_one_and_its_day(tmp_path: Path) -> None:
    row = '[providers.openai]\napi_key = "k"\n[[models]]\nid = "gpt-4.1"\nprovider = "openai"\n'
    ours = build_catalog(configured(tmp_path, row)).pinned("openai/gpt-4.1")
    assert ours == load_packaged().pinned("openai/gpt-4.1")


def test_a_simulated_provider_continues_what_it_is_given(tmp_path: Path) -> None:
    rows = """
[providers.acme]
dialect = "sim"
[providers.openai]
dialect = "sim"
[[models]]
id = "m"
provider = "acme"
[[models]]
id = "n"
provider = "acme"
prefill = false
"""
    models = build_catalog(configured(tmp_path, rows)).models
    assert [model.key for model in models if not model.prefill] == ["acme/n"]
    assert len(models) > 2
    real = build_catalog(configured(tmp_path, '[providers.openai]\napi_key = "k"\n')).models
    assert not any(model.prefill for model in real)


def test_the_operators_own_file_replaces_the_packaged_one(tmp_path: Path) -> None:
    known = json.loads((files("kproxy.catalog") / "models.json").read_bytes())
    known["models"] = [known["models"][0] | {"id": "ours", "prefill": True}]
    (tmp_path / "own.json").write_text(json.dumps(known))
    text = '[catalog]\nfile = "own.json"\n[providers.openai]\napi_key = "k"\n'
    models = build_catalog(configured(tmp_path, text)).models
    assert [(model.key, model.prefill) for model in models] == [("openai/ours", True)]


def acme(tmp_path: Path, row: str, name: str = "m") -> Model:
    text = f'{ACME}[[models]]\nid = "{name}"\nprovider = "acme"\n{row}'
    model = build_catalog(configured(tmp_path, text)).pinned(f"acme/{name}")
    assert model is not None
    return model


def test_a_quality_of_the_operators(tmp_path: Path) -> None:
    for row, quality in (
        ("quality = 0.5", (0.5,) * 6),
        ("quality = 1", (1.0,) * 6),
        (
            "quality = { creative = 0.6, reasoning = 0.2, analysis = 0.3, "
            "extraction = 0.4, summarization = 0.5, code = 0.1 }",
            (0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
        ),
    ):
        for name in ("m", "gpt-4.1"):
            model = acme(tmp_path, row, name)
            assert (model.quality, model.quality_source) == (quality, "operator")


def test_without_one_the_price_speaks_and_without_a_price_nobody(tmp_path: Path) -> None:
    model = acme(tmp_path, "price = { input = 1, output = 5 }")
    assert (model.quality, model.quality_source) == (prior_at(2), PRIOR)
    model = acme(tmp_path, "")
    assert (model.quality, model.quality_source) == ((), "")


def test_a_known_model_is_as_good_at_another_provider_and_price(tmp_path: Path) -> None:
    known = load_packaged().models[0]
    model = acme(tmp_path, "price = { input = 0.1, output = 0.1 }", known.id)
    assert model.quality == known.quality
    assert model.quality_source == known.quality_source
    text = '[providers.openai]\napi_key = "k"\n[[models]]\nid = "gpt-4.1"\nprovider = "openai"\n'
    own = build_catalog(configured(tmp_path, text)).pinned("openai/gpt-4.1")
    assert own is not None
    assert (own.quality, own.quality_source) == (known.quality, known.quality_source)


def test_the_price_speaks_for_the_rows_of_an_older_catalog_file(tmp_path: Path) -> None:
    rows = json.loads((files("kproxy.catalog") / "models.json").read_bytes())
    for row in rows["models"]:
        del row["quality"], row["quality_source"]
    (tmp_path / "older.json").write_text(json.dumps(rows))
    text = '[catalog]\nfile = "older.json"\n[providers.openai]\napi_key = "k"\n'
    model = build_catalog(configured(tmp_path, text)).pinned("openai/gpt-4.1")
    assert model is not None
    assert (model.quality, model.quality_source) == (prior_at(3.5), PRIOR)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("quality = 1.5", "models[0].quality"),
        ("quality = { code = 0.5 }", "models[0].quality: reasoning is missing"),
        ("quality = 'good'", "models[0].quality"),
    ],
)
def test_a_wrong_quality_is_refused_with_its_line(tmp_path: Path, row: str, why: str) -> None:
    with pytest.raises(ConfigError) as problem:
        acme(tmp_path, row)
    assert why in str(problem.value)
