"""Each constraint, where it holds, where it just holds and where it does not."""

import json
from dataclasses import replace

import pytest

from kproxy.catalog.load import Catalog, Model, Price, Provider
from kproxy.routing.constraints import (
    COST_CAP,
    Expected,
    KeyConstraints,
    named,
    violations,
    with_floor,
)
from kproxy.schema.chat import decode_chat
from kproxy.schema.jsonlimits import JsonLimits

CATALOG = Catalog(
    {
        "good": Provider("good", "Good", may_train=False, zdr=True),
        "trains": Provider("trains", "Trains", may_train=True, zdr=False),
        "keeps": Provider("keeps", "Keeps", may_train=False, zdr=False),
    }
)
MODEL = Model(
    "m",
    "good",
    "m",
    Price(1000, 1000),
    context_tokens=1000,
    max_output_tokens=100,
    quantization="fp8",
)
TOOLS = [{"type": "function", "function": {"name": "f"}}]
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]


def broken(
    fields: dict[str, object], prompt_tokens: int = 10, est_cost: int | None = 5, **change: object
) -> list[str]:
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], **fields}
    request = decode_chat(json.dumps(body).encode(), JsonLimits()).request
    model = replace(MODEL, **change)  # type: ignore[arg-type]
    found = violations(request, model, CATALOG, prompt_tokens, Expected(est_cost, 1, None))
    assert all(one.reason for one in found)
    return [one.constraint for one in found]


@pytest.mark.parametrize(
    ("fields", "change", "expected"),
    [
        ({}, {}, []),
        ({}, {"enabled": False}, ["enabled"]),
        ({"tools": TOOLS}, {}, []),
        ({"tools": TOOLS}, {"capabilities": frozenset(("json",))}, ["tools"]),
        ({"messages": IMAGE}, {}, []),
        ({"messages": IMAGE}, {"capabilities": frozenset(("json",))}, ["vision"]),
        ({"response_format": {"type": "json_object"}}, {}, []),
        (
            {"response_format": {"type": "json_object"}},
            {"capabilities": frozenset(("tools",))},
            ["response_format"],
        ),
        ({"response_format": {"type": "text"}}, {"capabilities": frozenset()}, []),
        ({"max_tokens": 100}, {}, []),
        ({"max_tokens": 101}, {}, ["max_tokens"]),
        ({"max_tokens": 101}, {"max_output_tokens": None}, []),
        ({"data_collection": "deny"}, {}, []),
        ({"data_collection": "deny"}, {"provider": "keeps"}, []),
        ({"data_collection": "deny"}, {"provider": "trains"}, ["data_collection"]),
        ({"data_collection": "deny"}, {"provider": "unknown"}, ["data_collection"]),
        ({"data_collection": "allow"}, {"provider": "trains"}, []),
        ({"zdr": True}, {}, []),
        ({"zdr": False}, {"provider": "trains"}, []),
        ({"zdr": True}, {"provider": "keeps"}, ["zdr"]),
        ({"zdr": True}, {"provider": "unknown"}, ["zdr"]),
        ({"x_kairosroute": {"models": ["x", "m"]}}, {}, []),
        ({"x_kairosroute": {"models": ["good/m"]}}, {}, []),
        ({"x_kairosroute": {"models": ["keeps/m", "M"]}}, {}, ["x_kairosroute.models"]),
        (
            {"zdr": True, "data_collection": "deny", "tools": TOOLS},
            {"provider": "trains", "capabilities": frozenset(), "enabled": False},
            ["enabled", "tools", "data_collection", "zdr"],
        ),
    ],
    ids=str,
)
def test_table(fields: dict[str, object], change: dict[str, object], expected: list[str]) -> None:
    assert broken(fields, **change) == expected


@pytest.mark.parametrize(
    ("own", "least", "most", "expected"),
    [
        ("fp8", "fp8", "fp8", []),
        ("fp8", "fp16", None, ["min_quantization"]),
        ("fp8", "int8", None, []),
        ("fp8", None, "int8", ["max_quantization"]),
        ("fp8", None, "fp16", []),
        ("bf16", "fp16", None, []),
        ("fp16", None, "bf16", []),
        ("int4", "int8", None, ["min_quantization"]),
        ("fp32", None, "fp16", ["max_quantization"]),
        (None, "int4", None, ["min_quantization"]),
        (None, None, "int4", []),
        (None, None, None, []),
    ],
)
def test_precision(own: str | None, least: object, most: object, expected: list[str]) -> None:
    fields = {"min_quantization": least, "max_quantization": most}
    assert broken(fields, quantization=own) == expected


@pytest.mark.parametrize(
    ("prompt_tokens", "max_tokens", "context", "expected"),
    [
        (999, None, 1000, []),
        (1000, None, 1000, ["context_length"]),
        (900, 100, 1000, []),
        (901, 100, 1000, ["context_length"]),
        (10**9, 100, None, []),
    ],
)
def test_context(
    prompt_tokens: int, max_tokens: object, context: object, expected: list[str]
) -> None:
    assert broken({"max_tokens": max_tokens}, prompt_tokens, context_tokens=context) == expected


@pytest.mark.parametrize(
    ("cap", "est_cost", "expected"),
    [
        (0.000001, 1000, []),
        (0.000001, 1001, [COST_CAP]),
        (0, 0, []),
        (0, 1, [COST_CAP]),
        (1e300, 10**18, []),
        (1.0000000019, 1_000_000_002, [COST_CAP]),
        (5, None, [COST_CAP]),
        (None, None, []),
    ],
)
def test_cost_cap(cap: float | None, est_cost: int | None, expected: list[str]) -> None:
    assert broken({"x_kairosroute": {"max_cost_usd": cap}}, est_cost=est_cost) == expected


def test_names() -> None:
    assert named(MODEL, "m")
    assert named(MODEL, "good/m")
    assert not named(MODEL, "m/good")


@pytest.mark.parametrize(
    ("key", "quality", "expected"),
    [
        (KeyConstraints(min_quality=0.7), 0.7, []),
        (KeyConstraints(min_quality=0.7), 0.699, ["minQualityThreshold"]),
        (KeyConstraints(min_quality=0.7), None, ["minQualityThreshold"]),
        (with_floor(KeyConstraints(), 0.5), 0.4, ["routing.floors"]),
        (with_floor(KeyConstraints(), 0.5), None, ["routing.floors"]),
        (with_floor(KeyConstraints(), None), None, []),
        (with_floor(KeyConstraints(min_quality=0.3), 0.5), 0.4, []),
    ],
)
def test_a_model_must_be_expected_to_be_good_enough(
    key: KeyConstraints, quality: float | None, expected: list[str]
) -> None:
    request = decode_chat(
        b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}]}', JsonLimits()
    ).request
    found = violations(request, MODEL, CATALOG, 10, Expected(5, 1, quality), key)
    assert [one.constraint for one in found] == expected
