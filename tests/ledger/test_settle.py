"""Costs to the nano-dollar, savings with their sign, and the object that callers read."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kproxy.catalog.load import Price, load_packaged
from kproxy.ledger.settle import Settlement, cost, extension_json, savings
from kproxy.outcome import Usage

PACKAGED = load_packaged()
GPT = PACKAGED.by_id("gpt-4.1")[0].price
DEEPSEEK = PACKAGED.by_id("deepseek-chat")[0].price
DONE = Settlement(
    provider="DeepSeek",
    slug="deepseek",
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
    assert savings(Usage(45, 180), reference, actual, pinned=pinned) == expected


def test_the_object_of_the_contract() -> None:
    assert extension_json(DONE) == (
        b'{"provider":"DeepSeek","cost_usd":0.000027,"savings_usd":0.000423,"routed_from":"auto",'
        b'"model":"deepseek-chat","receipt_id":"rcpt_1","attempts":1,"strategy":"single"}'
    )
    assert (DONE.cost_usd, DONE.savings_usd) == ("0.000027", "0.000423")


def test_savings_below_zero_are_shown_as_zero() -> None:
    worse = replace(DONE, savings=-5)
    assert json.loads(extension_json(worse))["savings_usd"] == 0
    assert worse.savings_usd == "0"
    assert worse.savings == -5


def test_an_unknown_price_is_null() -> None:
    unknown = replace(DONE, cost=None, savings=0)
    assert json.loads(extension_json(unknown))["cost_usd"] is None
    assert unknown.cost_usd is None


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


@settings(deadline=None)
@given(COUNT, COUNT, COUNT, AMOUNT, AMOUNT, AMOUNT)
def test_the_only_rounding_is_of_the_sum(
    prompt: int, cached: int, completion: int, fresh: int, read: int, out: int
) -> None:
    cached = min(cached, prompt)
    exact = (prompt - cached) * fresh + cached * read + completion * out
    rounded = cost(Usage(prompt, completion, cached), Price(fresh, out, cached_input=read))
    assert rounded is not None
    assert -500_000 <= exact - rounded * 10**6 <= 500_000
