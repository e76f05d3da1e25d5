"""Sums: every request once, every attempt's tokens and cost where it ran, nothing else."""

from hypothesis import given
from msgspec.structs import replace

from kproxy.ledger.rollup import DAY, MINUTE, Counts, Place, Rollup
from kproxy.outcome import Ending, Usage
from tests.fakes.receipts import NOON, anything, attempt, receipt


def rolled(seconds, *receipts):
    rollup = Rollup(seconds)
    for one in receipts:
        rollup.add(one)
    return dict(rollup.sums())


def test_one_receipt():
    used = Usage(1000, 200, 50, reasoning_tokens=20, cache_write_tokens=7)
    one = receipt(1, attempt(usage=used), arrived=NOON + 61.5)
    counts = Counts(1, 0, 1, 0, 0, 1000, 200, 50, 7, 20, 364_000, 400_000)
    assert rolled(MINUTE, one) == {Place(NOON + 60, "acct_1", "key_1", "m", "acme"): counts}
    assert rolled(DAY, one) == {Place(NOON - DAY // 2, "acct_1", "key_1", "m", "acme"): counts}


def test_a_loser_counts_where_it_ran_and_the_request_where_it_was_answered():
    one = receipt(
        1,
        attempt("good/m", Usage(10, 5), Ending.SUPERSEDED),
        attempt("acme/m", Usage(10, 5)),
        attempt("good/free", None, Ending.SUPERSEDED),
    )
    sums = {(place.provider, place.model): counts for place, counts in rolled(DAY, one).items()}
    assert {name: (c.requests, c.attempts, c.prompt_tokens) for name, c in sums.items()} == {
        ("good", "m"): (0, 1, 10),
        ("acme", "m"): (1, 1, 10),
        ("good", "free"): (0, 1, 0),
    }
    assert sums["good", "m"].cost == one.attempts[0].cost > 0
    assert (sums["acme", "m"].savings, sums["good", "m"].savings) == (400_000, 0)


def test_what_nobody_answered_counts_where_it_was_tried_last_or_was_to_be_tried():
    failed = receipt(
        1, attempt("acme/m", None, Ending.FAULT), attempt("good/m", None, Ending.FAULT)
    )
    sums = {place.provider: counts for place, counts in rolled(DAY, failed).items()}
    assert (sums["good"].requests, sums["good"].errors, sums["acme"].requests) == (1, 1, 0)
    untried = replace(receipt(), attempts=())
    ((place, counts),) = rolled(DAY, untried).items()
    assert (place.provider, place.model, counts.requests, counts.attempts) == ("acme", "m", 1, 0)


def test_errors_are_neither_good_ends_nor_callers_that_left():
    counted = {
        ending: sum(c.errors for c in rolled(DAY, receipt(1, attempt(ending=ending))).values())
        for ending in Ending
    }
    assert counted.pop(Ending.COMPLETE) == counted.pop(Ending.CANCELLED) == 0
    assert set(counted.values()) == {1}


def test_what_has_no_price_and_what_is_our_own_count():
    one = receipt(1, attempt("odd/m", Usage(10, 5, estimated=True)))
    ((_, counts),) = rolled(DAY, one).items()
    assert (counts.unpriced, counts.estimated, counts.cost, counts.prompt_tokens) == (1, 1, 0, 10)


@given(anything())
def test_the_sums_are_those_of_the_receipts(receipts):
    minutes = rolled(MINUTE, *receipts)
    again = Rollup(DAY)
    for place, counts in minutes.items():
        again.count(place, counts)
    days = rolled(DAY, *receipts)
    assert dict(again.sums()) == days
    attempts = [one for receipt in receipts for one in receipt.attempts]
    for sums in (minutes, days):
        total = Counts(*map(sum, zip(Counts(), *sums.values(), strict=True)))
        assert total.requests == len(receipts)
        assert total.attempts == len(attempts)
        assert total.cost == sum(one.cost or 0 for one in attempts)
        assert total.unpriced == sum(one.cost is None for one in attempts)
        assert total.savings == sum(one.execution.savings for one in receipts)
        assert total.completion_tokens == sum(
            one.usage.completion_tokens for one in attempts if one.usage
        )
    for place in minutes:
        assert place.start % MINUTE == 0
    assert {place.start % DAY for place in days} <= {0}
