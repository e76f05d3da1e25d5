"""How simulated providers behave, as one frozen value: seed, times, lengths, faults.

In: flags or configuration. Out: `SimParams`, checked. Times are in milliseconds here because people
write them; everything behind this file counts seconds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kproxy.sim.faults import Fault, parse_rule

__all__ = ["MODELS", "Pace", "SimParams", "parse_tail", "parse_tokens"]

MODELS = (
    "gpt-4.1",
    "claude-sonnet-4-20250514",
    "grok-4.1-fast",
    "deepseek-chat",
    "minimax-m2.5",
)
"""What `GET /v1/models` lists. Any other name is answered as well."""

_TAIL = re.compile(r"([1-9][0-9]{0,8})x([0-9]{1,6}(?:\.[0-9]{1,3})?)")
_TOKENS = re.compile(r"([1-9][0-9]{0,5})(?:-([1-9][0-9]{0,5}))?")


@dataclass(frozen=True, slots=True)
class Pace:
    """When tokens come. Seconds; the medians of log-normal distributions with sigma `jitter`.

    One request in `tail_every` (0: none) waits `tail_factor` times as long for its first token.
    """

    first_token: float
    token: float
    jitter: float
    tail_every: int = 0
    tail_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class SimParams:
    """Everything that a simulated provider is told.

    first_token_ms, token_ms: medians of the time to the first token and between tokens.
    jitter: sigma of the log-normal distribution around them; 0 is exact.
    tail: "20x10" is 1 request in 20 with 10 times the first-token time; "" is none. Which request
        is one of the slow ones is decided by its content, so a repeated request stays what it is.
    tokens: length of an answer, "40" or "20-80".
    faults: rules as `faults.py` describes them. The most exact rule for a request counts alone.
    models: what the list of models shows.
    """

    seed: int = 0
    first_token_ms: float = 150.0
    token_ms: float = 15.0
    jitter: float = 0.25
    tail: str = ""
    tokens: str = "24-96"
    faults: tuple[str, ...] = ()
    models: tuple[str, ...] = MODELS

    def __post_init__(self) -> None:
        """Check everything now. Raises ValueError that names the field."""
        for name in ("first_token_ms", "token_ms", "jitter"):
            value = getattr(self, name)
            if not 0 <= value <= 3_600_000:
                raise ValueError(f"{name}: between 0 and 3600000, not {value}")
        if self.jitter > 5:
            raise ValueError(f"jitter: between 0 and 5, not {self.jitter}")
        parse_tail(self.tail)
        parse_tokens(self.tokens)
        self.rules()

    def pace(self) -> Pace:
        """The times in seconds."""
        every, factor = parse_tail(self.tail)
        return Pace(self.first_token_ms / 1e3, self.token_ms / 1e3, self.jitter, every, factor)

    def lengths(self) -> tuple[int, int]:
        """The shortest and the longest answer, in tokens."""
        return parse_tokens(self.tokens)

    def rules(self) -> Mapping[str, tuple[Fault, ...]]:
        """What each rule applies to, and its faults; two rules for one target add up."""
        rules: dict[str, tuple[Fault, ...]] = {}
        for text in self.faults:
            try:
                target, faults = parse_rule(text)
            except ValueError as error:
                raise ValueError(f"faults: {text!r}: {error}") from None
            rules[target] = rules.get(target, ()) + faults
        return rules


def parse_tail(text: str) -> tuple[int, float]:
    """ "20x10" to (20, 10.0), "" to (0, 1.0). Raises ValueError."""
    if not text:
        return 0, 1.0
    match = _TAIL.fullmatch(text)
    if match is None:
        raise ValueError(f'tail: like "20x10" (1 in 20 takes 10 times as long), not {text!r}')
    return int(match[1]), float(match[2])


def parse_tokens(text: str) -> tuple[int, int]:
    """ "40" to (40, 40), "20-80" to (20, 80). Raises ValueError."""
    match = _TOKENS.fullmatch(text)
    low = int(match[1]) if match else 0
    high = int(match[2]) if match and match[2] else low
    if not 1 <= low <= high:
        raise ValueError(f'tokens: like "40" or "20-80", not {text!r}')
    return low, high
