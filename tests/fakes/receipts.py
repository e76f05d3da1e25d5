"""Receipts to store: one of a usual shape, and any at all.

`anything()` makes receipts whose amounts follow from usage and the prices of `PRICES`, so that a
test can work them out again.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from kproxy.catalog.load import Price
from kproxy.ledger.settle import cost
from kproxy.outcome import AttemptOutcome, Ending, Usage
from kproxy.schema.receipt import Candidate, Classification, Decision, Execution, Receipt

__all__ = ["NOON", "PRICES", "anything", "attempt", "charged", "receipt"]

NOON = 1_764_072_000  # 2025-11-25 12:00:00 UTC

PRICES: Mapping[str, Price | None] = MappingProxyType(
    {
        "acme/m": Price.from_usd("0.28", "0.42"),
        "good/m": Price(1_999_999, 7_777_777, cached_input=333_333, per_request=7),
        "good/free": Price(0, 0),
        "odd/m": None,
    }
)


def attempt(
    key: str = "acme/m", usage: Usage | None = None, ending: Ending = Ending.COMPLETE
) -> AttemptOutcome:
    """An attempt at `provider/model` that cost what PRICES says."""
    provider, _, model = key.partition("/")
    spent = 0 if usage is None else cost(usage, PRICES[key])
    fault = "reset" if ending is Ending.FAULT else None
    return AttemptOutcome(model, provider, 0.001, 0.5, 1.25, ending, fault, usage, spent)


def receipt(
    number: int = 1, *attempts: AttemptOutcome, arrived: float = NOON, **fields: Any
) -> Receipt:
    """`rcpt_` and the number; answered by one attempt unless others are given."""
    made = attempts or (attempt(usage=Usage(1000, 200, 50)),)
    costs = [one.cost for one in made]
    spent = None if None in costs else sum(filter(None, costs))
    last = made[-1]
    whole = Receipt(
        receipt_id=f"rcpt_{number:024x}",
        account_id="acct_1",
        key_id="key_1",
        arrived=arrived,
        asked="auto",
        stream=True,
        classification=Classification("code", 0.75),
        candidates=tuple(
            Candidate(f"model-{rank}", "acme", 27_000 + rank, None, ("meets every constraint",))
            for rank in range(6)
        ),
        decision=Decision("m", "acme", "single", ("acme/m", "good/m")),
        attempts=made,
        execution=Execution(last.ending, spent, 400_000, 1.25, 0.5, last.usage),
        policy_version="1",
    )
    return replace(whole, **fields)


def charged(whole: Receipt, tokens: int, spend: int) -> Receipt:
    """That receipt with these charges."""
    execution = replace(whole.execution, charged_tokens=tokens, charged_spend=spend)
    return replace(whole, execution=execution)


_TOKENS = st.integers(0, 2_000_000)


@st.composite
def _usages(draw: st.DrawFn) -> Usage:
    prompt, completion = draw(_TOKENS), draw(_TOKENS)
    cached = draw(st.integers(0, prompt))
    return Usage(prompt, completion, cached, draw(st.integers(0, completion)), draw(st.booleans()))


_ATTEMPTS = st.builds(
    attempt, st.sampled_from(list(PRICES)), st.none() | _usages(), st.sampled_from(Ending)
)


@st.composite
def anything(draw: st.DrawFn) -> list[Receipt]:
    """Receipts of some accounts, keys and days; no two of one id."""
    return [
        receipt(
            number,
            *draw(st.lists(_ATTEMPTS, min_size=1, max_size=4)),
            arrived=draw(st.floats(NOON - 200_000, NOON + 200_000)),
            account_id=draw(st.sampled_from(["acct_1", "acct_2"])),
            key_id=draw(st.sampled_from(["key_1", "key_2"])),
            asked=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=9)),
        )
        for number in range(draw(st.integers(0, 12)))
    ]
