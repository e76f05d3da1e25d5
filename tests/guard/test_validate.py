"""What a well-typed request still may not ask for."""

import json

import pytest

from kproxy.errors import Rejected
from kproxy.guard.validate import PLUGIN_TIERS, validate
from kproxy.schema.chat import PRECISION_RANK, ChatRequest
from kproxy.schema.compare import decode_either
from kproxy.schema.jsonlimits import JsonLimits


def request(**fields: object) -> ChatRequest:
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], **fields}
    return decode_either(json.dumps(body).encode(), JsonLimits()).request


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"plugins": []},
        {"plugins": None},
        {"data_collection": "deny", "zdr": True},
        {"x_kairosroute": {"strategy": "auto", "rescue": False, "explain": True}},
        {"x_kairosroute": {"strategy": "single", "deadline_ms": 5, "max_cost_usd": 0}},
        {"x_kairosroute": {"strategy": "hedge"}},
        {"x_kairosroute": {"strategy": "race", "rescue": True}},
        {"min_quantization": "fp8"},
        {"max_quantization": "int4"},
        {"model": "kr-compare", "n": 1, "stream": False, "models": ["a", "b"]},
        {"model": "kr-compare", "x_kairosroute": {"strategy": "single"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("paid", [False, True])
def test_accepted(fields: dict[str, object], paid: bool) -> None:
    validate(request(**fields), paid=paid)


@pytest.mark.parametrize(
    ("fields", "paid", "expected"),
    [
        (
            {"model": "kr-compare", "stream": True},
            True,
            (400, "invalid_request_error", "stream"),
        ),
        ({"model": "kr-compare", "n": 2}, True, (400, "invalid_request_error", "n")),
        (
            {"model": "kr-compare", "x_kairosroute": {"strategy": "hedge"}},
            True,
            (400, "invalid_request_error", "x_kairosroute.strategy"),
        ),
        ({"plugins": ["x"]}, True, (400, "invalid_request_error", "plugins")),
        ({"plugins": ["memory", "x"]}, False, (400, "invalid_request_error", "plugins")),
        ({"plugins": ["memory"]}, False, (403, "PLUGIN_REQUIRES_PAID", "plugins")),
        ({"plugins": ["web-search", "memory"]}, False, (403, "PLUGIN_REQUIRES_PAID", "plugins")),
        ({"plugins": ["memory"]}, True, (400, "plugin_not_available", "plugins")),
        ({"plugins": ["web-search"] * 3}, False, (400, "plugin_not_available", "plugins")),
    ],
    ids=str,
)
def test_refused(fields: dict[str, object], paid: bool, expected: tuple[int, str, str]) -> None:
    with pytest.raises(Rejected) as caught:
        validate(request(**fields), paid=paid)
    assert (caught.value.status, caught.value.code, caught.value.param) == expected


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"plugins": ["code-exec", "memory", "code-exec"]}, None),
        ({"plugins": ["code-exec", "web-search"]}, "plugin_not_available"),
        ({"plugins": ["code-exec", "memory"], "zdr": True}, None),
        ({"plugins": ["image-gen"], "zdr": True}, "invalid_request_error"),
    ],
)
def test_what_is_offered(fields: dict[str, object], refused: str | None) -> None:
    offered = {"code-exec", "memory", "image-gen"}
    if refused is None:
        validate(request(**fields), paid=True, offered=offered)
        return
    with pytest.raises(Rejected) as caught:
        validate(request(**fields), paid=True, offered=offered)
    assert (caught.value.status, caught.value.code) == (400, refused)


@pytest.mark.parametrize("least", PRECISION_RANK)
@pytest.mark.parametrize("most", PRECISION_RANK)
def test_precision_bounds(least: str, most: str) -> None:
    asked = request(min_quantization=least, max_quantization=most)
    if PRECISION_RANK[least] <= PRECISION_RANK[most]:
        validate(asked, paid=False)
        return
    with pytest.raises(Rejected) as caught:
        validate(asked, paid=False)
    assert (caught.value.status, caught.value.param) == (400, "min_quantization")


def test_fp16_and_bf16_are_equal() -> None:
    validate(request(min_quantization="fp16", max_quantization="bf16"), paid=False)


def test_the_tiers_of_the_contract() -> None:
    assert [name for name, tier in PLUGIN_TIERS.items() if tier == "paid"] == [
        "image-gen",
        "pdf-reader",
        "memory",
    ]
