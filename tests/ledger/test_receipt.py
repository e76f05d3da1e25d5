"""What an account reads of its receipts: the contract's fields, exact amounts, honest gaps."""

import json
import re
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kproxy.ledger.receipt import attempts_json, receipt_id, receipt_json, receipts_json
from kproxy.outcome import Ending, Usage
from kproxy.schema.receipt import Candidate, Join, PluginReport
from tests.fakes.receipts import NOON, anything, attempt, charged, receipt

USAGE = Usage(1000, 200, cached_tokens=50, reasoning_tokens=20, cache_write_tokens=7)
USAGE_JSON = {
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "total_tokens": 1200,
    "cached_tokens": 50,
    "cache_write_tokens": 7,
    "reasoning_tokens": 20,
    "estimated": False,
}
ATTEMPTS_JSON = [
    {
        "model": "m",
        "provider": "good",
        "started_ms": 1.0,
        "first_token_ms": 500.0,
        "ended_ms": 1250.0,
        "ending": "fault",
        "fault": "reset",
        "usage": None,
        "cost_usd": 0,
        "estimated": False,
        "price_date": None,
    },
    {
        "model": "m",
        "provider": "acme",
        "started_ms": 1.0,
        "first_token_ms": 500.0,
        "ended_ms": 1250.0,
        "ending": "complete",
        "fault": None,
        "usage": USAGE_JSON,
        "cost_usd": 0.000364,
        "estimated": False,
        "price_date": None,
    },
]


def shown(one):
    return json.loads(receipt_json(one), parse_float=Decimal)


def test_the_fields_of_the_contract():
    one = receipt(1, attempt("good/m", ending=Ending.FAULT), attempt("acme/m", USAGE))
    one = charged(replace(one, candidates=one.candidates[:1]), 1200, 300_000)
    assert json.loads(receipt_json(one)) == {
        "receipt_id": "rcpt_000000000000000000000001",
        "object": "receipt",
        "created": NOON,
        "key_id": "key_1",
        "routed_from": "auto",
        "stream": True,
        "classification": {"category": "code", "confidence": 0.75, "novel": False},
        "candidates": [
            {
                "model_id": "model-0",
                "provider": "acme",
                "score": None,
                "worth": None,
                "est_cost_usd": 0.000027,
                "reasons": ["meets every constraint"],
                "filtered_out_by": None,
            }
        ],
        "decision": {
            "model_id": "m",
            "provider": "acme",
            "strategy": "single",
            "fallback_chain": ["acme/m", "good/m"],
            "dial": None,
        },
        "attempts": ATTEMPTS_JSON,
        "execution": {
            "status": "complete",
            "actual_cost_usd": 0.000364,
            "savings_usd": 0.0004,
            "actual_latency_ms": 1250.0,
            "first_token_ms": 500.0,
            "usage": USAGE_JSON,
            "charged_tokens": 1200,
            "charged_spend_usd": 0.0003,
        },
        "policy_version": "1",
    }


def test_an_unknown_price_is_an_error_state_and_never_zero():
    one = receipt(1, attempt("odd/m", USAGE))
    one = replace(one, candidates=(Candidate("m", "odd", None, None, ()),))
    seen = shown(one)
    for part, amount in (
        (seen["candidates"][0], "est_cost_usd"),
        (seen["attempts"][0], "cost_usd"),
        (seen["execution"], "actual_cost_usd"),
    ):
        assert part[amount] is None
        assert part["price_unknown"] is True
    assert seen["execution"]["savings_usd"] is None
    assert b"price_unknown" not in receipt_json(receipt())


def test_savings_keep_their_sign():
    worse = receipt()
    worse = replace(worse, execution=replace(worse.execution, savings=-27_000))
    assert shown(worse)["execution"]["savings_usd"] == Decimal("-0.000027")


def test_an_estimate_is_marked():
    seen = shown(receipt(1, attempt(usage=Usage(10, 5, estimated=True))))
    assert seen["attempts"][0]["estimated"] is True
    assert seen["execution"]["usage"]["estimated"] is True


def test_joins_only_where_there_are_any():
    assert "joins" not in shown(receipt())
    joined = receipt()
    joined = replace(joined, execution=replace(joined.execution, joins=(Join(120, "m", "good"),)))
    assert shown(joined)["joins"] == [{"at": 120, "model": "m", "provider": "good"}]


def test_plugins_only_where_there_are_any():
    assert "plugins" not in shown(receipt())
    reports = (PluginReport("memory", ok=True, ms=1.5, sources=2), PluginReport("x", False, 0.0))
    assert shown(replace(receipt(), plugins=reports))["plugins"] == [
        {"id": "memory", "ok": True, "ms": 1.5, "sources": 2},
        {"id": "x", "ok": False, "ms": 0.0},
    ]


def test_what_is_not_known_is_null():
    bare = receipt(1, replace(attempt(), first_token=None), classification=None)
    bare = replace(bare, execution=replace(bare.execution, first_token=None))
    seen = shown(bare)
    assert seen["classification"] is None
    assert seen["attempts"][0]["first_token_ms"] is None
    assert (seen["execution"]["first_token_ms"], seen["execution"]["usage"]) == (None, None)


def test_a_page():
    page = json.loads(receipts_json([receipt(2), receipt(1)], more=True))
    ids = [one["receipt_id"] for one in page["data"]]
    assert (page["object"], page["has_more"]) == ("list", True)
    assert (
        ids
        == [page["first_id"], page["last_id"]]
        == [receipt(2).receipt_id, "rcpt_" + "0" * 23 + "1"]
    )
    empty = json.loads(receipts_json([], more=False))
    assert (empty["data"], empty["first_id"], empty["has_more"]) == ([], None, False)


def test_attempts_alone_are_those_of_the_receipt():
    one = receipt(1, attempt("odd/m", USAGE), attempt("good/m", USAGE))
    assert json.loads(attempts_json(one.attempts)) == json.loads(receipt_json(one))["attempts"]
    assert attempts_json(()) == b"[]"


@given(anything())
def test_amounts_are_exact(receipts):
    for one in receipts:
        seen = shown(one)
        for said, meant in zip(seen["attempts"], one.attempts, strict=True):
            assert (said["cost_usd"] is None) == (meant.cost is None)
            assert meant.cost is None or said["cost_usd"] * 10**9 == meant.cost
        spent = one.execution.cost
        assert spent is None or seen["execution"]["actual_cost_usd"] * 10**9 == spent


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_name_is_data(name):
    assert shown(receipt(asked=name))["routed_from"] == name


def test_names_are_in_the_order_of_time() -> None:
    exchange = "0123456789abcdef01234567"
    at = [NOON, NOON + 1 / 256, NOON + 1, NOON + 86_400, 2**32 - 1]
    names = [receipt_id(one, exchange) for one in at]
    assert names == sorted(names)
    assert len(set(names)) == len(at)
    assert {name[15:] for name in names} == {exchange[10:]}, "the rest is chance"
    assert int(names[0][5:15], 16) == 256 * NOON


@given(st.floats(-1e9, 1e13), st.binary(min_size=12, max_size=12))
def test_a_name_has_its_shape_whatever_the_clock_says(arrived: float, chance: bytes) -> None:
    assert re.fullmatch("rcpt_[0-9a-f]{24}", receipt_id(arrived, chance.hex()))


def test_names_of_one_moment_differ() -> None:
    names = {receipt_id(NOON, f"{chance:024x}") for chance in (1, 2**55, 2**56 - 1, 0)}
    assert len(names) == 4
