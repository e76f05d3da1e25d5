"""Money as integers: nano-dollars in, one rounding rule, plain decimals out.

1. An amount is an `int` of nano-dollars (1 USD = 1_000_000_000). No float ever holds money.
2. A price is an `int` of nano-dollars per million tokens, so 0.0028 USD per million is exact.
3. Rounding happens once per request, on the sum, half up, to the nano-dollar.
"""

from decimal import Decimal

__all__ = ["NANOS_PER_USD", "PER_MILLION", "format_usd", "nanos", "round_half_up"]

NANOS_PER_USD = 1_000_000_000
PER_MILLION = 1_000_000


def nanos(usd: str | float) -> int:
    """USD as written (`"0.27"`, `2`, `0.27`) to nano-dollars, exactly.

    A float is read by its shortest decimal spelling, so a TOML `0.27` means 0.27. Raises
    ValueError for what is no finite number, is negative, or needs more than nine decimals.
    """
    try:
        amount = Decimal(str(usd)) * NANOS_PER_USD
        whole = int(amount)
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"not an amount in USD: {usd!r}") from error
    if whole != amount or whole < 0:
        raise ValueError(f"not an amount in USD of at most nine decimals: {usd!r}")
    return whole


def round_half_up(numerator: int, denominator: int) -> int:
    """`numerator / denominator` to the nearest integer, halves away from zero."""
    if numerator < 0:
        return -round_half_up(-numerator, denominator)
    return (2 * numerator + denominator) // (2 * denominator)


def format_usd(amount: int) -> str:
    """Nano-dollars as a plain decimal number of USD: `27_000` is `0.000027`, zero is `0`."""
    sign = "-" if amount < 0 else ""
    whole, fraction = divmod(abs(amount), NANOS_PER_USD)
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:09d}".rstrip("0")
