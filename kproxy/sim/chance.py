"""Numbers that look random out of one integer: the same integer, the same numbers.

In: a 64-bit state, taken from a seed or from the digest of a request. Out: integers, fractions and
normal deviates. Nothing here reads a clock or the system's entropy, so a simulated answer can be
repeated (contract section 12). The generator is SplitMix64 (Steele, Lea, Flood 2014): a few
operations a number and no state to set up, where seeding `random.Random` costs microseconds.
"""

import math

__all__ = ["Chance", "mix"]

_MASK = (1 << 64) - 1


def mix(value: int) -> int:
    """One step of SplitMix64: any integer to a well spread one of 64 bits."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class Chance:
    """A repeatable sequence of numbers."""

    __slots__ = ("_state",)

    def __init__(self, state: int) -> None:
        self._state = state & _MASK

    def below(self, limit: int) -> int:
        """An integer of 0 .. limit - 1; the bias of the modulus does not matter here."""
        value = mix(self._state)
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        return value % limit

    def unit(self) -> float:
        """A fraction above 0 and below 1."""
        return (self.below(1 << 53) + 0.5) / (1 << 53)

    def normal(self) -> float:
        """A standard normal deviate (Box and Muller 1958)."""
        radius = math.sqrt(-2.0 * math.log(self.unit()))
        return radius * math.cos(2.0 * math.pi * self.unit())
