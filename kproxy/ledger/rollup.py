"""Receipts go in; sums by time, account, key, model and provider come out.

What belongs to an attempt (tokens, cost) is counted where the attempt ran; what belongs to the
request (that it was one, its error, its savings) where it was answered, or tried last. So the sum
over all lines is the sum over all attempts, losers included, and every request is counted once.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from kproxy.outcome import AttemptOutcome, Ending, Usage
from kproxy.schema.receipt import Receipt

__all__ = ["DAY", "MINUTE", "Counts", "Place", "Rollup"]

MINUTE = 60
DAY = 86_400

_NO_ERRORS = frozenset({Ending.COMPLETE, Ending.CANCELLED})  # a caller that leaves is no error
_NOTHING = Usage()
_NO_ATTEMPT = (0,) * 9  # from `attempts` to `cost`

_Line: TypeAlias = tuple[str, str, tuple[int, ...]]  # model, provider, the values of `Counts`


class Place(NamedTuple):
    """Where something is counted. `start` is Unix seconds, the first of its minute or day."""

    start: int
    account_id: str
    key_id: str
    model: str
    provider: str


class Counts(NamedTuple):
    """What is counted. Amounts are nano-dollars of what is priced; `savings` is signed."""

    requests: int = 0
    errors: int = 0  # of the requests
    attempts: int = 0
    estimated: int = 0  # of the attempts: their usage is our own count
    unpriced: int = 0  # of the attempts: their cost is not known
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: int = 0
    savings: int = 0
    charged_tokens: int = 0  # against the account's limits, see schema/receipt.py
    charged_spend: int = 0


class Rollup:
    """Sums over receipts in steps of `seconds` (UTC; MINUTE or DAY)."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        # Added up at the end, column by column, which costs a tenth of doing it line by line.
        self._counts: dict[tuple[int, str, str, str, str], list[tuple[int, ...]]] = {}

    def add(self, receipt: Receipt) -> None:
        """Count one receipt."""
        start = int(receipt.arrived) // self._seconds * self._seconds
        account_id, key_id = receipt.account_id, receipt.key_id
        for model, provider, counts in _lines(receipt):
            place = (start, account_id, key_id, model, provider)
            self._counts.setdefault(place, []).append(counts)

    def count(self, place: Place, counts: Counts) -> None:
        """Count what is one already, or has been summed up in finer steps."""
        start, *rest = place
        whole = Place(start // self._seconds * self._seconds, *rest)
        self._counts.setdefault(whole, []).append(counts)

    def sums(self) -> Iterator[tuple[Place, Counts]]:
        """Every place with its sums, in no order."""
        for place, counts in self._counts.items():
            yield Place(*place), Counts(*map(sum, zip(*counts, strict=True)))


def _lines(receipt: Receipt) -> Iterator[_Line]:
    attempts, execution = receipt.attempts, receipt.execution
    failed = execution.status not in _NO_ERRORS
    charged = execution.charged_tokens, execution.charged_spend
    answered = _answered_by(attempts)
    if answered is None:
        decision = receipt.decision
        counts = (1, failed, 0, 0, 0, 0, 0, 0, 0, 0, 0, execution.savings, *charged)
        yield decision.model_id, decision.provider, counts
    for place, one in enumerate(attempts):
        usage, own = one.usage or _NOTHING, place == answered  # the request is counted here
        attempt = (
            own,
            own and failed,
            1,
            usage.estimated,
            one.cost is None,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
            one.cost or 0,
            execution.savings if own else 0,
            execution.charged_tokens if own else 0,
            execution.charged_spend if own else 0,
        )
        yield one.model, one.provider, attempt


def _answered_by(attempts: Sequence[AttemptOutcome]) -> int | None:
    """The place of the attempt that answered, else of the last one; None without any."""
    for place in range(len(attempts) - 1, -1, -1):
        if attempts[place].ending is Ending.COMPLETE:
            return place
    return len(attempts) - 1 if attempts else None
