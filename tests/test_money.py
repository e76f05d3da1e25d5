"""Money is exact: what is written is what is held, and one rule rounds."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.money import NANOS_PER_USD, format_usd, nanos, round_half_up


@pytest.mark.parametrize(
    ("written", "held"),
    [
        ("0.27", 270_000_000),
        (0.27, 270_000_000),
        (2, 2_000_000_000),
        ("0.000000001", 1),
        (0.0028, 2_800_000),
        ("0", 0),
        ("1e-3", 1_000_000),
    ],
)
def test_amounts_are_read_exactly(written: str | float, held: int) -> None:
    assert nanos(written) == held


@pytest.mark.parametrize("wrong", ["", "x", "-1", "nan", "inf", float("inf"), "0.0000000001"])
def test_what_is_no_amount_is_refused(wrong: str | float) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        nanos(wrong)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "0"),
        (1, "0.000000001"),
        (27_000, "0.000027"),
        (NANOS_PER_USD, "1"),
        (-1_500_000_000, "-1.5"),
        (10**30, "1" + "0" * 21),
    ],
)
def test_amounts_are_shown_as_plain_decimals(amount: int, shown: str) -> None:
    assert format_usd(amount) == shown


@given(st.integers(-(10**24), 10**24))
def test_what_is_shown_is_what_is_held(amount: int) -> None:
    shown = format_usd(amount)
    assert Decimal(shown) * NANOS_PER_USD == amount
    assert "e" not in shown.lower()
    assert amount < 0 or nanos(shown) == amount


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**12))
def test_rounding_is_half_up_away_from_zero(numerator: int, denominator: int) -> None:
    exact = Decimal(numerator) / Decimal(denominator)
    assert round_half_up(numerator, denominator) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))
