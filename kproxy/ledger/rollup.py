"""Receipts go in; sums by time, account, key, model and provider come out.

What belongs to an attempt (tokens, cost) is counted where the attempt ran; what belongs to the
request (that it was one, its error, its savings) where it was answered, or tried last. So the sum
over all lines is the sum over all attempts, losers included, and every request is counted once.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kproxy.outcome import AttemptOutcome, Ending, Usage
from kproxy.schema.receipt import Receipt

__all__ = ["DAY", "MINUTE", "Counts", "Place", "Rollup"]

MINUTE = 60
DAY = 86_400

_NO_ERRORS = frozenset({Ending.COMPLETE, Ending.CANCELLED})  # a caller that leaves is no error
_NOTHING = Usage()


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
        self._sums: dict[Place, list[int]] = {}

    def add(self, receipt: Receipt) -> None:
        """Count one receipt."""
        start = int(receipt.arrived) // self._seconds * self._seconds
        for model, provider, counts in _lines(receipt):
            self.count(Place(start, receipt.account_id, receipt.key_id, model, provider), counts)

    def count(self, place: Place, counts: Counts) -> None:
        """Count what is one already, or has been summed up in finer steps."""
        late = place.start % self._seconds
        if late:
            place = place._replace(start=place.start - late)
        sums = self._sums.get(place)
        if sums is None:
            self._sums[place] = list(counts)
        else:
            for number, count in enumerate(counts):
                sums[number] += count

    def sums(self) -> Iterator[tuple[Place, Counts]]:
        """Every place with its sums, in no order."""
        return ((place, Counts(*sums)) for place, sums in self._sums.items())


def _lines(receipt: Receipt) -> Iterator[tuple[str, str, Counts]]:
    attempts, execution = receipt.attempts, receipt.execution
    failed = int(execution.status not in _NO_ERRORS)
    answered = _answered_by(attempts)
    if answered is None:
        decision = receipt.decision
        request = Counts(
            1,
            failed,
            savings=execution.savings,
            charged_tokens=execution.charged_tokens,
            charged_spend=execution.charged_spend,
        )
        yield decision.model_id, decision.provider, request
    for place, attempt in enumerate(attempts):
        usage = attempt.usage or _NOTHING
        own = place == answered  # the request is counted here
        counts = Counts(
            int(own),
            failed if own else 0,
            1,
            int(usage.estimated),
            int(attempt.cost is None),
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
            attempt.cost or 0,
            execution.savings if own else 0,
            execution.charged_tokens if own else 0,
            execution.charged_spend if own else 0,
        )
        yield attempt.model, attempt.provider, counts


def _answered_by(attempts: Sequence[AttemptOutcome]) -> int | None:
    """The place of the attempt that answered, else of the last one; None without any."""
    for place in reversed(range(len(attempts))):
        if attempts[place].ending is Ending.COMPLETE:
            return place
    return len(attempts) - 1 if attempts else None
