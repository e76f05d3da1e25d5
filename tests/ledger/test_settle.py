"""Costs to the nano-dollar, savings with their sign, and the object that callers read."""

import json
from dataclasses import replace as replaced
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kproxy.catalog.load import Price, Step, load_packaged
from kproxy.ledger.settle import Settlement, cost, extension_json, savings
from kproxy.outcome import Usage
from kproxy.schema.receipt import PluginReport

PACKAGED = load_packaged()
GPT = PACKAGED.by_id("gpt-4.1")[0].price
SONNET = PACKAGED.by_id("claude-sonnet-4-20250514")[0].price
PRO = PACKAGED.by_id("gemini-3.1-pro-preview")[0].price  # dearer above 200,000 tokens
DEEPSEEK = PACKAGED.by_id("deepseek-chat")[0].price
DONE = Settlement(
    provider="DeepSeek",
    model="deepseek-chat",
    cost=27_000,
    savings=423_000,
    estimated=False,
    routed_from="auto",
    receipt_id="rcpt_1",
    attempts=1,
    strategy="single",
)


@pytest.mark.parametrize(
    ("usage", "price", "expected"),
    [
        (Usage(45, 180), DEEPSEEK, 45 * 280 + 180 * 420),
        (Usage(45, 180), GPT, 45 * 2_000 + 180 * 8_000),
        (Usage(45, 180), None, None),
        (Usage(0, 0), GPT, 0),
        (Usage(100, 0, cached_tokens=100), GPT, 100 * 500),
        (Usage(100, 0, cached_tokens=40), GPT, 60 * 2_000 + 40 * 500),
        (Usage(100, 0, cached_tokens=40), Price(10**9, 0), 100 * 1_000),
        (Usage(100, 0, cached_tokens=40), Price(10**9, 0, cached_input=0), 60 * 1_000),
        (Usage(0, 10, reasoning_tokens=10), GPT, 10 * 8_000),
        (Usage(1, 0), Price(10**9, 0, per_request=7), 1_007),
        (Usage(100, 0, cache_write_tokens=40), SONNET, 60 * 3_000 + 40 * 3_750),
        (Usage(9, 1, 4, cache_write_tokens=5), SONNET, 4 * 300 + 5 * 3_750 + 15_000),
        (Usage(100, 0, cache_write_tokens=40), GPT, 100 * 2_000),
        (Usage(100, 0, cache_write_tokens=40), Price(10**9, 0, cache_write=0), 60 * 1_000),
        (Usage(200_000, 1), PRO, 200_000 * 2_000 + 12_000),
        (Usage(200_001, 1), PRO, 200_001 * 4_000 + 18_000),
        (Usage(200_001, 0, 200_000), PRO, 4_000 + 200_000 * 400),
        (Usage(1, 1), Price(250_000, 250_000), 1),  # two quarters: rounded once, on the sum
        (Usage(1, 0), Price(499_999, 0), 0),
        (Usage(1, 0), Price(500_000, 0), 1),
    ],
    ids=str,
)
def test_cost(usage: Usage, price: Price | None, expected: int | None) -> None:
    assert cost(usage, price) == expected


@pytest.mark.parametrize(
    ("reference", "actual", "pinned", "expected"),
    [
        (GPT, 88_200, False, 1_530_000 - 88_200),
        (GPT, 2_000_000, False, 1_530_000 - 2_000_000),
        (GPT, 88_200, True, 0),
        (GPT, None, False, 0),
        (None, 88_200, False, 0),
    ],
    ids=str,
)
def test_savings(reference: Price | None, actual: int | None, pinned: bool, expected: int) -> None:
    assert savings(Usage(45, 180), None if pinned else reference, actual) == expected


def test_savings_are_of_the_same_usage_as_the_reference_would_have_billed_it() -> None:
    """Contract section 5: its own price of cached input, its own fee; below zero as it is."""
    usage = Usage(100, 10, cached_tokens=40)
    there = Price(2_000_000_000, 8_000_000_000, cached_input=500_000_000, per_request=5_000)
    expected = 60 * 2_000 + 40 * 500 + 10 * 8_000 + 5_000
    assert savings(usage, there, 0) == expected
    assert savings(usage, there, expected) == 0
    assert savings(usage, there, expected + 1) == -1
    assert savings(usage, None, expected + 1) == 0


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**15))
def test_what_was_paid_and_what_was_saved_is_the_reference(
    prompt: int, completion: int, paid: int
) -> None:
    usage = Usage(prompt, completion)
    assert savings(usage, GPT, paid) + paid == cost(usage, GPT)


def test_the_object_of_the_contract() -> None:
    assert extension_json(DONE) == (
        b'{"provider":"DeepSeek","cost_usd":0.000027,"savings_usd":0.000423,"routed_from":"auto",'
        b'"model":"deepseek-chat","receipt_id":"rcpt_1","attempts":1,"strategy":"single"}'
    )
    assert (DONE.cost_usd, DONE.savings_usd) == (b"0.000027", b"0.000423")


def test_savings_below_zero_are_shown_as_zero() -> None:
    worse = replace(DONE, savings=-5)
    assert json.loads(extension_json(worse))["savings_usd"] == 0
    assert worse.savings_usd == b"0"
    assert worse.savings == -5


def test_an_unknown_price_is_null() -> None:
    unknown = replace(DONE, cost=None, savings=0)
    assert json.loads(extension_json(unknown))["cost_usd"] is None
    assert unknown.cost_usd is None


def test_plugins_are_told() -> None:
    report = PluginReport("code-exec", ok=False, ms=2.0, calls=1, error="it failed")
    assert json.loads(extension_json(replace(DONE, plugins=(report,))))["plugins"] == [
        {"id": "code-exec", "ok": False, "ms": 2.0, "calls": 1, "error": "it failed"}
    ]


def test_estimated_and_explained() -> None:
    shown = json.loads(extension_json(replace(DONE, estimated=True), b'{"candidates":[]}'))
    assert shown["estimated"] is True
    assert shown["explain"] == {"candidates": []}


@settings(deadline=None)
@given(st.integers(0, 10**15), st.integers(-(10**12), 10**12), st.text(max_size=20))
def test_any_amounts_and_names(spent: int, saved: int, name: str) -> None:
    data = extension_json(replace(DONE, cost=spent, savings=saved, routed_from=name))
    shown = json.loads(data, parse_float=Decimal)
    assert shown["cost_usd"] * 10**9 == spent
    assert shown["savings_usd"] * 10**9 == max(0, saved)
    assert shown["routed_from"] == name
    assert b"E" not in str(shown["cost_usd"]).encode() or spent < 1000  # Decimal prints 1E-9


COUNT = st.integers(0, 10**7)
AMOUNT = st.integers(0, 10**11)
USAGE = st.builds(
    lambda fresh, read, written, completion: Usage(
        fresh + read + written, completion, read, cache_write_tokens=written
    ),
    COUNT,
    COUNT,
    COUNT,
    COUNT,
)
FLAT = st.builds(Price, AMOUNT, AMOUNT, st.none() | AMOUNT, st.none() | AMOUNT, AMOUNT)
RAISED = st.builds(
    lambda price, tokens, more: replaced(price, above=Step(tokens, raised(price, more))),
    FLAT,
    COUNT,
    AMOUNT,
)


def raised(price: Price, more: int) -> Price:
    """Dearer by that much in every part."""
    return Price(
        price.input + more,
        price.output + more,
        None if price.cached_input is None else price.cached_input + more,
        None if price.cache_write is None else price.cache_write + more,
        price.per_request + more,
    )


def spent(usage: Usage, price: Price) -> int:
    amount = cost(usage, price)
    assert type(amount) is int
    return amount


def more(usage: Usage, field: str, count: int) -> Usage:
    """The same and `count` tokens of that kind on top."""
    grown = {field: getattr(usage, field) + count}
    if field in ("cached_tokens", "cache_write_tokens"):
        grown["prompt_tokens"] = usage.prompt_tokens + count
    return replace(usage, **grown)


KINDS = ("prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens")


@given(USAGE)
def test_no_usage_has_a_cost_without_a_price(usage: Usage) -> None:
    assert cost(usage, None) is None


@settings(deadline=None)
@given(USAGE, FLAT)
def test_the_only_rounding_is_of_the_sum(usage: Usage, price: Price) -> None:
    read = price.input if price.cached_input is None else price.cached_input
    written = price.input if price.cache_write is None else price.cache_write
    exact = Fraction(
        (usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens) * price.input
        + usage.cached_tokens * read
        + usage.cache_write_tokens * written
        + usage.completion_tokens * price.output,
        10**6,
    )
    assert abs(exact + price.per_request - spent(usage, price)) <= Fraction(1, 2)


@settings(deadline=None)
@given(USAGE, FLAT | RAISED, st.sampled_from(KINDS), COUNT)
def test_a_token_more_never_costs_less(usage: Usage, price: Price, kind: str, count: int) -> None:
    assert spent(more(usage, kind, count), price) >= spent(usage, price) >= price.per_request


@settings(deadline=None)
@given(USAGE, FLAT, AMOUNT, COUNT)
def test_a_dearer_price_never_costs_less(usage: Usage, price: Price, rise: int, at: int) -> None:
    dearer = raised(price, rise)
    stepped = replaced(price, above=Step(at, dearer))
    assert spent(usage, price) <= spent(usage, stepped) <= spent(usage, dearer)


@settings(deadline=None)
@given(USAGE, USAGE, FLAT)
def test_two_requests_cost_what_one_of_both_does(first: Usage, second: Usage, price: Price) -> None:
    """Up to the rounding of each, and but for a fee per request."""
    both = Usage(
        first.prompt_tokens + second.prompt_tokens,
        first.completion_tokens + second.completion_tokens,
        first.cached_tokens + second.cached_tokens,
        cache_write_tokens=first.cache_write_tokens + second.cache_write_tokens,
    )
    apart = spent(first, price) + spent(second, price) - price.per_request
    assert abs(apart - spent(both, price)) <= 1
