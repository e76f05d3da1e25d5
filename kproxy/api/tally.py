"""What the attempts of one request came to: outcomes in; what they cost, what of them was shown and
what is charged, out.

An answer may have parts of several attempts (a rescued stream), or be one of several that were
asked for (healing). Sums that every answer needs are kept as outcomes come.
"""

from kproxy.admission.quota import NOTHING, Amount, counted
from kproxy.admission.tiers import Tier
from kproxy.errors import FaultKind
from kproxy.ledger.settle import total_cost, total_usage, used
from kproxy.outcome import AttemptOutcome, Ending, Usage

__all__ = ["CHARGED", "Tally"]

CHARGED = (Ending.COMPLETE, Ending.SUPERSEDED, Ending.CANCELLED, Ending.REJECTED)
"""Ends of an attempt that are no provider's failure: what was used until then is charged. Of a
provider's refusal that is nothing; of a rule's, that an answer meets, what was written."""


class Tally:
    """See the module. `outcomes` are in the order of their ends; `cost` is nano-dollars, None where
    one is not known; `estimated`: some usage is our own count."""

    __slots__ = ("_answered", "_parts", "cost", "estimated", "outcomes")

    def __init__(self) -> None:
        self.outcomes: list[AttemptOutcome] = []
        self.cost: int | None = 0
        self.estimated = False
        self._parts: list[AttemptOutcome] = []  # that the caller was shown words of
        self._answered: AttemptOutcome | None = None  # where it was not the last attempt

    def __repr__(self) -> str:
        return f"<Tally of {len(self.outcomes)}, {len(self._parts)} shown>"

    def note(self, outcome: AttemptOutcome, *, shown: bool) -> None:
        """An attempt has ended; `shown`: the caller has words of it."""
        self.outcomes.append(outcome)
        self._add(outcome)
        if shown and outcome.usage is not None:
            self._parts.append(outcome)

    def note_before(self, outcome: AttemptOutcome) -> None:
        """What was done for the last attempt's words: its line comes before theirs."""
        self.outcomes.insert(-1, outcome)
        self._add(outcome)

    def _add(self, outcome: AttemptOutcome) -> None:
        self.cost = total_cost((self.cost, outcome.cost))
        if outcome.usage is not None and outcome.usage.estimated:
            self.estimated = True

    def show(self, outcome: AttemptOutcome) -> None:
        """Of several attempts that are complete, this is the one whose words the caller gets."""
        self._parts = [part for part in self._parts if part is not self._answered]
        self._parts.append(outcome)
        self._answered = outcome

    @property
    def last(self) -> AttemptOutcome:
        """Whose words were the last of the answer; one attempt has ended."""
        return self._answered or self.outcomes[-1]

    @property
    def has_shown(self) -> bool:
        """Whether the caller has words of anybody."""
        return bool(self._parts)

    @property
    def shown(self) -> Usage:
        """What the parts of the answer that the caller was shown have used."""
        return total_usage([part.usage for part in self._parts if part.usage is not None])

    @property
    def used(self) -> Usage:
        """The same, and what answers have used that were asked for and are not shown."""
        return used(self.outcomes, self._parts)

    @property
    def asked_more(self) -> bool:
        """Whether an answer was asked for that is not shown."""
        return len(self.outcomes) > 1 and self.used != self.shown

    def charged(self, status: Ending, tier: Tier, *, spoken: bool) -> Amount:
        """What counts against the account's limits: nothing for a refused or failed request, and
        of any other not the attempts that failed before a word of them was shown.

        An answer that our own clock ended is no failed one: the caller, who may set that clock,
        has what was said before. Nor is one that a rule of the operator's keeps back, whole or
        streamed: the caller, who may choose the words, had a provider write it. `spoken`: one of
        the two ended it beside its attempts.
        """
        if status is Ending.ERROR:
            return NOTHING
        if status in (Ending.REJECTED, Ending.FAULT) and not spoken:
            last = self._parts[-1] if self._parts else None
            if last is None or last.fault != FaultKind.TOTAL_TIMEOUT.value:
                return NOTHING
        tokens = spend = 0
        for outcome in self.outcomes:
            usage = outcome.usage
            if usage is not None and (outcome.ending in CHARGED or outcome in self._parts):
                both, managed = usage.prompt_tokens + usage.completion_tokens, not outcome.own_key
                one = counted(tier, both, outcome.cost or 0, managed=managed)
                tokens, spend = tokens + one.tokens, spend + one.spend
        return Amount(tokens, spend)
